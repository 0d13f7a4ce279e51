import torch

from sr_models.espcn import ESPCN
from sr_models.upscaler import LumaNetwork


def test_a_luma_network_enlarges_grey_to_grey() -> None:
    torch.manual_seed(0)
    grey = torch.rand(1, 1, 6, 7).expand(1, 3, 6, 7)
    with torch.inference_mode():
        sr = LumaNetwork(ESPCN(2), 2)(grey)
    torch.testing.assert_close(sr[:, :1].expand_as(sr), sr, rtol=0, atol=1e-5)
