"""A picture's whole way through a worker, with real files and real weights."""

import io
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_checkpoints import publish
from worker.contract.finish import Finish, Metadata
from worker.contract.jobs import PictureFormat
from worker.decoder import DecoderPool
from worker.device import DeviceUnavailableError, choose_device
from worker.errors import (
    CanceledError,
    CheckpointDamagedError,
    ModelUnavailableError,
    PictureDamagedError,
)
from worker.pipeline import Pipeline, Upscaled, UpscaleRequest


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    for family in ("espcn", "bicubic"):
        for scale in (2, 3, 4):
            publish(tmp_path, family, scale, psnr_db=30.0 if family == "espcn" else 28.0)
    return tmp_path


@pytest.fixture
def pipeline(checkpoints: Path) -> Iterator[Pipeline]:
    with Pipeline(checkpoints, "cpu") as pipeline:
        yield pipeline


def file_of(
    mode: str = "RGB", size: tuple[int, int] = (20, 30), name: str = "png", **options: object
) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    samples = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(samples if channels > 1 else samples[..., 0], mode).save(file, name, **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_picture_comes_back_larger_in_its_own_format(pipeline: Pipeline, name: str, scale: int) -> None:
    upscaled = pipeline.submit(UpscaleRequest(file_of(name=name), scale=scale)).result(30)
    result = Image.open(io.BytesIO(upscaled.content))
    assert result.size == (20 * scale, 30 * scale) == (upscaled.width_px, upscaled.height_px)
    assert result.format == name.upper()
    assert upscaled.checkpoint == f"espcn-x{scale}@1"


def test_decoding_in_another_process_gives_the_same_bytes(pipeline: Pipeline, checkpoints: Path) -> None:
    with (
        DecoderPool(timeout_s=60, memory_bytes=512 << 20) as decoders,
        Pipeline(checkpoints, "cpu", decode=decoders.decode) as apart,
    ):
        for mode, name in (("L", "jpeg"), ("RGBA", "png"), ("RGBA", "webp")):
            request = UpscaleRequest(file_of(mode, name=name), scale=2)
            assert apart.upscale(request).content == pipeline.upscale(request).content
        with pytest.raises(PictureDamagedError):
            apart.upscale(UpscaleRequest(file_of()[:100]))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_the_mode_is_kept(pipeline: Pipeline, mode: str) -> None:
    upscaled = pipeline.upscale(UpscaleRequest(file_of(mode), "bicubic", 2))
    assert Image.open(io.BytesIO(upscaled.content)).mode == mode


def test_many_pictures_at_once_are_each_their_own(pipeline: Pipeline) -> None:
    sizes = [(1, 1), (7, 200), (200, 7), (64, 64), (129, 130), (300, 5)] * 3
    futures: list[Future[Upscaled]] = [
        pipeline.submit(UpscaleRequest(file_of(size=size), "espcn", 2)) for size in sizes
    ]
    for (width, height), future in zip(sizes, futures, strict=True):
        upscaled = future.result(60)
        assert Image.open(io.BytesIO(upscaled.content)).size == (2 * width, 2 * height)


def test_options_are_heeded(pipeline: Pipeline) -> None:
    request = UpscaleRequest(file_of("RGBA"), "bicubic", 2, PictureFormat.JPEG, quality=30)
    upscaled = pipeline.upscale(request)
    assert upscaled.checkpoint == "bicubic-x2@1"
    assert Image.open(io.BytesIO(upscaled.content)).format == "JPEG"


def test_what_goes_wrong_is_named(pipeline: Pipeline, checkpoints: Path) -> None:
    with pytest.raises(PictureDamagedError):
        pipeline.submit(UpscaleRequest(file_of()[:200])).result(30)
    with pytest.raises(ModelUnavailableError):
        pipeline.upscale(UpscaleRequest(file_of(), "edsr"))
    with pytest.raises(CanceledError):
        pipeline.submit(UpscaleRequest(file_of()), canceled=lambda: True).result(30)
    (checkpoints / "espcn-x3" / "1" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointDamagedError):
        pipeline.upscale(UpscaleRequest(file_of(), "espcn", 3))
    assert pipeline.upscale(UpscaleRequest(file_of(), "espcn", 2)).width_px == 40


def test_a_new_version_is_used_without_a_restart(pipeline: Pipeline, checkpoints: Path) -> None:
    assert pipeline.upscale(UpscaleRequest(file_of(), "espcn", 2)).checkpoint == "espcn-x2@1"
    publish(checkpoints, "espcn", 2, version=2)
    assert pipeline.upscale(UpscaleRequest(file_of(), "espcn", 2)).checkpoint == "espcn-x2@2"
    assert pipeline.upscale(UpscaleRequest(file_of(), "espcn@1", 2)).checkpoint == "espcn-x2@1"


def test_a_device_that_is_not_there_is_said_so() -> None:
    assert choose_device("auto") in ("cpu", "cuda", "mps")
    for name in ("cuda:99", "quantum"):
        with pytest.raises(DeviceUnavailableError):
            choose_device(name)


@pytest.mark.parametrize("output_format", PictureFormat)
def test_a_result_is_finished_as_it_was_asked_for(pipeline: Pipeline, output_format: PictureFormat) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    content = file_of("RGBA", (20, 12), exif=exif)
    wanted = Finish(width_px=33, sharpen=0.5, metadata=Metadata.STRIP)
    made = pipeline.upscale(UpscaleRequest(content, "bicubic", 2, output_format, finish=wanted))
    result = Image.open(io.BytesIO(made.content))
    assert result.format == output_format.upper()
    assert result.size == (made.width_px, made.height_px) == (33, 20)
    assert 0x010F not in result.getexif()
    assert result.mode == ("RGB" if output_format is PictureFormat.JPEG else "RGBA")


def test_a_picture_of_another_size_than_it_was_accepted_with_is_refused(pipeline: Pipeline) -> None:
    request = UpscaleRequest(file_of(), "espcn", 2, input_px=20 * 30)
    assert pipeline.upscale(request).width_px == 40
    with pytest.raises(PictureDamagedError, match="another size"):
        pipeline.upscale(replace(request, input_px=20 * 29))
