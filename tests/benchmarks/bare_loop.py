"""The network alone: float tensors that are in memory already, no files, no queue, no tiles, no rounding."""

import torch
from torch import Tensor

from sr_models.checkpoint import load
from sr_models.manifest import Checkpoint
from sr_models.samples import StoredSamples
from sr_models.upscaler import LumaNetwork
from tests.benchmarks.stopwatch import seconds
from worker.device import Precision, choose_dtype

BATCHES = (1, 2, 4, 8)


class BareLoop:
    """What a batch script that had read everything before would do, in the worker's precision."""

    def __init__(self, checkpoint: Checkpoint, pictures_NHWC: StoredSamples, device: str) -> None:
        """`pictures_NHWC` are uint8 RGB."""
        network = load(checkpoint)
        on_rgb = network
        if checkpoint.manifest.colour == "luma":
            on_rgb = LumaNetwork(network, checkpoint.manifest.scale)
        dtype = choose_dtype(Precision.AUTO, device)
        # nn.Module.to: its overload for a memory format is missing from torch's types.
        self._network = on_rgb.to(device, dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._pictures_NCHW: Tensor = (
            torch.from_numpy(pictures_NHWC).permute(0, 3, 1, 2).to(device, dtype).div_(255.0)
        )
        self.batch = min(BATCHES, key=self._trial_s)

    def seconds(self) -> float:
        """Over all pictures, at the best batch size."""
        return seconds(lambda: self._run(self._pictures_NCHW, self.batch))

    def _trial_s(self, batch: int) -> float:
        """Over as many pictures for each batch size, after a pass that does not count."""
        pictures_NCHW = self._pictures_NCHW[:batch]
        repeats = max(BATCHES) // batch
        self._run(pictures_NCHW, batch)
        took_s = seconds(lambda: [self._run(pictures_NCHW, batch) for _ in range(repeats)])
        return took_s / len(pictures_NCHW) / repeats

    @torch.inference_mode()
    def _run(self, pictures_NCHW: Tensor, batch: int) -> None:
        for first in range(0, len(pictures_NCHW), batch):
            self._network(pictures_NCHW[first : first + batch])
