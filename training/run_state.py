"""The saved state of a run: enough to go on as if it had never stopped.

One file, replaced in one move, so that a killed run leaves the whole state of some step. What a step
draws follows from the recipe's seed and the step alone, so that no generator's state is needed.
"""

import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self, cast, get_origin

import torch
from torch import Tensor

from training.recipe import Recipe

STATE_FILE = "state.pt"


class RunStateError(ValueError):
    """The run's folder cannot be gone on with: give another --out, or delete it to start again."""


@dataclass(frozen=True)
class RunState:
    """A run after `step` updates."""

    recipe: dict[str, Any]
    """Every field of the recipe, as JSON types."""
    data: dict[str, Any]
    """What `training.dataset.described` says of the photographs."""
    commit: str
    """The software's commit when the run began."""
    step: int
    """Updates made."""
    seconds: float
    """Time spent on them, over all pieces of the run."""
    curve: list[dict[str, float]]
    """At each validation: `step`, `loss` (the mean since the last one), and `psnr_db` (luma) where there was a validation set."""
    network: dict[str, Tensor]
    """The weights."""
    average: dict[str, Tensor]
    """Their moving average."""
    optimizer: dict[str, Any]
    """The optimizer's `state_dict`."""
    adversary: dict[str, Any] = field(default_factory=dict)
    """In a GAN run, the discriminator's weights and its optimizer's state."""

    def save(self, folder: Path) -> None:
        """Write the state, all of it or nothing. Raises RunStateError where it cannot be written: a full disk, no permission."""
        partial = folder / f"{STATE_FILE}.partial"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save({f.name: getattr(self, f.name) for f in fields(self)}, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(folder / STATE_FILE)
        except (OSError, RuntimeError) as error:  # torch's writer says RuntimeError where the disk is full
            partial.unlink(missing_ok=True)
            raise RunStateError(
                f"{folder / STATE_FILE} cannot be written, its last state stays as it was: {error}"
            ) from error

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The state that lies in the folder, or None if none does. Raises RunStateError if it is damaged."""
        path = folder / STATE_FILE
        if not path.exists():
            return None
        try:
            state = cls(**torch.load(path, weights_only=True, map_location="cpu"))
        except Exception as error:  # torch.load promises no set of errors for a damaged file
            raise RunStateError(
                f"{path} is not the state of a run that this version can go on with: {error}"
            ) from error
        for of in fields(cls):
            kind = get_origin(of.type) or of.type
            if not isinstance(getattr(state, of.name), cast(type, kind)):
                raise RunStateError(f"{path} is not the state of a run: its {of.name} is no {of.type}")
        return state


def loaded(folder: Path, recipe: Recipe, data: dict[str, Any]) -> RunState | None:
    """The state that a run of this recipe on these photographs goes on from; None where it begins.

    Raises RunStateError if the folder holds another run.
    """
    state = RunState.load(folder)
    if state is not None and (state.recipe, state.data) != (asdict(recipe), data):
        raise RunStateError(
            f"{folder} holds a run with another recipe, other photographs or other perceptual weights; give another --out"
        )
    return state
