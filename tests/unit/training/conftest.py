from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.dataset import UInt8Array
from training.recipe import PixelRecipe


def soft_noise(seed: int, height: int, width: int) -> UInt8Array:
    """A picture with structure at several sizes, so that there is something to learn: uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.full((height, width, 3), 128.0)
    for _ in range(24):
        frequency, angle, phase = rng.uniform(0.02, 0.9), rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        wave = np.sin(frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        picture += wave[..., None] * rng.uniform(-20, 20, 3)
    return picture.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        Image.fromarray(soft_noise(seed, 97, 81)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    for seed, name in enumerate(("Set5", "Set14", "B100"), start=10):
        (folder / name / "HR").mkdir(parents=True)
        Image.fromarray(soft_noise(seed, 50, 62)).save(folder / name / "HR" / "picture.png")
    return folder


def tiny_recipe(steps: int = 6, scale: int = 2) -> PixelRecipe:
    """ESPCN for a few steps."""
    return PixelRecipe(
        family="espcn",
        architecture="espcn",
        hyperparameters={"scale": scale},
        scale=scale,
        colour="luma",
        loss="mse",
        optimizer="soap",
        halo_px=4,
        steps=steps - steps // 3,
        polish_steps=steps // 3,
        patch_px=12,
        batch_size=2,
        detail_draws=2,
        learning_rate=3e-3,
        polish_rate=3e-4,
        warmup_steps=2,
        ema_decay=0.9,
        seed=1,
    )
