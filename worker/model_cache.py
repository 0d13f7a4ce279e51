"""Checkpoints that are loaded, verified and ready on the device."""

import logging
import threading
from collections import OrderedDict
from pathlib import Path

from sr_models.checkpoint import CheckpointError
from sr_models.manifest import CheckpointFolder, ManifestError, ModelNotFoundError
from sr_models.upscaler import Upscaler
from worker.errors import CheckpointDamagedError, ModelUnavailableError

logger = logging.getLogger(__name__)


class ModelCache:
    """The most recently used models. Thread-safe; each version is loaded once."""

    def __init__(self, checkpoints: Path, device: str, capacity: int = 12) -> None:
        self._folder = CheckpointFolder(checkpoints)
        self._device = device
        self._capacity = capacity
        self._loaded: OrderedDict[str, Upscaler] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, model: str, scale: int) -> Upscaler:
        """The model that a job's `model` and `scale` mean. Raises ModelUnavailableError or CheckpointDamagedError."""
        try:
            checkpoint = self._folder.find(model, scale)
        except (ModelNotFoundError, ManifestError) as error:
            raise ModelUnavailableError(f"{error}") from error
        manifest = checkpoint.manifest
        key = f"{manifest.label} {manifest.weights_sha256}"
        with self._lock:
            if key not in self._loaded:
                try:
                    self._loaded[key] = Upscaler.from_checkpoint(checkpoint, self._device)
                except CheckpointError as error:
                    raise CheckpointDamagedError(str(error)) from error
                logger.info("loaded %s on %s", manifest.label, self._device)
            self._loaded.move_to_end(key)
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
            return self._loaded[key]
