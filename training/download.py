"""A large file from the web: resumed where it was cut off, checked, and complete or not there at all."""

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tqdm import tqdm

TRIES = 6
"""Attempts in a row that bring no new byte before it gives up; about a minute with the waits between."""


class DownloadError(ValueError):
    """The file cannot be had: look at the address and the network, then run the same command again."""


class _WorthAnotherTryError(Exception):
    """The connection failed in a way that may pass."""


def download(url: str, target: Path, sha256: str, first_wait_s: float = 1.0) -> None:
    """Put the file at the address into `target`, unless it is there already.

    What has come lies in `target` + `.partial`, and a later call goes on from there if the server's file is still the same. Waits
    double from `first_wait_s`. Shows a bar on a terminal. Raises DownloadError where the file cannot be had or written, or has another
    SHA-256: what came is then deleted, but a `target` that was there stays.
    """
    partial = _Partial(target)
    with _written(target):
        if target.exists():
            if (found := _sha256(target)) != sha256:
                raise DownloadError(
                    f"{target} has SHA-256 {found}, not {sha256}: it is damaged or another file; move it away, and run the "
                    "command again"
                )
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _received(url, partial, first_wait_s)
        if (found := _sha256(partial.path)) != sha256:
            partial.delete()
            raise DownloadError(
                f"{url} has SHA-256 {found}, not {sha256}: it was damaged on the way or is another file. It was deleted; "
                "run the command again, or name another --base-url"
            )
        partial.path.replace(target)
        partial.delete()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Partial:
    """What has come of a file, and which version of it: its ETag or date, so that no two versions get mixed."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.partial")
        self._version = target.with_name(f"{target.name}.partial.version")

    @property
    def version(self) -> str:
        return self._version.read_text("ascii", "ignore") if self._version.exists() else ""

    @property
    def size_bytes(self) -> int:
        """0 where nothing came, or nothing that can be gone on with."""
        return self.path.stat().st_size if self.version and self.path.exists() else 0

    def begin(self, version: str) -> None:
        self.path.write_bytes(b"")
        self._version.write_text(version, "ascii")

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)


def _received(url: str, partial: _Partial, first_wait_s: float) -> None:
    """Receive until all is there."""
    tries = 0
    with httpx.Client(follow_redirects=True, timeout=30.0) as client:
        while True:
            before_bytes = partial.size_bytes
            try:
                return _receive(client, url, partial)
            # A redirect may lead to any of these; UnicodeError is what Python says of a host like `a..b`.
            except (httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeError) as error:
                raise DownloadError(
                    f"{url} cannot be fetched: it is, or leads to, an address that cannot be used: {error}"
                ) from error
            except (httpx.TransportError, _WorthAnotherTryError) as error:
                tries = 1 if partial.size_bytes > before_bytes else tries + 1
                if tries >= TRIES:
                    raise DownloadError(
                        f"{url} cannot be fetched: {error}. {partial.size_bytes / 1e6:,.1f} MB are kept; "
                        "the same command goes on from there"
                    ) from error
            except httpx.HTTPError as error:
                raise DownloadError(f"{url} cannot be fetched: {error}") from error
            time.sleep(first_wait_s * 2 ** (tries - 1))


def _receive(client: httpx.Client, url: str, partial: _Partial) -> None:
    """One attempt."""
    headers = {"Accept-Encoding": "identity"}
    if partial.size_bytes:
        headers |= {"Range": f"bytes={partial.size_bytes}-", "If-Range": partial.version}
    with client.stream("GET", url, headers=headers) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416 and content_range == f"bytes */{partial.size_bytes}":
            return  # everything had come already
        if response.status_code == 206 and content_range.startswith(f"bytes {partial.size_bytes}-"):
            pass
        elif response.status_code == 200:
            _refuse_another_file(response, url, partial)
            partial.begin(_version(response))
        elif response.status_code in (206, 416):
            partial.delete()
            raise _WorthAnotherTryError(f"the server answered with the range {content_range!r}")
        elif response.status_code in (408, 429) or response.status_code >= 500:
            raise _WorthAnotherTryError(f"the server answered {response.status_code}")
        else:
            raise DownloadError(
                f"{url} cannot be fetched: the server answered {response.status_code}; look at the address"
            )
        _append(response, partial)


def _refuse_another_file(response: httpx.Response, url: str, partial: _Partial) -> None:
    """Raises DownloadError where an answer in full is not the file, so that what has come of it stays.

    A network's login page answers any address, and with 200. A server without ranges sends the same version again.
    """
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise DownloadError(
            f"{url} cannot be fetched: a web page came instead of the file; open the address in a browser to see what it "
            "wants, then run the same command again"
        )
    length_bytes = int(response.headers.get("Content-Length", 0))
    if length_bytes < partial.size_bytes and _version(response) != partial.version:
        raise DownloadError(
            f"{url} cannot be fetched: another file is there now, of {length_bytes / 1e6:,.1f} MB where {partial.size_bytes / 1e6:,.1f} "
            f"MB had come; look at the address, or delete {partial.path} to begin anew"
        )


def _append(response: httpx.Response, partial: _Partial) -> None:
    length_bytes = int(response.headers.get("Content-Length", 0))
    free_bytes = shutil.disk_usage(partial.path.parent).free
    if length_bytes > free_bytes:
        raise DownloadError(
            f"{length_bytes / 1e6:,.0f} MB are still to come, but {partial.path.parent} has only {free_bytes / 1e6:,.0f} MB left; "
            "make room, and run the same command again"
        )
    done_bytes = partial.size_bytes
    with (
        partial.path.open("ab") as file,
        tqdm(
            desc=partial.path.stem,
            total=done_bytes + length_bytes if length_bytes else None,
            initial=done_bytes,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            disable=None,
        ) as bar,
    ):
        # Chunks as they come: of a larger size that is asked for, httpx drops the begun one when the connection ends.
        for chunk in response.iter_bytes():
            file.write(chunk)
            bar.update(len(chunk))


def _version(response: httpx.Response) -> str:
    """What `If-Range` takes; empty where the server gives nothing that can tell two versions from each other.

    A header can only be sent in ASCII, whatever servers send.
    """
    etag: str = response.headers.get("ETag", "")
    date: str = response.headers.get("Last-Modified", "")
    strong = etag if etag.isascii() and not etag.startswith("W/") else ""
    return strong or (date if date.isascii() else "")


@contextmanager
def _written(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written: {error}; make room or choose another folder, then run the same command again"
        ) from error
