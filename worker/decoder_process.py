"""`python -m worker.decoder_process MEMORY_BYTES`: decodes pictures for the worker that started it, and can do little else.

Its standard input is a socket to the worker. Started by `worker.decoder`; knows no torch, no Redis and no secrets.
"""

import ctypes
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import cast

import imagecodecs
import numpy as np
import PIL
import pydantic
import tifffile
from PIL import Image

from sr_models.samples import StoredSamples
from worker.contract.reading import Reading
from worker.decoder_wire import (
    ANSWER_LENGTH,
    CONFINED,
    DONE,
    MAX_MESSAGE_CHARS,
    READING,
    READY,
    REQUEST_LENGTHS,
    Answer,
    DecodedAnswer,
    Length,
    RefusedAnswer,
    receive,
)
from worker.errors import PictureDamagedError, PictureUnsupportedError
from worker.heap import trim_heap
from worker.landlock import confine_to_reading
from worker.picture import Picture
from worker.reading import decode, load_readers

MAX_OPEN_FILES = 32
"""The three standard ones, the memory for the samples, and modules that Python imports late."""

IDLE_S = 1.0
"""Without a picture for so long, memory is given back to the system."""

_PR_SET_PDEATHSIG = 1


CODE = [Path(str(module.__file__)).parent for module in (os, np, PIL, pydantic, imagecodecs, tifffile)]
"""Where modules lie that Python imports late."""


def confine(memory_bytes: int) -> bool:
    """Give up, for good, what decoding does not need; says whether files and TCP could be given up too."""
    # Whoever stops the worker's whole group still wants the jobs that run to end. The worker ends us, or its death does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        # Elsewhere a decoder whose worker was killed lives until it has decoded the picture that it has, and sees its socket closed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # macOS takes this limit, and does not keep it.
        _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)  # it would hold a stranger's picture
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_NPROC, 0)  # no process, no thread; root may still
    _limit(resource.RLIMIT_FSIZE, memory_bytes)  # the memory for samples counts as a file
    # The worker's log is for what the worker says: nobody else shall write lines there.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return confine_to_reading(CODE)


def _limit(what: int, value: int) -> None:
    hardest = resource.getrlimit(what)[1]
    if hardest != resource.RLIM_INFINITY:
        value = min(value, hardest)
    resource.setrlimit(what, (value, value))


def serve(worker: socket.socket) -> None:
    """Decode what comes, until the worker closes."""
    while True:
        if not select.select([worker], [], [], IDLE_S)[0]:
            trim_heap()
        try:
            asked_bytes, size_bytes = REQUEST_LENGTHS.unpack(receive(worker, REQUEST_LENGTHS.size))
            reading = READING.validate_json(receive(worker, asked_bytes))
        except EOFError:
            return
        # In one piece and as bytes, which BytesIO shares instead of copying.
        content = worker.recv(size_bytes, socket.MSG_WAITALL) if size_bytes else b""
        if len(content) < size_bytes:
            return
        _answer(worker, content, reading)


def _answer(worker: socket.socket, content: bytes, reading: Reading) -> None:
    try:
        picture = decode(content, reading)
    except PictureUnsupportedError as error:
        _send(worker, RefusedAnswer(code="picture_unsupported", message=_message(error)))
    except PictureDamagedError as error:
        out_of_memory = isinstance(error.__cause__, MemoryError)
        _send(
            worker,
            RefusedAnswer(
                code="out_of_memory" if out_of_memory else "picture_damaged", message=_message(error)
            ),
        )
    else:
        _hand_over(worker, picture)


def _message(error: Exception) -> str:
    return str(error).encode(errors="replace").decode()[:MAX_MESSAGE_CHARS]


def _hand_over(worker: socket.socket, picture: Picture) -> None:
    width, height = picture.size_px
    attached = (picture.icc_profile, picture.exif, picture.xmp, picture.iptc)
    lengths = tuple(None if content is None else len(content) for content in attached)
    answer = DecodedAnswer(
        format=picture.format,
        width_px=width,
        height_px=height,
        durations_ms=[frame.duration_ms for frame in picture.frames],
        bits=8 if picture.colour.dtype == np.uint8 else 16,
        has_alpha=picture.alpha is not None,
        grey=picture.grey,
        gamma=picture.gamma,
        dpi=picture.dpi,
        loops=picture.loops,
        notes=picture.notes,
        attached_bytes=cast(tuple[Length, Length, Length, Length], lengths),
    )
    _send(worker, answer, *(content or b"" for content in attached))
    _, descriptors, _, _ = socket.recv_fds(worker, 1, 1)
    try:
        for plane in picture.planes:
            _write(descriptors[0], plane)
    finally:
        os.close(descriptors[0])
    worker.sendall(DONE)


def _write(descriptor: int, plane: StoredSamples) -> None:
    """Not through a mapping: 36 MB took 11 ms this way and 21 ms that way, which first fills each page with zeros."""
    rest = memoryview(np.ascontiguousarray(plane).data).cast("B")
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _send(worker: socket.socket, answer: Answer, *attachments: bytes) -> None:
    encoded = answer.model_dump_json(ensure_ascii=False).encode()
    worker.sendall(b"".join((ANSWER_LENGTH.pack(len(encoded)), encoded, *attachments)))


def main() -> None:
    """Decode until the worker closes the socket."""
    worker = socket.socket(fileno=0)
    load_readers()
    confined = confine(int(sys.argv[1]))
    # The gateway has limited the pixels of every job, and memory is limited here; Pillow's own, lower limit would only warn.
    Image.MAX_IMAGE_PIXELS = None
    worker.sendall(CONFINED if confined else READY)
    serve(worker)


if __name__ == "__main__":
    main()
