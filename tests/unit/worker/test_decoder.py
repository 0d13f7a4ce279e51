"""Decoding in other processes: the same pictures, and what becomes of a worker whose decoders meet the worst."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import worker.decoder
from tests.eventually import eventually
from tests.pictures import PHOTOGRAPHS, encoded, natural_picture
from tests.poisons import Poison, poisoned
from tests.processes import is_running, look_at
from worker.decoder import DecoderPool, DecoderProcess
from worker.decoder_wire import ANSWER_LENGTH
from worker.errors import (
    DecoderFailedError,
    DecoderUnavailableError,
    PictureDamagedError,
    PictureUnsupportedError,
)
from worker.picture import Picture
from worker.reading import decode

MEMORY_BYTES = 512 << 20
LONG_S, SHORT_S = 60.0, 2.0
PICTURE = encoded(natural_picture(40, 30), "PNG")
linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="looks into /proc, or needs a limit of Linux's"
)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES) as pool:
        yield pool


@pytest.fixture(scope="module")
def weak_pool() -> Iterator[DecoderPool]:
    """Poisons work on it, and it has little time."""
    with DecoderPool(timeout_s=SHORT_S, memory_bytes=MEMORY_BYTES, module="tests.poisoned_decoder") as pool:
        yield pool


@pytest.fixture(scope="module")
def hostile_pool() -> Iterator[DecoderPool]:
    with DecoderPool(timeout_s=SHORT_S, memory_bytes=MEMORY_BYTES, module="tests.hostile_decoder") as pool:
        yield pool


def assert_same(here: Picture, there: Picture) -> None:
    assert replace(here, frames=()) == replace(there, frames=())
    assert [frame.duration_ms for frame in here.frames] == [frame.duration_ms for frame in there.frames]
    assert len(here.planes) == len(there.planes)
    for ours, theirs in zip(here.planes, there.planes, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


def idle_processes(pool: DecoderPool) -> list[DecoderProcess]:
    return [started.result() for started in pool._idle]


# ---- the same pictures


@pytest.mark.parametrize("path", sorted(PHOTOGRAPHS.glob("*.*g")), ids=lambda path: path.name)
def test_a_photograph_is_the_same_as_when_decoded_here(pool: DecoderPool, path: Path) -> None:
    content = path.read_bytes()
    assert_same(decode(content), pool.decode(content))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *(("jpeg", mode) for mode in ("L", "RGB", "CMYK")),
        *(("webp", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_every_kind_of_pixel_is_the_same(pool: DecoderPool, name: str, mode: str) -> None:
    image = natural_picture(37, 23)
    if mode in ("LA", "RGBA"):
        image.putalpha(image.getchannel("R"))
    image = (
        Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        if mode == "I;16"
        else image.convert(mode)
    )
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    file = io.BytesIO()
    image.save(file, name, exif=exif, icc_profile=bytes(range(256)))
    here = decode(file.getvalue())
    assert here.exif
    assert here.colour.shape == (37, 23, 3)
    assert_same(here, pool.decode(file.getvalue()))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", PictureDamagedError),
        (b"no picture", PictureUnsupportedError),
        (PICTURE[:200], PictureDamagedError),
        (PICTURE[:600] + b"\0" * 50 + PICTURE[650:], PictureDamagedError),
    ],
)
def test_what_is_refused_is_refused_with_the_same_words(
    pool: DecoderPool, content: bytes, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as here:
        decode(content)
    with pytest.raises(kind) as there:
        pool.decode(content)
    # The object's address, which Pillow says of what it cannot identify, is not the same twice.
    assert str(here.value).partition("0x")[0] == str(there.value).partition("0x")[0]
    assert pool.decode(PICTURE)


def test_many_threads_get_each_its_own_picture(pool: DecoderPool) -> None:
    pictures = [encoded(natural_picture(20 + n, 30, seed=n), "PNG") for n in range(16)]
    with ThreadPoolExecutor(4) as threads:
        for content, picture in zip(pictures * 4, threads.map(pool.decode, pictures * 4), strict=True):
            assert_same(decode(content), picture)
    assert len(idle_processes(pool)) <= 4


def test_a_picture_outlives_its_process() -> None:
    with DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES) as pool:
        picture = pool.decode(PICTURE)
    assert_same(decode(PICTURE), picture)


# ---- what a picture can do to its process


@linux_only
@pytest.mark.parametrize(
    ("poison", "said"),
    [(Poison.CRASH, "SIGSEGV"), (Poison.BOMB, "memory"), (Poison.LOOP, "took longer")],
)
def test_a_poison_costs_its_own_job_and_no_other(weak_pool: DecoderPool, poison: Poison, said: str) -> None:
    weak_pool.decode(PICTURE)
    (before,) = idle_processes(weak_pool)
    with pytest.raises(DecoderFailedError, match=said) as caught:
        weak_pool.decode(poisoned(natural_picture(4, 3), poison))
    assert not caught.value.retryable
    assert not before.alive
    assert_same(decode(PICTURE), weak_pool.decode(PICTURE))
    (after,) = idle_processes(weak_pool)
    assert after.pid != before.pid


def test_a_picture_within_the_limits_of_pixels_but_not_of_memory_says_so(pool: DecoderPool) -> None:
    file = io.BytesIO()
    Image.new("RGB", (12_000, 12_000)).save(file, "PNG", compress_level=1)
    with pytest.raises(DecoderFailedError, match="memory"):
        pool.decode(file.getvalue())
    assert pool.decode(PICTURE)


def test_a_process_killed_at_work_costs_that_job() -> None:
    with (
        DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES, module="tests.poisoned_decoder") as pool,
        ThreadPoolExecutor(1) as threads,
    ):
        (process,) = idle_processes(pool)
        job = threads.submit(pool.decode, poisoned(natural_picture(4, 3), Poison.WAIT))
        eventually(lambda: process.pictures)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(DecoderFailedError, match="SIGKILL"):
            job.result(LONG_S)
        assert pool.decode(PICTURE)


def test_a_process_killed_while_idle_costs_nobody_a_job(pool: DecoderPool) -> None:
    pool.decode(PICTURE)
    for process in idle_processes(pool):
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda process=process: not process.alive)  # type: ignore[misc]
    assert_same(decode(PICTURE), pool.decode(PICTURE))


def test_signals_for_the_workers_group_are_not_for_its_decoders(pool: DecoderPool) -> None:
    pool.decode(PICTURE)
    for process in idle_processes(pool):
        assert os.getpgid(process.pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process.pid, number)
    before = [process.pid for process in idle_processes(pool)]
    pool.decode(PICTURE)
    assert [process.pid for process in idle_processes(pool)] == before


def test_after_many_pictures_a_new_process_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.decoder, "PICTURES_A_PROCESS", 3)
    with DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES) as pool:
        seen = set()
        for _ in range(7):
            seen.add(idle_processes(pool)[-1].pid)
            pool.decode(PICTURE)
        assert len(seen) == 3


def test_none_is_left_when_the_pool_is_closed() -> None:
    with DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES) as pool:
        pool.decode(PICTURE)
        processes = idle_processes(pool)
    assert processes
    assert not any(process.alive for process in processes)


def test_where_no_process_starts_that_is_said_at_once() -> None:
    with pytest.raises(DecoderUnavailableError):
        DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES, module="tests.no_such_module")


def test_where_none_starts_any_more_the_job_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES) as pool:
        (process,) = idle_processes(pool)
        process.end()
        with monkeypatch.context() as broken:
            broken.setattr(pool, "_module", "tests.no_such_module")
            with pytest.raises(DecoderUnavailableError) as caught:
                pool.decode(PICTURE)
        assert caught.value.retryable
        assert_same(decode(PICTURE), pool.decode(PICTURE))


PARENT = """
import sys, threading
from tests.poisons import Poison, poisoned
from tests.pictures import natural_picture
from worker.decoder import DecoderPool
pool = DecoderPool(timeout_s=600, memory_bytes=512 << 20, module="tests.poisoned_decoder")
print(pool._idle[0].result().pid, flush=True)
pool.decode(poisoned(natural_picture(4, 3), Poison.LOOP))
"""


@linux_only
def test_a_process_dies_with_its_worker_in_the_midst_of_a_picture() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        eventually(lambda: (process := look_at(pid)) and process.cpu_ticks > 100, LONG_S, "it is in its loop")
        parent.kill()
    eventually(lambda: not is_running(pid), what="the decoder has died with its worker")


# ---- what a process has


@linux_only
def test_a_process_has_none_of_the_workers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENLARGER_REDIS_URL", "REDIS_URL", "AWS_SECRET_ACCESS_KEY", "ENLARGER_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "secret")
    with DecoderPool(timeout_s=LONG_S, memory_bytes=MEMORY_BYTES) as pool:
        (process,) = idle_processes(pool)
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"OPENBLAS_NUM_THREADS=1" in environment
        assert b"secret" not in environment


@linux_only
def test_a_process_has_its_limits_and_no_way_to_the_log(pool: DecoderPool) -> None:
    pool.decode(PICTURE)
    process = idle_processes(pool)[-1]
    limits = {
        line[:26].strip(): line[26:].split()[:2]
        for line in Path(f"/proc/{process.pid}/limits").read_text().splitlines()
    }
    assert limits["Max address space"] == [str(MEMORY_BYTES)] * 2
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max processes"] == ["0", "0"]
    open_files = {int(path.name): str(path.readlink()) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    assert open_files.pop(0).startswith("socket:")
    assert open_files == {1: os.devnull, 2: os.devnull}


@linux_only
def test_a_process_that_is_taken_over_gets_nowhere(weak_pool: DecoderPool) -> None:
    weak_pool.decode(PICTURE)
    if not idle_processes(weak_pool)[-1].confined:
        pytest.skip("this kernel has no Landlock")
    with pytest.raises(PictureDamagedError) as caught:
        weak_pool.decode(poisoned(natural_picture(4, 3), Poison.SPY))
    results = json.loads("{" + str(caught.value).partition("{")[2])
    major, minor = (int(number) for number in os.uname().release.split(".")[:2])
    if (major, minor) < (6, 7):
        del results["connect"]
    if (major, minor) < (6, 12):
        del results["signal"]
    assert "read the worker's secrets" in results
    assert set(results.values()) == {"PermissionError"}, results


WITHOUT = """
import sys
import worker.decoder_process
loaded = {"torch", "safetensors", "redis", "rq", "obstore", "prometheus_client"} & set(sys.modules)
assert not loaded, loaded
"""


def test_a_process_knows_neither_torch_nor_redis() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, timeout=60)


# ---- a process that has been taken over


def said(answer: object, more: bytes = b"") -> bytes:
    encoded_answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return ANSWER_LENGTH.pack(len(encoded_answer)) + encoded_answer + more


DECODED = {
    "format": "png",
    "width_px": 4,
    "height_px": 3,
    "durations_ms": [0],
    "bits": 8,
    "has_alpha": False,
    "grey": False,
    "gamma": None,
    "dpi": None,
    "loops": 0,
    "notes": [],
    "attached_bytes": [None, None, None, None],
}


@pytest.mark.parametrize(
    "answer",
    [
        said(b"\x80\x04\x95not a pickle that anybody reads."),
        said(b""),
        said(b"\xff" * 60_000),
        said([DECODED]),
        said("picture"),
        said({}),
        said(DECODED | {"more": 1}),
        said({key: value for key, value in DECODED.items() if key != "grey"}),
        said(DECODED | {"format": "exe"}),
        said(DECODED | {"bits": 12}),
        said(DECODED | {"durations_ms": []}),
        said(DECODED | {"durations_ms": [0] * (MEMORY_BYTES // 36 + 1)}),
        said(DECODED | {"notes": ["anything"]}),
        said(DECODED | {"attached_bytes": [None]}),
        said(DECODED | {"format": None}),
        said(DECODED | {"width_px": 0}),
        said(DECODED | {"width_px": -4}),
        said(DECODED | {"width_px": "4"}),
        said(DECODED | {"width_px": 4.0}),
        said(DECODED | {"width_px": True}),
        said(DECODED | {"width_px": 2**31 - 1, "height_px": 2**31 - 1}),
        said(DECODED | {"width_px": 10**30}),
        said(DECODED | {"has_alpha": 1}),
        said(DECODED | {"width_px": MEMORY_BYTES // 9 + 1}),
        said(DECODED | {"attached_bytes": [1 << 40, None, None, None]}),
        said(DECODED | {"attached_bytes": [None, -1, None, None]}),
        said(DECODED | {"attached_bytes": [1 << 20, 1 << 20, None, 1 << 20]}),
        said({"code": "internal_error", "message": ""}),
        said({"code": "picture_damaged", "message": "x" * 1001}),
        said({"code": "picture_damaged"}),
        said({"code": "picture_damaged", "message": 1}),
    ],
)
def test_what_is_not_an_answer_is_a_failure(hostile_pool: DecoderPool, answer: bytes) -> None:
    with pytest.raises(DecoderFailedError, match="nonsense"):
        hostile_pool.decode(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0",
        said(DECODED)[:-1],
        said(DECODED | {"attached_bytes": [None, 9, None, None]}, b"too short"[:-1]),
    ],
)
def test_half_an_answer_ends_with_the_time(hostile_pool: DecoderPool, answer: bytes) -> None:
    with pytest.raises(DecoderFailedError, match="took longer"):
        hostile_pool.decode(answer)


@linux_only
def test_the_samples_cannot_be_cut_short(hostile_pool: DecoderPool) -> None:
    """Who reads beyond the end of memory that another has cut short dies of SIGBUS."""
    picture = hostile_pool.decode(said(DECODED | {"attached_bytes": [None, 4, None, None]}, b"exif"))
    assert picture.exif == b"exif"
    assert picture.colour.shape == (3, 4, 3)
    assert not picture.colour.any()
