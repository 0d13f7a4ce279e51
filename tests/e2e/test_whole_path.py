"""The whole path as a user goes it: start the service, send pictures over HTTP, get them back larger."""

import io
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import enlarger
from tests.pictures import PHOTOGRAPHS, encoded, natural_picture
from tests.stack import RunningStack, running_stack
from worker.pipeline import Pipeline, UpscaleRequest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with Pipeline() as here:
        yield here


def uploads() -> dict[str, bytes]:
    """Pictures of different sizes, formats and modes, and photographs."""
    made = {
        "landscape.jpg": encoded(natural_picture(320, 240, 1), "JPEG"),
        "portrait.png": encoded(natural_picture(150, 211, 2), "PNG"),
        "wide.webp": encoded(natural_picture(400, 37, 3), "WEBP"),
        "one-pixel.png": encoded(natural_picture(1, 1, 4), "PNG"),
        "grey.png": encoded(natural_picture(91, 90, 5).convert("L"), "PNG"),
        "grey.jpg": encoded(natural_picture(65, 63, 6).convert("L"), "JPEG"),
        "see-through.png": encoded(transparent(natural_picture(120, 80, 7)), "PNG"),
        "see-through.webp": encoded(transparent(natural_picture(81, 120, 8)), "WEBP"),
        "many-tiles.jpg": encoded(natural_picture(420, 300, 9), "JPEG"),
    }
    return made | {path.name: path.read_bytes() for path in sorted(PHOTOGRAPHS.glob("*.png"))}


def transparent(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def test_pictures_sent_at_once_come_back_as_this_process_makes_them(
    stack: RunningStack, pipeline: Pipeline
) -> None:
    requests = [(name, content, 2 + number % 3) for number, (name, content) in enumerate(uploads().items())]
    with ThreadPoolExecutor(8) as clients:
        results = list(
            clients.map(lambda r: stack.result(stack.post(r[1], scale=r[2])), requests, timeout=240.0)
        )
    for (name, content, scale), result in zip(requests, results, strict=True):
        sent, got = Image.open(io.BytesIO(content)), Image.open(io.BytesIO(result))
        assert got.format == sent.format, name
        assert got.size == (sent.width * scale, sent.height * scale), name
        here = pipeline.submit(UpscaleRequest(content, scale=scale)).result()
        assert result == here.content, f"{name} x{scale}"


def test_the_python_function_gives_the_same_samples(stack: RunningStack, tmp_path: Path) -> None:
    picture = natural_picture(90, 61, 11)
    result = stack.result(stack.post(encoded(picture, "PNG"), scale=3, model="espcn"))
    picture.save(tmp_path / "picture.png")
    expected = np.asarray(Image.open(io.BytesIO(result)))
    for given in (picture, tmp_path / "picture.png", (tmp_path / "picture.png").read_bytes()):
        assert np.array_equal(np.asarray(enlarger.upscale(given, scale=3, model="espcn")), expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_results_are_closer_to_photographs_than_bicubic(stack: RunningStack, scale: int) -> None:
    gains_db = {
        path.name: gain_over_bicubic_db(stack, path, scale) for path in sorted(PHOTOGRAPHS.glob("*.png"))
    }
    # A single photograph may have little to gain: dark, or out of focus.
    assert min(gains_db.values()) > 0.0, gains_db
    assert sum(gains_db.values()) / len(gains_db) > 0.4, gains_db


def gain_over_bicubic_db(stack: RunningStack, photograph: Path, scale: int) -> float:
    """By how much the service's own choice is closer to the photograph than bicubic, from it made smaller."""
    whole = Image.open(photograph).convert("RGB")
    width_px, height_px = whole.width // scale, whole.height // scale
    original = whole.crop((0, 0, width_px * scale, height_px * scale))
    small = encoded(original.resize((width_px, height_px), Image.Resampling.BICUBIC), "PNG")
    paths = [stack.post(small, scale=scale, model=model) for model in ("auto", "bicubic")]
    chosen_db, bicubic_db = (psnr_db(stack.result(path), original) for path in paths)
    return chosen_db - bicubic_db


def psnr_db(content: bytes, original: Image.Image) -> float:
    """On luma, in dB."""
    luma = np.asarray(Image.open(io.BytesIO(content)).convert("L"), np.float64)
    difference = luma - np.asarray(original.convert("L"), np.float64)
    return float(10 * np.log10(255**2 / np.mean(difference**2)))


def huge_png() -> bytes:
    """A valid PNG of 20000x20000 black pixels, in about 50 kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return len(content).to_bytes(4) + body + zlib.crc32(body).to_bytes(4)

    side = 20_000
    header = side.to_bytes(4) + side.to_bytes(4) + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(side * (1 + side // 8)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURE = encoded(natural_picture(64, 48, 13), "JPEG")


@pytest.mark.parametrize(
    ("content", "options", "status", "code"),
    [
        pytest.param(b"Dear all,\nthis is no picture.\n", {}, 415, "unsupported_image", id="a text"),
        pytest.param(PICTURE[: len(PICTURE) // 2], {}, 400, "image_truncated", id="half a JPEG"),
        pytest.param(b"", {}, 400, "empty_image", id="nothing"),
        pytest.param(os.urandom(5000), {}, 415, "unsupported_image", id="noise"),
        pytest.param(huge_png(), {}, 413, "too_many_pixels", id="a bomb"),
        pytest.param(PICTURE, {"model": "no-such-model"}, 400, "unknown_model", id="an unknown model"),
        pytest.param(PICTURE, {"scale": 7}, 422, "invalid_request", id="scale 7"),
        pytest.param(PICTURE, {"scale": "large"}, 422, "invalid_request", id="a scale in words"),
        pytest.param(PICTURE, {"format": "gif"}, 422, "invalid_request", id="an unknown format"),
    ],
)
def test_a_bad_request_is_refused_and_the_service_goes_on(
    stack: RunningStack, content: bytes, options: dict[str, object], status: int, code: str
) -> None:
    answer = stack.client.post("/upscale", files={"image": ("photo.jpg", content)}, data=options)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert Image.open(io.BytesIO(stack.result(stack.post(PICTURE, scale=2)))).size == (128, 96)


def test_a_deleted_job_is_gone(stack: RunningStack) -> None:
    path = stack.post(PICTURE, scale=2)
    stack.result(path)
    assert stack.client.delete(path).is_success
    assert stack.client.get(f"{path}/result").status_code in (404, 410)
