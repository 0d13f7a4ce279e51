"""Animations and pages: refused, the first, or all with their times."""

import io
import itertools
from itertools import pairwise

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageSequence

from tests.fidelity.enlarging import Enlarge, file_of, opened, reference_bicubic
from tests.pictures import natural_picture
from worker.contract.jobs import Note, PictureFormat
from worker.contract.reading import Frames, Reading
from worker.errors import PictureUnsupportedError

PAGED = [PictureFormat.PNG, PictureFormat.WEBP, PictureFormat.TIFF, PictureFormat.AVIF]
FIRST, ALL = Reading(frames=Frames.FIRST), Reading(frames=Frames.ALL)
TIMES_MS = [100, 250, 40]
ANIMATED = ["GIF", "PNG", "WEBP"]
SEVERAL = [*ANIMATED, "TIFF"]


def pictures(mode: str = "RGB") -> list[Image.Image]:
    return [natural_picture(24, 18, seed).convert(mode) for seed in range(3)]


def several(name: str, mode: str = "RGB", loop: int = 2) -> bytes:
    first, *others = pictures(mode)
    options = {"duration": TIMES_MS, "loop": loop} if name != "TIFF" else {}
    if name == "WEBP":
        options |= {"lossless": True}
    return file_of(first, name, save_all=True, append_images=others, **options)


def frames_of(content: bytes) -> list[Image.Image]:
    return [frame.copy() for frame in ImageSequence.Iterator(Image.open(io.BytesIO(content)))]


@pytest.mark.parametrize("name", SEVERAL)
def test_they_are_refused_unless_asked_for(enlarge: Enlarge, name: str) -> None:
    with pytest.raises(PictureUnsupportedError, match="3 frames or pages"):
        enlarge(several(name))


@pytest.mark.parametrize("name", SEVERAL)
def test_the_first_alone(enlarge: Enlarge, name: str) -> None:
    content = several(name)
    result = enlarge(content, PictureFormat.PNG, reading=FIRST)
    assert result.notes == (Note.FIRST_FRAME_ONLY,)
    alone = file_of(frames_of(content)[0].convert("RGB"))
    made, expected = (np.asarray(opened(each.content).convert("RGB")) for each in (result, enlarge(alone)))
    assert np.array_equal(made, expected)


@pytest.mark.parametrize(
    ("name", "output_format"),
    [*itertools.product(ANIMATED, PAGED), ("TIFF", PictureFormat.TIFF)],
)
def test_all_of_them(enlarge: Enlarge, name: str, output_format: PictureFormat) -> None:
    result = enlarge(several(name), output_format, reading=ALL, quality=95)
    lost = name != "TIFF" and output_format in (PictureFormat.TIFF, PictureFormat.AVIF)
    assert result.notes == ((Note.TIMING_DROPPED,) if lost else ())
    made = frames_of(result.content)
    assert [frame.size for frame in made] == [(48, 36)] * 3
    for frame, given in zip(made, frames_of(several(name)), strict=True):
        alone = opened(enlarge(file_of(given.convert("RGB"))).content)
        assert np.abs(np.asarray(frame.convert("RGB")).astype(int) - np.asarray(alone)).mean() < 8
    if name != "TIFF" and output_format is not PictureFormat.TIFF:
        assert [frame.info["duration"] for frame in made] == TIMES_MS


@pytest.mark.parametrize("name", ANIMATED)
@pytest.mark.parametrize("output_format", [PictureFormat.PNG, PictureFormat.WEBP])
def test_it_is_shown_as_often(enlarge: Enlarge, name: str, output_format: PictureFormat) -> None:
    for loop in (0, 2):
        result = opened(enlarge(several(name, loop=loop), output_format, reading=ALL).content)
        assert result.info["loop"] == opened(several(name, loop=loop)).info["loop"]


def test_transparency_of_each(enlarge: Enlarge) -> None:
    frames = pictures("RGBA")
    for number, frame in enumerate(frames):
        frame.putalpha(60 * (number + 1))
    content = file_of(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=TIMES_MS)
    made = frames_of(enlarge(content, reading=ALL).content)
    assert [set(np.asarray(frame.convert("RGBA"))[..., 3].ravel().tolist()) for frame in made] == [
        {60},
        {120},
        {180},
    ]


def test_a_jpeg_of_several_is_the_first_and_says_so(enlarge: Enlarge) -> None:
    result = enlarge(several("GIF"), PictureFormat.JPEG, reading=ALL)
    assert Note.FIRST_FRAME_ONLY in result.notes


def test_a_gif_that_is_no_animation(enlarge: Enlarge) -> None:
    result = enlarge(file_of(natural_picture(20, 12).convert("P"), "GIF"), reading=ALL)
    assert result.output_format is PictureFormat.PNG
    assert opened(result.content).size == (40, 24)


def test_pages_of_different_sizes_are_refused(enlarge: Enlarge) -> None:
    content = file_of(natural_picture(20, 12), "TIFF", save_all=True, append_images=[natural_picture(9, 9)])
    with pytest.raises(PictureUnsupportedError, match="sizes"):
        enlarge(content, reading=ALL)
    assert opened(enlarge(content, reading=FIRST).content).size == (40, 24)


def test_the_same_animation_gives_the_same_bytes(enlarge: Enlarge) -> None:
    for output_format in (PictureFormat.PNG, PictureFormat.WEBP, PictureFormat.TIFF, PictureFormat.AVIF):
        made = [enlarge(several("GIF"), output_format, reading=ALL).content for _ in range(2)]
        assert all(one == other for one, other in pairwise(made))


@pytest.mark.parametrize("output_format", [PictureFormat.PNG, PictureFormat.WEBP, PictureFormat.AVIF])
def test_pages_are_no_animation(enlarge: Enlarge, output_format: PictureFormat) -> None:
    with pytest.raises(PictureUnsupportedError, match="Only a TIFF holds pages"):
        enlarge(several("TIFF"), output_format, reading=ALL)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_blank_page_is_a_page(enlarge: Enlarge, mode: str) -> None:
    blank = Image.new(mode, (24, 18), "white")
    content = file_of(pictures(mode)[0], "TIFF", save_all=True, append_images=[blank, blank])
    made = frames_of(enlarge(content, reading=ALL).content)
    assert [frame.size for frame in made] == [(48, 36)] * 3
    assert np.asarray(made[1]).min() == 255


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pages_of_sixteen_bits(enlarge: Enlarge, channels: int) -> None:
    pages = [
        np.random.default_rng(seed).integers(1, 65_536, (9, 12, channels)).astype(np.uint16)
        for seed in range(3)
    ]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(
                page if channels > 1 else page[..., 0],
                photometric="rgb" if channels > 1 else "minisblack",
                extrasamples=["unassalpha"] if channels == 4 else [],
                metadata=None,
            )
    with tifffile.TiffFile(io.BytesIO(enlarge(file.getvalue(), reading=ALL).content)) as made:
        assert len(made.pages) == 3
        for written, given in zip(made.pages, pages, strict=True):
            samples = written.asarray().reshape(18, 24, channels)
            assert samples.dtype == np.uint16
            assert np.abs(samples - reference_bicubic(given, 2).clip(0, 65_535)).max() <= 1


def test_pages_of_different_depths_are_refused(enlarge: Enlarge) -> None:
    for depths in ((np.uint8, np.uint16), (np.uint16, np.uint8)):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            for depth in depths:
                writer.write(np.ones((9, 12, 3), depth), photometric="rgb", metadata=None)
        with pytest.raises(PictureUnsupportedError):
            enlarge(file.getvalue(), reading=ALL)
