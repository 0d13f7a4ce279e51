from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.unit.training.conftest import tiny_recipe
from training.dataset import DatasetError
from training.training_data import EXAMPLE_BATCHES, TrainingData, validation_pairs

CPU = torch.device("cpu")


def test_a_step_draws_the_same_whenever_it_is_asked(photographs: Path) -> None:
    data = TrainingData(tiny_recipe(), photographs, CPU)
    first, _, again = data.batch(5), data.batch(6), data.batch(5)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], data.batch(6)[0])


def test_processes_share_one_batch(photographs: Path) -> None:
    recipe = replace(tiny_recipe(), batch_size=4, colour="rgb")
    whole = TrainingData(recipe, photographs, CPU).batch(3)
    shares = [TrainingData(recipe, photographs, CPU, rank, 2).batch(3) for rank in (0, 1)]
    for part in (0, 1):
        together = torch.stack([share[part] for share in shares], dim=1).flatten(0, 1)
        assert torch.equal(together, whole[part])
    assert whole[0].shape == (4, 3, 12, 12)
    assert whole[1].shape == (4, 3, 24, 24)
    assert 0.0 <= whole[1].min() < whole[1].max() <= 1.0


def test_processes_that_do_not_divide_the_batch_are_refused(photographs: Path) -> None:
    with pytest.raises(DatasetError, match="3 processes cannot share batches of 2"):
        TrainingData(tiny_recipe(), photographs, CPU, 0, 3)


def test_examples_are_of_the_training_kind(photographs: Path) -> None:
    recipe = replace(tiny_recipe(), colour="rgb")
    data = TrainingData(recipe, photographs, CPU)
    examples = list(data.examples())
    assert len(examples) == EXAMPLE_BATCHES
    assert {tuple(example.shape) for example in examples} == {(2, 3, 12, 12)}
    assert not any(torch.equal(examples[0], data.batch(step)[0]) for step in range(recipe.all_steps))


def test_a_photo_recipe_degrades_each_patch_anew(photographs: Path) -> None:
    recipe = replace(tiny_recipe(), colour="rgb")
    clean, web = (
        TrainingData(replace(recipe, degradation=way), photographs, CPU).batch(1)
        for way in ("bicubic", "photo")
    )
    assert clean[0].shape == web[0].shape
    assert not torch.equal(clean[0], web[0])


def test_pictures_for_the_curve_come_from_the_data_unless_they_are_named(
    photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "train").symlink_to(photographs)
    (tmp_path / "valid").symlink_to(photographs)
    recipe = tiny_recipe()
    assert validation_pairs(recipe, photographs, None) == []
    assert len(validation_pairs(recipe, tmp_path, None)) == 3
    assert len(validation_pairs(recipe, photographs, photographs)) == 3
    assert TrainingData(recipe, tmp_path, CPU).folder == tmp_path / "train"
