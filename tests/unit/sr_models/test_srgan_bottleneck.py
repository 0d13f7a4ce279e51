import pytest
import torch

from sr_models.srgan_bottleneck import BottleneckGenerator, UnsharpMask
from tests.unit.sr_models.fixed_weights import with_random_weights


def test_sharpening_overshoots_at_an_edge_and_leaves_flat_areas() -> None:
    step = torch.tensor([0.2, 0.2, 0.2, 0.8, 0.8, 0.8]).expand(1, 3, 4, 6)
    sharp = UnsharpMask(2.0)(step)
    # The blur moves a quarter of the step's 0.6 across the edge.
    expected = torch.tensor([0.2, 0.2, 0.2 - 0.3, 0.8 + 0.3, 0.8, 0.8]).expand(1, 3, 4, 6)
    torch.testing.assert_close(sharp, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.inference_mode()
def test_sharpening_may_be_chosen_after_training(scale: int) -> None:
    torch.manual_seed(0)
    plain = with_random_weights(BottleneckGenerator(scale, blocks=2, features=8))
    sharpening = BottleneckGenerator(scale, blocks=2, features=8, sharpen=0.7)
    sharpening.load_state_dict(plain.state_dict())
    rgb = torch.rand(1, 3, 6, 7)
    torch.testing.assert_close(sharpening(rgb), UnsharpMask(0.7)(plain(rgb)))
    assert (sharpening(rgb) - plain(rgb)).abs().max() > 0.01


@torch.inference_mode()
def test_the_three_colours_are_sharpened_alone() -> None:
    rgb = torch.zeros(1, 3, 5, 5)
    rgb[0, 1, 2, 2] = 1.0
    sharp = UnsharpMask(1.0)(rgb)
    assert not sharp[0, [0, 2]].any()
    torch.testing.assert_close(sharp[0, 1, 2, 1:4], torch.tensor([-0.125, 1.75, -0.125]))
