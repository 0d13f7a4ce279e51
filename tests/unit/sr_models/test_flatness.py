import pytest
import torch
from torch import Tensor, nn

from sr_models.flatness import FlatKept, spread


class OffByATenth(nn.Module):
    """Enlarges by repeating, a tenth too bright, and darker at the border."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = x_NCHW.repeat_interleave(2, 2).repeat_interleave(2, 3) + 0.1
        y_NCHW[..., 0] -= 0.3
        return y_NCHW


def test_flat_is_interpolated_and_detail_is_the_networks() -> None:
    x = torch.rand(1, 3, 20, 40, generator=torch.Generator().manual_seed(0))
    x[..., 20:] = 0.3
    y = FlatKept(OffByATenth(), 2)(x)
    expected = OffByATenth()(x)
    assert torch.equal(y[..., :38], expected[..., :38])
    assert (y[..., 46:] - 0.3).abs().max() < 1e-6
    whole = FlatKept(OffByATenth(), 2)(torch.full((2, 3, 9, 7), 0.7))
    assert (whole - 0.7).abs().max() < 1e-6


def test_where_there_is_detail_everywhere_nothing_changes() -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(FlatKept(OffByATenth(), 2)(x), OffByATenth()(x))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 2)])
def test_any_size(size: tuple[int, int]) -> None:
    assert FlatKept(OffByATenth(), 2)(torch.rand(1, 3, *size)).shape == (1, 3, size[0] * 2, size[1] * 2)


def test_the_spread_is_that_of_the_channel_with_the_most() -> None:
    x = torch.zeros(1, 3, 7, 7)
    x[0, 1, 3, 3] = 0.5
    x[0, 2, 3, 3] = -0.25
    found = spread(x)
    assert found.shape == (1, 1, 7, 7)
    assert found[0, 0, 1:6, 1:6].eq(0.5).all()
    assert found[0, 0, 0].eq(0).all()
