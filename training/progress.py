"""What a person sees of a run while it goes on: a bar, TensorBoard, and at every validation a curve and a grid of crops.

In the run's folder: `tensorboard/`, `curve.png`, `crops.png`. None of it decides anything.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from sr_models.upscaler import Upscaler
from training.dataset import Pair
from training.evaluate import score
from training.recipe import Recipe
from training.run_pictures import draw_crops, draw_curve

VALIDATIONS = 25
"""In a whole run, evenly spread."""

CURVE_FILE = "curve.png"
CROPS_FILE = "crops.png"


class Progress:
    """Shows one run, in the process that is the main one."""

    def __init__(
        self,
        recipe: Recipe,
        average: nn.Module,
        validation: Sequence[Pair],
        curve: list[dict[str, float]],
        out: Path,
    ) -> None:
        """`average`: the network to validate, whose weights move. `curve`: gets a point at each validation."""
        self._recipe, self._validation, self._curve, self._out = recipe, validation, curve, out
        self._upscaler = Upscaler(average, recipe.manifest(average))
        self._losses = deque[float](maxlen=500)

    @contextmanager
    def shown(self, step: int, visible: bool) -> Iterator[None]:
        """Show the run from `step` on, and a summary when it ends or is stopped."""
        self._bar = tqdm(
            total=self._recipe.all_steps,
            initial=step,
            unit="step",
            mininterval=1.0,
            dynamic_ncols=True,
            disable=not visible,
        )
        self._board = SummaryWriter(str(self._out / "tensorboard"), purge_step=step) if visible else None
        self._first, self._started = step, time.monotonic()
        try:
            yield
        finally:
            self._bar.close()
            if self._board:
                self._board.close()
                tqdm.write(self._summary())

    def stepped(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take note of a step's numbers, `loss` among them, and validate now and then."""
        self._losses.append(numbers["loss"])
        self._bar.update()
        if not self._board:
            return
        for name, number in numbers.items():
            self._board.add_scalar(f"train/{name}", number, step)
        if step % 20 == 0:
            self._bar.set_postfix_str(self._postfix(step), refresh=False)
        if step % max(1, self._recipe.all_steps // VALIDATIONS) == 0 or step == self._recipe.all_steps:
            self._validate(step)

    def _validate(self, step: int) -> None:
        point = {"step": float(step), "loss": self._mean_loss()}
        if self._validation:
            point["psnr_db"] = score(self._upscaler, self._validation, "validation").psnr_db
            draw_crops(self._upscaler, self._validation, self._out / CROPS_FILE)
            if self._board:
                self._board.add_scalar("validation/psnr_db", point["psnr_db"], step)
        self._curve.append(point)
        draw_curve(self._curve, self._recipe.name, self._out / CURVE_FILE)
        self._bar.write(f"step {step:>7,}: loss {point['loss']:.3e}{self._last_psnr()}")

    def _mean_loss(self) -> float:
        return sum(self._losses) / len(self._losses)

    def _postfix(self, step: int) -> str:
        rate = (step - self._first) * self._recipe.batch_size / (time.monotonic() - self._started)
        return f"loss={self._mean_loss():.2e}{self._last_psnr()}, {rate:.1f} patches/s"

    def _last_psnr(self) -> str:
        measured = [point["psnr_db"] for point in self._curve if "psnr_db" in point]
        return f", {measured[-1]:.2f} dB" if measured else ""

    def _summary(self) -> str:
        done = int(self._bar.n)
        minutes = (time.monotonic() - self._started) / 60
        lines = [
            f"{self._recipe.name}: step {done:,} of {self._recipe.all_steps:,}, {done - self._first:,} steps in "
            f"{minutes:.1f} minutes{self._last_psnr()}",
            f"curve: {self._out / CURVE_FILE}   TensorBoard: tensorboard --logdir {self._out}",
        ]
        return "\n".join(lines)
