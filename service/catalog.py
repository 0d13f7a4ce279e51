"""What a model's name means, remembered for a moment."""

import time
from dataclasses import dataclass

from sr_models.manifest import Checkpoint, CheckpointFolder

GOOD_FOR_S = 1.0
"""After that the folder is read again in any case: a version may be copied into it by hand."""


@dataclass(frozen=True)
class _Found:
    checkpoint: Checkpoint
    read_at_s: float
    changed_at_ns: tuple[int, int]


class Catalog:
    """The published checkpoints. A promotion is seen at once.

    Reading the folder for each upload asked the system for sixty names, and each time waited for Python's lock: a third of what
    accepting an upload took.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        self._folder = folder
        self._found: dict[tuple[str, int], _Found] = {}

    def find(self, model: str, scale: int) -> Checkpoint:
        """See :meth:`sr_models.manifest.CheckpointFolder.find`."""
        now_s, changed_at_ns = time.monotonic(), self._folder.changed_at_ns()
        found = self._found.get((model, scale))
        if found and found.changed_at_ns == changed_at_ns and now_s - found.read_at_s < GOOD_FOR_S:
            return found.checkpoint
        # Only what there is stays: strangers name models without end.
        self._found.pop((model, scale), None)
        checkpoint = self._folder.find(model, scale)
        self._found[model, scale] = _Found(checkpoint, now_s, changed_at_ns)
        return checkpoint
