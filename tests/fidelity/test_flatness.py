"""What has no detail gets none, and colours stay what they were on the whole."""

import numpy as np
import pytest
from PIL import Image

from tests.fidelity.enlarging import Enlarge, deep_file_of, file_of, opened, stored
from tests.pictures import PHOTOGRAPHS

FIDELITY = [
    ("bicubic", 2),
    ("bicubic", 3),
    ("bicubic", 4),
    ("espcn", 2),
    ("espcn", 3),
    ("espcn", 4),
    ("edsr-baseline", 2),
    ("edsr-baseline", 3),
    ("edsr-baseline", 4),
    ("srresnet", 4),
]
FLAT = [
    (0, 0, 0),
    (255, 255, 255),
    (128, 128, 128),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (17, 93, 201),
    (250, 250, 5),
]


@pytest.mark.parametrize(("model", "scale"), [*FIDELITY, ("srgan", 4), ("edsr-photo", 4)])
@pytest.mark.parametrize("colour", FLAT)
def test_flat_stays_flat(enlarge: Enlarge, model: str, scale: int, colour: tuple[int, int, int]) -> None:
    result = opened(enlarge(file_of(Image.new("RGB", (24, 20), colour)), scale=scale, model=model).content)
    off = np.abs(np.asarray(result).astype(int) - colour)
    assert off.max() <= 1, f"{off.max()} 255ths"


@pytest.mark.parametrize(("model", "scale"), FIDELITY)
def test_mean_colours_stay(enlarge: Enlarge, model: str, scale: int) -> None:
    for path in sorted(PHOTOGRAPHS.glob("*.png")):
        image = Image.open(path).convert("RGB").crop((100, 60, 228, 160))
        result = np.asarray(opened(enlarge(file_of(image), scale=scale, model=model).content)).astype(float)
        assert np.abs(result.mean(axis=(0, 1)) - np.asarray(image).mean(axis=(0, 1))).max() <= 1, path.name


@pytest.mark.parametrize(("model", "scale"), FIDELITY)
def test_a_gradient_has_no_pattern(enlarge: Enlarge, model: str, scale: int) -> None:
    """A checkerboard would show as phases of the sub-pixel grid whose means differ from a smooth ramp's (Odena et al., 2016)."""
    ramp = np.linspace(3000, 62_000, 48).astype(np.uint16)
    samples = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (40, 48, 3)))
    result = stored(enlarge(deep_file_of(samples), scale=scale, model=model).content).astype(float) / 257
    inner = result[8 * scale : -8 * scale, 8 * scale : -8 * scale]
    expected = np.interp((np.arange(48 * scale) + 0.5) / scale - 0.5, np.arange(48), ramp / 257)[
        8 * scale : -8 * scale
    ]
    off = inner - expected[None, :, None]
    phases = [off[y::scale, x::scale].mean() for y in range(scale) for x in range(scale)]
    assert np.ptp(phases) <= 1


@pytest.mark.parametrize(("model", "scale"), FIDELITY)
def test_a_checkerboard_keeps_its_squares(enlarge: Enlarge, model: str, scale: int) -> None:
    squares = np.kron((np.indices((6, 6)).sum(axis=0) % 2) * 200 + 20, np.ones((8, 8))).astype(np.uint8)
    result = np.asarray(
        opened(enlarge(file_of(Image.fromarray(squares)), scale=scale, model=model).content)
    ).astype(int)
    side = 8 * scale
    for row in range(6):
        for column in range(6):
            middle = result[row * side : (row + 1) * side, column * side : (column + 1) * side][
                scale * 3 : -scale * 3, scale * 3 : -scale * 3
            ]
            assert np.abs(middle - squares[row * 8, column * 8]).max() <= 12
