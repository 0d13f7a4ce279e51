"""The service, the command line and the Python function make the same file of the same picture."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from click.testing import CliRunner
from PIL import Image

import enlarger
from enlarger.cli import main
from tests.fidelity.enlarging import deep_file_of, file_of
from tests.fidelity.profiles import p3_profile, press_profile
from tests.pictures import natural_picture
from tests.stack import RunningStack, running_stack


@dataclass(frozen=True)
class Case:
    """A picture, and what is asked for."""

    name: str
    content: bytes
    options: dict[str, Any] = field(default_factory=dict)
    """By the words of the REST API and of the function."""
    arguments: tuple[str, ...] = ()
    """The same for the command."""

    @property
    def fields(self) -> dict[str, str]:
        """The options as a form has them."""
        return {name: str(value).lower() for name, value in self.options.items()}


def heic_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file)
    return file.getvalue()


def cases() -> list[Case]:
    image = natural_picture(60, 44, 3)
    clear = image.copy()
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    deep = np.asarray(clear).astype(np.uint16) * 131
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    frames = [natural_picture(30, 20, seed) for seed in range(3)]
    animation = file_of(
        frames[0], "GIF", save_all=True, append_images=frames[1:], duration=[50, 100, 150], loop=0
    )
    blank = Image.new("RGB", image.size, "white")
    return [
        Case("clear.png", file_of(clear)),
        Case("deep.png", deep_file_of(deep[..., :3])),
        Case("deep.tif", deep_file_of(deep, "TIFF", p3_profile())),
        Case("grey.jpg", file_of(image.convert("L"), "JPEG", quality=95)),
        Case("turned.jpg", file_of(image, "JPEG", exif=exif, quality=95, icc_profile=p3_profile())),
        Case("press.jpg", file_of(image.convert("CMYK"), "JPEG", icc_profile=press_profile())),
        Case("palette.gif", file_of(image.quantize(32), "GIF")),
        Case("plain.bmp", file_of(image, "BMP")),
        Case("plain.jp2", file_of(image, "JPEG2000")),
        Case("modern.avif", file_of(image, "AVIF")),
        Case("odd.heic", heic_of(natural_picture(65, 47))),
        Case("animation.gif", animation, {"frames": "all"}, ("--frames", "all")),
        Case(
            "first.gif",
            animation,
            {"frames": "first", "format": "webp", "lossless": True},
            ("--frames", "first", "--format", "webp", "--lossless"),
        ),
        Case(
            "pages.tif",
            file_of(image, "TIFF", save_all=True, append_images=[blank, image]),
            {"frames": "all"},
            ("--frames", "all"),
        ),
        Case(
            "flat.png",
            file_of(clear),
            {"format": "jpeg", "background": "#204060", "progressive": True, "quality": 83},
            ("--format", "jpeg", "--background", "#204060", "--progressive", "--quality", "83"),
        ),
        Case(
            "wide.png",
            file_of(image, exif=exif, icc_profile=p3_profile()),
            {"colorspace": "srgb", "metadata": "strip", "sharpen": 0.5},
            ("--colorspace", "srgb", "--strip", "--sharpen", "0.5"),
        ),
    ]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_three_ways_to_the_same_file(stack: RunningStack, tmp_path: Path, case: Case) -> None:
    by_service = stack.result(stack.post(case.content, model="espcn", scale="3", **case.fields))
    (tmp_path / case.name).write_bytes(case.content)
    shown = CliRunner().invoke(
        main,
        [
            "image",
            str(tmp_path / case.name),
            "-o",
            str(tmp_path / "out"),
            "-s",
            "3",
            "-m",
            "espcn",
            *case.arguments,
        ],
    )
    assert shown.exit_code == 0, shown.output
    (by_command,) = (path.read_bytes() for path in (tmp_path / "out").iterdir())
    by_function = enlarger.upscale_file(case.content, 3, "espcn", **case.options)
    assert by_service == by_command
    assert by_service == by_function
