"""Receiving a picture, or a batch of them, and its options, never more bytes than are allowed.

Starlette's own `max_body_size` is not used: it answers a Content-Length above the limit in
plain text, past every handler, and the gateway promises problem+json for every error.
FastAPI's form parameters are not used either: they receive the whole body before the gateway
could say that the queue is full.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from service.errors import (
    MALFORMED_BODY,
    UNSUPPORTED_MEDIA_TYPE,
    UPLOAD_TIMED_OUT,
    UPLOAD_TOO_LARGE,
    UPLOAD_TOO_SLOW,
    ProblemError,
)
from service.filenames import safe_filename
from service.image_urls import IMAGE_URL_FIELD, MAX_URL_CHARACTERS, ImageUrls, filename_of
from service.limits import Limits
from service.problems import invalid_request
from service.schemas import FieldError, UpscaleOptions

IMAGE_FIELD = "image"
FORM_ALLOWANCE_BYTES = 64 * 1024
"""What a form may have around the picture: boundaries, headers, options."""
MAY_BE_EMPTY = {
    "model",
    *(name for name, field in UpscaleOptions.model_fields.items() if field.default is None),
}
"""Fields to be filled in. Of the others, which are to be chosen, an empty one is none of the choices."""
MAX_FILES = 8
MAX_BATCH_FILES = 100
BATCH_ALLOWANCE_BYTES = 1024 * 1024
BATCH_SPOOL_BYTES = 64 * 1024
"""Of each picture of a batch, which has a hundred of them, in memory."""
MAX_FIELDS = 32
MAX_FIELD_BYTES = 4096
MAX_JSON_BYTES = 64 * 1024
SPOOL_BYTES = MultiPartParser.spool_max_size
SLOW_START_S = 30.0
"""How old an upload is before its speed counts: connections begin slowly, and a small picture has come by then."""
LET_GO = {"Connection": "close"}
"""The rest of a slow body would otherwise be awaited before the connection ends."""


@dataclass(frozen=True)
class Upload:
    """What a client sent."""

    file: BinaryIO
    """The picture, at its beginning; in memory up to 1 MiB, in a temporary file beyond."""
    filename: str
    """The name that the client gave, made harmless; may be empty."""
    options: Mapping[str, object]
    """What came with it, unchecked: from the form or the JSON, and from the query."""


@asynccontextmanager
async def received(request: Request, limits: Limits, image_urls: ImageUrls) -> AsyncIterator[Upload]:
    """The upload, or the picture at the URL that was sent, while the context lasts. Raises ProblemError."""
    max_bytes = limits.max_upload_bytes
    media_type, pairs = _media_type(request), _query(request)
    if media_type == "multipart/form-data":
        allowed_bytes = max_bytes + FORM_ALLOWANCE_BYTES
        async with aclosing(_body(request, allowed_bytes, max_bytes, limits)) as body:
            form = await _Parser(request, body, MAX_FILES, SPOOL_BYTES).form()
        try:
            (image,), fields = _split(form, most=1)
            if (image.size or 0) > max_bytes:
                raise too_large(max_bytes)
            yield Upload(image.file, safe_filename(image.filename or ""), _unique([*pairs, *fields]))
        finally:
            await form.close()
    elif media_type.startswith("image/"):
        options = _unique(pairs)
        async with _spooled(_body(request, max_bytes, max_bytes, limits), max_bytes) as picture:
            yield Upload(picture, "", options)
    elif media_type == "application/json":
        image_urls.check_enabled()
        url, asked = await _json(request, limits, pairs)
        async with _spooled(image_urls.chunks(url, limits), max_bytes) as picture:
            yield Upload(picture, filename_of(url), asked)
    else:
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE)


@asynccontextmanager
async def received_batch(request: Request, limits: Limits) -> AsyncIterator[list[Upload]]:
    """The uploads of a batch, all with the same options, while the context lasts. Raises ProblemError.

    How long each of them is has not been looked at.
    """
    if _media_type(request) != "multipart/form-data":
        raise ProblemError(
            UNSUPPORTED_MEDIA_TYPE,
            "A batch is a form: multipart/form-data with the field `image` for each picture.",
        )
    allowed_bytes = limits.max_batch_bytes + BATCH_ALLOWANCE_BYTES
    async with aclosing(_body(request, allowed_bytes, limits.max_batch_bytes, limits)) as body:
        form = await _Parser(request, body, MAX_BATCH_FILES, BATCH_SPOOL_BYTES).form()
    try:
        images, fields = _split(form, most=MAX_BATCH_FILES)
        options = _unique([*_query(request), *fields])
        yield [Upload(image.file, safe_filename(image.filename or ""), options) for image in images]
    finally:
        await form.close()


@asynccontextmanager
async def _spooled(chunks: AsyncGenerator[bytes, None], max_bytes: int) -> AsyncIterator[BinaryIO]:
    """A file of what comes, which lies on the disk once it is long."""
    with SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        picture = cast(BinaryIO, spool)
        # Writes in a thread once the file is on the disk.
        writer = UploadFile(picture, size=0)
        async with aclosing(chunks):
            async for chunk in chunks:
                await writer.write(chunk)
                if (writer.size or 0) > max_bytes:
                    raise too_large(max_bytes)
        yield picture


async def _json(
    request: Request, limits: Limits, pairs: list[tuple[str, str]]
) -> tuple[str, dict[str, object]]:
    """The URL that a JSON body names, and the options beside it and in the query."""
    async with aclosing(_body(request, MAX_JSON_BYTES, MAX_JSON_BYTES, limits)) as body:
        content = b"".join([chunk async for chunk in body])
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProblemError(MALFORMED_BODY, "The body is not JSON.") from error
    if not isinstance(found, dict):
        raise ProblemError(MALFORMED_BODY, f"The body is JSON, but no object with `{IMAGE_URL_FIELD}`.")
    options: dict[str, object] = {
        _text(name): _text(value) if isinstance(value, str) else value
        for name, value in found.items()
        if value is not None and not _left_out(name, value)
    }
    url = options.pop(IMAGE_URL_FIELD, None)
    if not isinstance(url, str) or len(url) > MAX_URL_CHARACTERS:
        message = f"Send the picture's URL in this field, at most {MAX_URL_CHARACTERS} characters"
        raise invalid_request([FieldError(field=IMAGE_URL_FIELD, message=message)])
    _unique([*pairs, *((name, "") for name in options)])
    return url, {**options, **dict(pairs)}


def _left_out(name: str, value: object) -> bool:
    """Whether an option was sent empty, as a form does with a field that nobody filled in."""
    return value == "" and name in MAY_BE_EMPTY


def _query(request: Request) -> list[tuple[str, str]]:
    """What stands in the query. Programs write it, and nothing in it is left out by being empty."""
    return list(request.query_params.multi_items())


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(
    request: Request, limit_bytes: int, told_bytes: int, limits: Limits
) -> AsyncGenerator[bytes, None]:
    """The body, which may have `limit_bytes`; `told_bytes` of them are the pictures'."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise too_large(told_bytes)
    so_far_bytes = 0
    began_s = time.monotonic()
    async with aclosing(request.stream()) as stream:
        while True:
            try:
                async with asyncio.timeout(limits.upload_idle_timeout_s):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise ProblemError(UPLOAD_TIMED_OUT, headers=LET_GO) from error
            except ClientDisconnect as error:
                raise ProblemError(MALFORMED_BODY, "The connection ended before the body did.") from error
            so_far_bytes += len(chunk)
            if so_far_bytes > limit_bytes:
                raise too_large(told_bytes)
            age_s = time.monotonic() - began_s
            if age_s > SLOW_START_S and so_far_bytes < limits.min_upload_bytes_per_s * age_s:
                raise ProblemError(UPLOAD_TOO_SLOW, headers=LET_GO)
            yield chunk


class _Parser(MultiPartParser):
    """Refuses a form without its closing boundary: its last fields would silently be missing."""

    def __init__(
        self, request: Request, body: AsyncGenerator[bytes, None], max_files: int, spool_bytes: int
    ) -> None:
        super().__init__(
            request.headers,
            self._until_closed(body),
            max_files=max_files,
            max_fields=MAX_FIELDS,
            max_part_size=MAX_FIELD_BYTES,
        )
        self.spool_max_size = spool_bytes
        self._closed = False

    async def form(self) -> FormData:
        """The whole form. Raises ProblemError."""
        try:
            return await self.parse()
        # UnicodeError: the client chose a charset such as `idna`, in which its own names mean nothing.
        except (MultiPartException, UnicodeError) as error:
            reason = error.message if isinstance(error, MultiPartException) else str(error)
            raise ProblemError(MALFORMED_BODY, f"{reason.rstrip('.')}. {MALFORMED_BODY.fix}") from error

    def on_end(self) -> None:
        self._closed = True

    async def _until_closed(self, body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in body:
            yield chunk
        # Raised here, within the parser, which then closes the temporary files of unfinished parts.
        if not self._closed:
            raise MultiPartException("The form ends before its closing boundary.")


def _split(form: FormData, most: int) -> tuple[list[UploadFile], list[tuple[str, str]]]:
    """The pictures, at least one and not more than that, and the fields that are not empty."""
    files = [(_text(name), value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    fields = [
        (_text(name), _text(value))
        for name, value in form.multi_items()
        if isinstance(value, str) and not _left_out(name, value)
    ]
    problems = []
    images = [value for name, value in files if name == IMAGE_FIELD]
    if not 1 <= len(images) <= most:
        count = "exactly one file" if most == 1 else f"one to {most} files"
        message = f"Send {count} in this field (with curl: -F image=@photo.jpg)"
        problems.append(FieldError(field=IMAGE_FIELD, message=message))
    problems += [
        FieldError(field=name, message="Only `image` may be a file")
        for name, _ in files
        if name != IMAGE_FIELD
    ]
    fields = [(name, value) for name, value in fields if name != IMAGE_FIELD]
    if problems:
        raise invalid_request(problems)
    return images, fields


def _text(sent: str) -> str:
    """Without lone surrogates, which a form in UTF-7 can carry and no answer could quote."""
    return sent.encode(errors="replace").decode()


def _unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid_request([FieldError(field=name, message="Given more than once") for name in twice])
    return dict(pairs)


def too_large(max_bytes: int) -> ProblemError:
    """The problem for what is longer than that."""
    return ProblemError(UPLOAD_TOO_LARGE, f"{max_bytes} bytes are allowed.", max_bytes=max_bytes)
