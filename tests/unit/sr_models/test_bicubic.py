import numpy as np
import torch
from PIL import Image

from sr_models.bicubic import Bicubic


def test_it_is_pillows_where_no_border_is_near() -> None:
    picture = np.random.default_rng(0).random((20, 24), np.float32)
    for scale in (2, 3, 4):
        ours = Bicubic(scale)(torch.from_numpy(picture)[None, None])[0, 0].numpy()
        size = (24 * scale, 20 * scale)
        pillows = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        inner = slice(2 * scale, -2 * scale)
        np.testing.assert_allclose(ours[inner, inner], pillows[inner, inner], atol=1e-5)


def test_it_keeps_flat_colours_and_mirrors_at_the_border() -> None:
    flat = torch.full((1, 3, 1, 5), 0.3)
    torch.testing.assert_close(Bicubic(3)(flat), torch.full((1, 3, 3, 15), 0.3))
    symmetric = torch.tensor([[[[0.2, 0.9, 0.9, 0.2]]]])
    torch.testing.assert_close(Bicubic(2)(symmetric), Bicubic(2)(symmetric).flip(3))
