"""Checkpoints that are loaded, verified and ready on the device."""

import logging
import threading
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import torch

from sr_models.checkpoint import CheckpointError
from sr_models.manifest import Checkpoint, CheckpointFolder, ManifestError, ModelNotFoundError
from sr_models.upscaler import Upscaler
from worker.errors import CheckpointDamagedError, ModelUnavailableError
from worker.metrics import WorkerMetrics

logger = logging.getLogger(__name__)

WARM_UP_PX = 32
"""Side of the picture that a model enlarges before anyone waits for it."""


class ModelCache:
    """The most recently used models. Thread-safe; each version is loaded once.

    The folder is looked at for every job, so that a promotion holds from the next one on. Jobs that run keep the version
    they began with, and whoever asks for other models does not wait while a new version is loaded beside the old.
    """

    def __init__(
        self,
        checkpoints: Path,
        device: str,
        dtype: torch.dtype = torch.float32,
        capacity: int = 12,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        self._folder = CheckpointFolder(checkpoints)
        self._device = device
        self._dtype = dtype
        self._capacity = capacity
        self._loaded: OrderedDict[str, Upscaler] = OrderedDict()
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._served: dict[tuple[str, int], Checkpoint] = {}
        self._faults: dict[tuple[str, int], str] = {}
        self._metrics = metrics or WorkerMetrics()
        self._lock = threading.Lock()

    def get(self, model: str, scale: int) -> Upscaler:
        """The model that a job's `model` and `scale` mean. Raises ModelUnavailableError or CheckpointDamagedError.

        Where a family's version in production cannot be used, the one that was served before still is.
        """
        try:
            checkpoint = self._folder.find(model, scale)
            upscaler = self._ready(checkpoint)
        except ModelNotFoundError as error:
            raise ModelUnavailableError(str(error)) from error
        except (ManifestError, CheckpointError) as error:
            earlier = self._served.get((model, scale))
            if earlier is None or "@" in model:
                kind = ModelUnavailableError if isinstance(error, ManifestError) else CheckpointDamagedError
                raise kind(str(error)) from error
            self._note_fault(model, scale, f"{error}; {earlier.manifest.label} is served instead")
            try:
                return self._ready(earlier)
            except CheckpointError as error:
                raise CheckpointDamagedError(str(error)) from error
        self._served[model, scale] = checkpoint
        if "@" not in model:
            self._faults.pop((model, scale), None)
            self._metrics.model_served(model, scale, fault=False)
        return upscaler

    def faults(self) -> list[str]:
        """What is wrong with versions in production for which earlier ones are served, in words for whoever runs the service."""
        return list(dict.fromkeys(self._faults.copy().values()))

    def _ready(self, checkpoint: Checkpoint) -> Upscaler:
        """The model of a version, loaded by the first who asks. Raises CheckpointError."""
        key = f"{checkpoint.manifest.label} {checkpoint.manifest.weights_sha256}"
        with self._lock:
            loading = self._loading[key]
        with loading:
            upscaler = self._loaded.get(key) or self._load(checkpoint)
            with self._lock:
                self._loaded[key] = upscaler
                self._loaded.move_to_end(key)
                while len(self._loaded) > self._capacity:
                    _, old = self._loaded.popitem(last=False)
                    self._metrics.model_unloaded(old.manifest.label, old.manifest.weights_sha256)
        return upscaler

    def _load(self, checkpoint: Checkpoint) -> Upscaler:
        label = checkpoint.manifest.label
        upscaler = Upscaler.from_checkpoint(checkpoint, self._device, self._dtype)
        try:
            upscaler.enlarge(np.zeros((1, WARM_UP_PX, WARM_UP_PX, 3), np.uint8))
        except RuntimeError as error:  # out of the device's memory, most likely
            raise CheckpointError(f"{label} does not run on {self._device}: {error}") from error
        self._metrics.model_loaded(label, checkpoint.manifest.weights_sha256)
        logger.info("loaded %s on %s", label, self._device)
        return upscaler

    def _note_fault(self, model: str, scale: int, message: str) -> None:
        """Log it, but not for every job in a row."""
        if message not in self._faults.values():
            logger.error(message)
        self._faults[model, scale] = message
        self._metrics.model_served(model, scale, fault=True)
