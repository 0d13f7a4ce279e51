"""The pixel convention: what a sample means to a network.

Legend: N batch, C channel, H height, W width. A stored sample is divided by white's, 255 or 65535, on
the way in; on the way out it is multiplied by that, rounded and clipped. Everything
between is float in [0, 1], colour order RGB; luma and chroma are by ITU-R BT.601 with the studio swing
(Y 16..235, Cb and Cr 16..240, each over 255), which is what the benchmarks' protocol
(MATLAB's ``rgb2ycbcr``) measures.
"""

import torch
from torch import Tensor

# ITU-R BT.601-7, section 3.5, as MATLAB's rgb2ycbcr writes it (for samples in 0..255).
_YCBCR_FROM_RGB = torch.tensor(
    [
        [65.481, 128.553, 24.966],
        [-37.797, -74.203, 112.0],
        [112.0, -93.786, -18.214],
    ],
    dtype=torch.float64,
)
_YCBCR_OFFSET = torch.tensor([16.0, 128.0, 128.0], dtype=torch.float64)
_RGB_FROM_YCBCR = torch.linalg.inv(_YCBCR_FROM_RGB)


def ycbcr_from_rgb(rgb_NCHW: Tensor) -> Tensor:
    """BT.601 luma and chroma of RGB: float (N, 3, H, W) in [0, 1] to float (N, 3, H, W).

    >>> white = torch.ones(1, 3, 1, 1)
    >>> [round(v, 3) for v in (ycbcr_from_rgb(white) * 255).ravel().tolist()]
    [235.0, 128.0, 128.0]
    """
    matrix = _YCBCR_FROM_RGB.to(rgb_NCHW)
    offset = _YCBCR_OFFSET.to(rgb_NCHW)
    ycbcr = torch.einsum("oc,nchw->nohw", matrix, rgb_NCHW) + offset[:, None, None]
    return ycbcr / 255.0


def rgb_from_ycbcr(ycbcr_NCHW: Tensor) -> Tensor:
    """The inverse of :func:`ycbcr_from_rgb`; not clipped, so values may leave [0, 1]."""
    matrix = _RGB_FROM_YCBCR.to(ycbcr_NCHW)
    offset = _YCBCR_OFFSET.to(ycbcr_NCHW)
    return torch.einsum("oc,nchw->nohw", matrix, ycbcr_NCHW * 255.0 - offset[:, None, None])


def luma_from_rgb(rgb_NCHW: Tensor) -> Tensor:
    """BT.601 luma alone: float (N, 3, H, W) in [0, 1] to float (N, 1, H, W) in [16, 235]/255."""
    return ycbcr_from_rgb(rgb_NCHW)[:, :1]
