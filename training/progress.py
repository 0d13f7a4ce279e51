"""What a person sees of a run while it goes on."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from tqdm import tqdm

from sr_models.upscaler import Upscaler
from training.dataset import Pair
from training.evaluate import score
from training.recipe import Recipe

VALIDATIONS = 25
"""In a whole run, evenly spread."""


class Progress:
    """A bar with loss, PSNR, time left."""

    def __init__(
        self,
        recipe: Recipe,
        average: nn.Module,
        validation: Sequence[Pair],
        curve: list[dict[str, float]],
        out: Path,
    ) -> None:
        self._recipe, self._validation, self._curve, self._out = recipe, validation, curve, out
        self._upscaler = Upscaler(average, recipe.manifest(average))
        self._losses = deque[float](maxlen=500)

    @contextmanager
    def shown(self, step: int, visible: bool) -> Iterator[None]:
        """Show the bar, from `step` on."""
        with tqdm(
            total=self._recipe.all_steps, initial=step, unit="step", mininterval=1.0, disable=not visible
        ) as self._bar:
            yield

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take note of a step's numbers."""
        self._losses.append(numbers["loss"])
        self._bar.update()
        if step % max(1, self._recipe.all_steps // VALIDATIONS) == 0 or step == self._recipe.all_steps:
            point = {"step": float(step), "loss": sum(self._losses) / len(self._losses)}
            if self._validation:
                point["psnr_db"] = score(self._upscaler, self._validation, "validation").psnr_db
            self._curve.append(point)
            self._bar.write(" ".join(f"{name} {number:.6g}" for name, number in point.items()))
