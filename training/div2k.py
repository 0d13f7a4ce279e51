"""DIV2K: 800 photographs to train on and 100 to validate on, fetched and unpacked.

Source: E. Agustsson and R. Timofte, "NTIRE 2017 Challenge on Single Image Super-Resolution: Dataset and Study", CVPR Workshops
2017; https://data.vision.ee.ethz.ch/cvl/DIV2K/. For academic research only, say its authors: weights that were trained on
it cannot be given away for every use.
"""

import lzma
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from training.download import DownloadError, download

BASE_URL = "http://data.vision.ee.ethz.ch/cvl/DIV2K/"

SHA256: Mapping[str, str] = {
    "DIV2K_train_HR.zip": "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
    "DIV2K_valid_HR.zip": "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
    "DIV2K_train_LR_bicubic_X2.zip": "a53a424317575838dadce4bcd97cf7b744d6855f43740ed5f0245af3cf4bd850",
    "DIV2K_valid_LR_bicubic_X2.zip": "60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57",
    "DIV2K_train_LR_bicubic_X3.zip": "ad5c8e5507e2765823d3c2c5bd0934842efcd487c5370604c224090898b3163a",
    "DIV2K_valid_LR_bicubic_X3.zip": "04b9a2ed3b4a0715d3924d3ae8514830c3328fac8d30512ce716d6f419e052a3",
    "DIV2K_train_LR_bicubic_X4.zip": "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a",
    "DIV2K_valid_LR_bicubic_X4.zip": "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553",
}
"""As TensorFlow Datasets records them (tensorflow_datasets/url_checksums/div2k.txt); the authors publish none."""


def fetch_div2k(
    out: Path,
    scales: Sequence[int] = (),
    base_url: str = BASE_URL,
    checksums: Mapping[str, str] = SHA256,
    first_wait_s: float = 1.0,
) -> None:
    """Fetch and unpack HR, and LR for each of the scales, into `out`; what is there already stays.

    An archive that already lies in `out` under its own name is used, and never deleted; one that comes is called `….fetched`.
    Leaves `DIV2K_train_HR`, `DIV2K_valid_HR`, `DIV2K_train_LR_bicubic/X4` and so on. Raises DownloadError where that is not
    possible; the same call then goes on.
    """
    for archive, folder in _parts(scales):
        if (out / folder).exists():
            continue
        if archive not in checksums:
            raise DownloadError(f"{archive} has no checksum: add its line to the file that --checksums names")
        users, fetched = out / archive, out / f"{archive}.fetched"
        path = users if users.exists() else fetched
        download(f"{base_url.rstrip('/')}/{archive}", path, checksums[archive], first_wait_s)
        _unpack(path, folder, out)
        fetched.unlink(missing_ok=True)


def read_checksums(path: Path) -> dict[str, str]:
    """SHA-256 by file name, from lines as `sha256sum` writes them. Raises DownloadError for any other line."""
    checksums = {}
    for line in path.read_text("utf-8", "backslashreplace").splitlines():
        matched = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](\S+)", line)
        if not matched:
            raise DownloadError(f"{path}: {line!r} is no line of sha256sum; write `sha256sum *.zip > FILE`")
        checksums[matched[2]] = matched[1].lower()
    return checksums


def _parts(scales: Sequence[int]) -> Iterator[tuple[str, PurePosixPath]]:
    """(archive, the folder in it)."""
    for split in ("train", "valid"):
        yield f"DIV2K_{split}_HR.zip", PurePosixPath(f"DIV2K_{split}_HR")
        for scale in scales:
            lr = f"DIV2K_{split}_LR_bicubic"
            yield f"{lr}_X{scale}.zip", PurePosixPath(lr, f"X{scale}")


def _unpack(archive: Path, folder: PurePosixPath, out: Path) -> None:
    """Unpack the archive's folder into `out`, all of it or nothing."""
    with _scratch(out / f"{archive.name}.unpacking") as scratch, _readable(archive):
        with zipfile.ZipFile(archive) as packed:
            files = [entry for entry in packed.infolist() if _lies_in(folder, entry, archive)]
            if not files:
                raise DownloadError(
                    f"{archive} holds no folder {folder}; move it away, and name another --base-url"
                )
            for entry in tqdm(files, desc=f"unpacking {archive.name}", unit="picture", disable=None):
                packed.extract(entry, scratch)
        (out / folder).parent.mkdir(parents=True, exist_ok=True)
        (scratch / folder).rename(out / folder)


def _lies_in(folder: PurePosixPath, entry: zipfile.ZipInfo, archive: Path) -> bool:
    """Whether it is a file in the folder. Raises DownloadError for one that would be written outside of everything."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DownloadError(f"{archive} wants to write to {entry.filename}: it is not DIV2K; move it away")
    return not entry.is_dir() and path.is_relative_to(folder)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except DownloadError:
        raise
    # RuntimeError: encrypted, or compressed in a way that Python does not know. ValueError: names that are not UTF-8.
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DownloadError(
            f"{archive} is damaged, or no plain zip file: {error}; move it away, and name another --base-url"
        ) from error
    except OSError as error:
        raise DownloadError(
            f"{archive} cannot be unpacked: {error}; make room, and run the same command again"
        ) from error
