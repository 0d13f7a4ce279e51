"""A small run in a process of its own, for tests that kill it or start it twice side by side.

`python run_process.py PHOTOGRAPHS OUT STEPS`; it saves its state all the time.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from tests.unit.training.conftest import tiny_recipe
from training import pixel_loop


def main(photographs: str, out: str, steps: str) -> None:
    torch.set_num_threads(1)
    pixel_loop.SAVE_EVERY_S = 0.02
    recipe = replace(tiny_recipe(int(steps)), precision="float32", optimizer="muon", clip_norm=1.0)
    pixel_loop.train(recipe, Path(photographs), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
