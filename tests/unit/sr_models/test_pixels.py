import torch

from sr_models.pixels import rgb_from_ycbcr, ycbcr_from_rgb


def test_ycbcr_there_and_back() -> None:
    rgb = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(rgb_from_ycbcr(ycbcr_from_rgb(rgb)), rgb)
