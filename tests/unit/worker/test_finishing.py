"""What is done to a result after the network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import worker.finishing
from sr_models.samples import StoredSamples
from worker.contract.finish import Finish, Metadata
from worker.contract.jobs import InputFormat
from worker.finishing import finish, reduced, sharpened
from worker.picture import Frame, Picture


def picture(colour: StoredSamples, alpha: StoredSamples | None = None, *, grey: bool = False) -> Picture:
    return Picture(InputFormat.PNG, (Frame(colour, alpha),), grey, b"a profile", exif=b"some exif")


def finished(larger: Picture, scale: int, wanted: Finish) -> Picture:
    """What becomes of a picture that was enlarged to that one."""
    small = larger.with_planes([plane[::scale, ::scale] for plane in larger.planes])
    return finish(small, larger.planes, wanted)


def noise(height: int, width: int, seed: int = 0) -> StoredSamples:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_nothing_is_done_that_was_not_asked_for() -> None:
    given_picture = picture(noise(8, 12))
    assert finished(given_picture, 4, Finish()).colour is given_picture.colour
    assert finished(given_picture, 4, Finish(width_px=12)).colour is given_picture.colour


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    asked=st.tuples(st.none() | st.integers(1, 160), st.none() | st.integers(1, 160)),
)
def test_the_size_is_what_was_asked_for(
    width: int, height: int, asked: tuple[int | None, int | None]
) -> None:
    wanted = Finish(*asked)
    larger = finished(picture(np.zeros((height * 4, width * 4, 3), np.uint8)), 4, wanted)
    result_height, result_width = larger.colour.shape[:2]
    assert (result_width, result_height) == wanted.size_px(width, height, 4)
    if asked[0] and asked[1]:
        assert result_width <= asked[0]
        assert result_height <= asked[1]
        assert result_width == asked[0] or result_height == asked[1]
    elif asked[0] or asked[1]:
        assert asked[0] in (None, result_width)
        assert asked[1] in (None, result_height)
    if asked[0] or asked[1]:  # the proportions stay, to half a pixel
        wide = abs(result_width - result_height * width / height) <= 0.5 * (1 + width / height)
        assert wide or 1 in (result_width, result_height)


def test_the_smallest_scale_that_is_enough_is_taken() -> None:
    assert Finish(width_px=200).scale_for(100, 80, (2, 3, 4)) == 2
    assert Finish(width_px=201).scale_for(100, 80, (2, 3, 4)) == 3
    assert Finish(width_px=201).scale_for(100, 80, (2, 4)) == 4
    assert Finish(height_px=321).scale_for(100, 80, (2, 3, 4)) is None
    assert Finish(width_px=9999, height_px=320).scale_for(100, 80, (2, 3, 4)) == 4


@given(level=st.integers(0, 255), amount=st.floats(0, 1, allow_subnormal=False))
def test_flat_stays_flat(level: int, amount: float) -> None:
    flat = np.full((20, 30, 3), level, np.uint8)
    result = finished(picture(flat), 2, Finish(width_px=11, sharpen=amount))
    assert (result.colour == level).all()


def test_light_is_what_is_averaged() -> None:
    """A fine pattern of black and white is as bright as 188 of sRGB, and not 128 (IEC 61966-2-1)."""
    board = np.zeros((64, 64, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    middle = reduced(Frame(board), (32, 32)).colour[8:-8, 8:-8]
    assert abs(middle.astype(int) - 188).max() <= 1


def test_transparent_pixels_lend_their_colour_to_nobody() -> None:
    colour = np.zeros((40, 40, 3), np.uint8)
    colour[:, :20] = (200, 100, 50)
    colour[:, 20:] = (0, 255, 0)
    alpha = np.zeros((40, 40, 3), np.uint8)
    alpha[:, :20] = 255
    result = reduced(Frame(colour, alpha), (30, 30))
    assert result.alpha is not None
    seen = result.alpha[..., 0] > 16
    assert abs(result.colour[seen].astype(int) - (200, 100, 50)).max() <= 1
    assert result.alpha[:, :14].min() == 255
    assert result.alpha[:, 17:].max() == 0


def test_grey_stays_grey() -> None:
    colour = np.repeat(noise(40, 40)[..., :1], 3, axis=2)
    result = finished(picture(colour, grey=True), 4, Finish(height_px=17, sharpen=0.7))
    assert result.grey
    assert (result.colour == result.colour[..., :1]).all()


def test_an_edge_becomes_steeper_and_no_colour_appears() -> None:
    edge = np.full((16, 32, 3), 100, np.uint8)
    edge[:, 16:] = (150, 160, 170)
    result = sharpened(edge, 1.0).astype(int)
    assert result[8, 15, 0] < 100
    assert result[8, 16, 0] > 150
    assert (result[:, :13] == 100).all()
    change = result - edge
    assert (change == change[..., :1]).all()


def test_more_is_sharper() -> None:
    colour = noise(32, 32)
    spread = [float(sharpened(colour, amount).std()) for amount in (0.0, 0.3, 1.0)]
    assert spread == sorted(spread)
    assert np.array_equal(sharpened(colour, 0.0), colour)


@pytest.mark.parametrize("height", [1, 2, 7, 50])
def test_strips_leave_no_seams(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    colour = noise(height, 9)
    whole = sharpened(colour, 0.6)
    monkeypatch.setattr(worker.finishing, "STRIP_ROWS", 5)
    assert np.array_equal(sharpened(colour, 0.6), whole)


def test_exif_goes_and_the_profile_stays() -> None:
    stripped = finished(picture(noise(8, 8)), 2, Finish(metadata=Metadata.STRIP))
    assert (stripped.exif, stripped.icc_profile) == (None, b"a profile")
    assert finished(picture(noise(8, 8)), 2, Finish()).exif == b"some exif"


def test_sixteen_bits_are_finished_as_eight_are() -> None:
    deep = noise(40, 60).astype(np.uint16) * 257
    wanted = Finish(width_px=45, sharpen=0.4)
    shallow = finished(picture((deep // 257).astype(np.uint8)), 4, wanted).colour
    result = finished(picture(deep), 4, wanted).colour
    assert result.dtype == np.uint16
    assert np.abs(result / 257.0 - shallow).max() <= 1.5


def test_every_frame_is_finished() -> None:
    frames = tuple(Frame(noise(8, 8, seed), duration_ms=seed) for seed in range(3))
    larger = Picture(InputFormat.GIF, frames, grey=False)
    result = finished(larger, 2, Finish(width_px=6))
    assert [(frame.colour.shape, frame.duration_ms) for frame in result.frames] == [
        ((6, 6, 3), n) for n in range(3)
    ]
