"""Whether what was measured is what the manifests state."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from sr_models.manifest import Checkpoint
from training.score_table import Row

TOLERANCES = {
    "psnr_db": 0.01,
    "ssim": 0.001,
    "rgb_psnr_db": 0.01,
    "lr_psnr_db": 0.05,
    "st_lpips": 0.002,
    "lpips": 0.002,
}
"""How far a measured score may be from the published one: another processor rounds some samples to another level."""


@dataclass(frozen=True)
class Reproduction:
    """What a comparison with the manifests found."""

    compared: int
    """Published numbers that were measured again."""
    differences: tuple[str, ...]
    """One line for each that was not reproduced."""
    left_out: int
    """Published scores on sets, or on LR made another way, that were not measured now."""

    @property
    def complete(self) -> bool:
        """Whether anything was compared and all of it agreed."""
        return bool(self.compared) and not self.differences

    def __str__(self) -> str:
        """A few lines for a person."""
        reproduced = self.compared - len(self.differences)
        lines = [f"{reproduced} of {self.compared} published numbers were reproduced."]
        if self.left_out:
            lines.append(f"{self.left_out} more scores are published, on sets or LR that were not asked for.")
        return "\n".join([*lines, *self.differences])


def compare(rows: Iterable[Row], checkpoints: Iterable[Checkpoint]) -> Reproduction:
    """Each row with the manifest of its checkpoint.

    A number that the manifest states and the row lacks (ST-LPIPS without its weights) counts as not reproduced; one that
    only the row has does not count.
    """
    manifests = {c.manifest.label: c.manifest for c in checkpoints}
    compared, left_out = 0, 0
    differences = []
    for row in rows:
        measured = {(s.benchmark, s.degradation): s for s in row.scores}
        for published in manifests[row.checkpoint].scores:
            now = measured.get((published.benchmark, published.degradation))
            if now is None:
                left_out += 1
                continue
            numbers = {name: getattr(published, name) for name in TOLERANCES}
            stated = {name: number for name, number in numbers.items() if number is not None}
            compared += len(stated)
            differences += [
                f"{row.checkpoint} {published.benchmark} ({published.degradation}): {name} {number} published, "
                f"{getattr(now, name)} measured"
                for name, number in stated.items()
                if not _close(number, getattr(now, name), TOLERANCES[name])
            ]
    return Reproduction(compared, tuple(differences), left_out)


def _close(published: float, measured: float | None, tolerance: float) -> bool:
    return measured is not None and math.isclose(published, measured, rel_tol=0.0, abs_tol=tolerance)
