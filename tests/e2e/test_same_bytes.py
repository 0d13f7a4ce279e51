"""The service, the command line and the Python function make the same file of the same picture."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import enlarger
from enlarger.cli import main
from tests.fidelity.enlarging import deep_file_of, file_of
from tests.fidelity.profiles import p3_profile, press_profile
from tests.pictures import natural_picture
from tests.stack import RunningStack, running_stack
from worker.contract.finish import UNCHANGED, Finish, Metadata
from worker.contract.jobs import PictureFormat
from worker.contract.reading import AS_IT_IS, Colorspace, Frames, Reading


@dataclass(frozen=True)
class Case:
    """A picture, and what is asked for in each of the three ways."""

    name: str
    content: bytes
    fields: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    output_format: PictureFormat | None = None
    quality: int | None = None
    reading: Reading = AS_IT_IS
    finish: Finish = UNCHANGED


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
    jpeg = PictureFormat.JPEG
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
        Case(
            "animation.gif",
            animation,
            {"frames": "all"},
            ("--frames", "all"),
            reading=Reading(frames=Frames.ALL),
        ),
        Case(
            "first.gif",
            animation,
            {"frames": "first", "format": "webp", "lossless": "true"},
            ("--frames", "first", "--format", "webp", "--lossless"),
            PictureFormat.WEBP,
            reading=Reading(frames=Frames.FIRST),
            finish=Finish(lossless=True),
        ),
        Case(
            "flat.png",
            file_of(clear),
            {"format": "jpeg", "background": "#204060", "progressive": "true", "quality": "83"},
            ("--format", "jpeg", "--background", "#204060", "--progressive", "--quality", "83"),
            jpeg,
            83,
            finish=Finish(background="#204060", progressive=True),
        ),
        Case(
            "wide.png",
            file_of(image, exif=exif, icc_profile=p3_profile()),
            {"colorspace": "srgb", "metadata": "strip", "sharpen": "0.5"},
            ("--colorspace", "srgb", "--strip", "--sharpen", "0.5"),
            reading=Reading(Colorspace.SRGB),
            finish=Finish(sharpen=0.5, metadata=Metadata.STRIP),
        ),
    ]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    with running_stack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_three_ways_to_the_same_file(stack: RunningStack, tmp_path: Path, case: Case) -> None:
    posted = stack.client.post(
        "/upscale",
        files={"image": (case.name, case.content)},
        data={"model": "espcn", "scale": "3", **case.fields},
    )
    assert posted.status_code == 202, posted.text
    by_service = stack.result(posted.headers["Location"])
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
    by_function = enlarger.upscale_file(
        case.content,
        3,
        "espcn",
        output_format=case.output_format,
        quality=case.quality,
        reading=case.reading,
        finish=case.finish,
    )
    assert by_service == by_command
    assert by_service == by_function
