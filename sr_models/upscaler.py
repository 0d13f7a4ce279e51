"""A checkpoint ready to enlarge pictures: RGB samples in, RGB samples out, whole or by tiles."""

import copy
import logging
import threading
from collections.abc import Callable
from typing import Any, Self, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sr_models.bicubic import Bicubic
from sr_models.checkpoint import load
from sr_models.flatness import FlatKept
from sr_models.manifest import Checkpoint, Manifest
from sr_models.pixels import rgb_from_ycbcr, ycbcr_from_rgb
from sr_models.samples import StoredSamples, white
from sr_models.tiling import Window, windows

Float32Array = npt.NDArray[np.float32]
Sample = TypeVar("Sample", bound=np.generic)
Stored = TypeVar("Stored", bound=StoredSamples)
Enlarged = TypeVar("Enlarged", bound=npt.NDArray[np.generic])

logger = logging.getLogger(__name__)

SOLO_BELOW_PX = 1024
"""Windows smaller than this run one by one: oneDNN convolves a single one of up to about 500 px by another method than
several, and the sums then differ in their last bits. So a picture's bytes do not depend on its company."""

DEFAULT_TILE_PX = 192
"""LR pixels. Microseconds for each LR pixel that is kept, on two cores, x4: ESPCN 128 px 1.08, 160 px 0.93, 192 px 1.04, 256 px 1.07,
512 px 1.13; EDSR-baseline 96 px 26.0, 128 px 22.9, 160 px 21.0, 192 px 20.8, 256 px 20.4, 384 px 22.1. Larger ones gain little
and hold up others for longer."""

MIN_CORE_PX = 32
"""LR pixels of a tile that are kept of it, at least: a halo of half a tile or more would leave none."""


def nothing() -> None:
    """For passes that give way to none."""


class LumaNetwork(nn.Module):
    """A luma network as one on RGB: BT.601 luma through the network, chroma by bicubic.

    The eye sees far less detail in chroma, and JPEG has thrown most of it away already.
    float (N, 3, H, W) in [0, 1] to float (N, 3, scale·H, scale·W).
    """

    def __init__(self, luma: nn.Module, scale: int) -> None:
        super().__init__()
        self.luma = luma
        self.chroma = Bicubic(scale)

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        ycbcr = ycbcr_from_rgb(rgb_NCHW)
        return rgb_from_ycbcr(torch.cat([self.luma(ycbcr[:, :1]), self.chroma(ycbcr[:, 1:])], dim=1))


class NotFiniteError(RuntimeError):
    """The network made samples that are no numbers, in float32 too: publish another version of the checkpoint."""


class Upscaler:
    """Enlarges RGB pictures of 8 or 16 bits a sample by one checkpoint on one device. Thread-safe.

    16 bits are always computed in float32: a bfloat16 has eight.
    """

    def __init__(
        self,
        network: nn.Module,
        manifest: Manifest,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        on_rgb = LumaNetwork(network, manifest.scale) if manifest.colour == "luma" else network
        if manifest.parameters:  # what has learnt nothing makes no mistakes either
            on_rgb = FlatKept(on_rgb, manifest.scale)
        # nn.Module.to: its overload for a memory format is missing from torch's types.
        self._exact = on_rgb.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._network = self._exact if dtype == torch.float32 else copy.deepcopy(self._exact).to(dtype)
        self._device = torch.device(device)
        self._dtype = dtype
        self.manifest = manifest
        self.retried_in_float32 = 0
        """Windows whose samples were no numbers at first."""
        self._pass = threading.local()
        for network in {self._exact, self._network}:
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.register_forward_pre_hook(self._before_layer)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """The verified checkpoint. Raises sr_models.checkpoint.CheckpointError."""
        return cls(load(checkpoint), checkpoint.manifest, device, dtype)

    @property
    def scale(self) -> int:
        """How many times larger the result is."""
        return self.manifest.scale

    def enlarge(self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing) -> StoredSamples:
        """A batch of equal windows, in one forward pass unless they are tiny: (N, H, W, 3) to (N, scale·H, scale·W, 3) of the same type.

        What a window becomes does not depend on the others, on the same machine to the bit. Samples that are no numbers are
        made again in float32, and never returned. Raises NotFiniteError where that does not help.

        `between_layers` is called before each convolution: a pass that takes long can give way there, even to another one
        through the same upscaler. It must not raise.
        """
        return self._in_parts(self._enlarge, lr_NHWC, between_layers)

    def enlarge_unrounded(
        self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing
    ) -> Float32Array:
        """:meth:`enlarge` before samples are rounded and clipped: float32, black 0 and white 255. For means of several."""
        return self._in_parts(self._enlarge_unrounded, lr_NHWC, between_layers)

    def _in_parts(
        self,
        enlarge: Callable[[Any], Enlarged],
        lr_NHWC: StoredSamples,
        between_layers: Callable[[], None],
    ) -> Enlarged:
        """Windows that are too small to be company for each other one by one, others together."""
        count, height, width, _ = lr_NHWC.shape
        outer, self._pass.between_layers = getattr(self._pass, "between_layers", nothing), between_layers
        try:
            if count > 1 and height * width < SOLO_BELOW_PX:
                parts = [enlarge(lr_NHWC[i : i + 1]) for i in range(count)]
                return cast(Enlarged, np.concatenate(parts))
            return enlarge(lr_NHWC)
        finally:
            self._pass.between_layers = outer

    def _before_layer(self, layer: nn.Module, inputs: object) -> None:
        # A network may also be called by itself, without an upscaler around it.
        getattr(self._pass, "between_layers", nothing)()

    @torch.inference_mode()
    def _enlarge(self, lr_NHWC: StoredSamples) -> StoredSamples:
        most = white(lr_NHWC)
        stored = self._restored(lr_NHWC).mul_(most).round_().clamp_(0.0, most)
        stored = stored.to(torch.uint8 if most == 255 else torch.uint16)
        return cast(StoredSamples, stored.permute(0, 2, 3, 1).contiguous().cpu().numpy())

    @torch.inference_mode()
    def _enlarge_unrounded(self, lr_NHWC: StoredSamples) -> Float32Array:
        samples = self._restored(lr_NHWC).float().mul_(255.0)
        array: Float32Array = samples.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return array

    def _restored(self, lr_NHWC: StoredSamples) -> Tensor:
        """The network's answer: (N, 3, scale·H, scale·W), black 0 and white 1, every sample a number."""
        samples = torch.from_numpy(np.require(lr_NHWC, requirements="W")).to(self._device).permute(0, 3, 1, 2)
        most = white(lr_NHWC)
        network, dtype = (self._network, self._dtype) if most == 255 else (self._exact, torch.float32)
        sr_NCHW: Tensor = network(samples.to(dtype).div_(most))
        # One sum finds what a look at each sample would, in a fifteenth of its time on a CPU.
        if sr_NCHW.sum(dtype=torch.float32).isfinite():
            return sr_NCHW
        return self._retried(samples.float().div_(most), sr_NCHW)

    def _retried(self, lr_NCHW: Tensor, sr_NCHW: Tensor) -> Tensor:
        """The result with every window that is not finite made again in float32."""
        sr_NCHW = sr_NCHW.float()
        for window in (~sr_NCHW.isfinite().all(dim=(1, 2, 3))).nonzero().flatten().tolist():
            sr_NCHW[window] = self._exact(lr_NCHW[window : window + 1])[0]
            if not sr_NCHW[window].isfinite().all():
                raise NotFiniteError(f"{self.manifest.label} made samples that are no numbers")
            self.retried_in_float32 += 1
            logger.warning("%s: a window that was not finite was made again in float32", self.manifest.label)
        return sr_NCHW

    def windows(self, height_px: int, width_px: int, tile_px: int) -> list[Window]:
        """A picture's windows by tiles of `tile_px`, or of more where the network's halo leaves too little of that."""
        halo_px = self.manifest.halo_px
        return windows(height_px, width_px, max(tile_px, 2 * halo_px + MIN_CORE_PX), halo_px)

    def upscale(self, picture_HWC: Stored, tile_px: int = DEFAULT_TILE_PX) -> Stored:
        """The whole picture: (H, W, 3) to (scale·H, scale·W, 3) of the same type."""
        height, width, channels = picture_HWC.shape
        shape = height * self.scale, width * self.scale, channels
        canvas = cast(Stored, np.empty(shape, picture_HWC.dtype))
        for window in self.windows(height, width, tile_px):
            place(canvas, window, self.enlarge(cut(picture_HWC, window)[None])[0], self.scale)
        return canvas


def cut(picture_HWC: npt.NDArray[Sample], window: Window) -> npt.NDArray[Sample]:
    """What the network sees of the picture: a view, not a copy."""
    rows, columns = window.rows, window.columns
    return picture_HWC[rows.start : rows.stop, columns.start : columns.stop]


def place(canvas_HWC: npt.NDArray[Sample], window: Window, sr_HWC: npt.NDArray[Sample], scale: int) -> None:
    """Write the core of an enlarged window to its place on the enlarged canvas."""
    rows, columns = window.rows, window.columns
    core = sr_HWC[
        (rows.core_start - rows.start) * scale : (rows.core_stop - rows.start) * scale,
        (columns.core_start - columns.start) * scale : (columns.core_stop - columns.start) * scale,
    ]
    canvas_HWC[
        rows.core_start * scale : rows.core_stop * scale,
        columns.core_start * scale : columns.core_stop * scale,
    ] = core
