import logging
import os
import threading
from pathlib import Path

import pytest

from sr_models import aliases
from sr_models.aliases import ALIASES_FILE, Alias
from sr_models.manifest import MANIFEST_FILE
from tests.tiny_checkpoints import publish
from worker.errors import CheckpointDamagedError, ModelUnavailableError
from worker.model_cache import ModelCache


def serve(folder: Path, version: int) -> None:
    aliases.write(folder, {"espcn-x2": Alias(version)})


def version(cache: ModelCache, model: str = "espcn") -> int:
    return cache.get(model, 2).manifest.version


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    publish(tmp_path, version=1)
    publish(tmp_path, version=2)
    serve(tmp_path, 1)
    return ModelCache(tmp_path, "cpu")


def test_a_promotion_is_seen_by_the_next_job(cache: ModelCache, tmp_path: Path) -> None:
    before = cache.get("espcn", 2)
    serve(tmp_path, 2)
    assert version(cache) == 2
    assert version(cache, "espcn@1") == 1
    serve(tmp_path, 1)
    assert cache.get("espcn", 2) is before


def test_a_version_is_loaded_once(cache: ModelCache) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.get("espcn", 2))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_a_damaged_new_version_leaves_the_old_one_serving(
    cache: ModelCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert version(cache) == 1
    assert version(cache, "auto") == 1
    weights = tmp_path / "espcn-x2" / "2" / "model.safetensors"
    whole = weights.read_bytes()
    os.truncate(weights, 100)
    serve(tmp_path, 2)
    with caplog.at_level(logging.ERROR):
        assert [version(cache) for _ in range(3)] == [1, 1, 1]
        assert version(cache, "auto") == 1
    assert [record.message.partition("; ")[2] for record in caplog.records] == [
        "espcn-x2@1 is served instead"
    ]
    (fault,) = cache.faults()
    assert "espcn-x2@2" in fault
    assert fault.endswith("espcn-x2@1 is served instead")
    with pytest.raises(CheckpointDamagedError, match="espcn-x2@2"):
        cache.get("espcn@2", 2)
    weights.write_bytes(whole)
    assert version(cache) == version(cache, "auto") == 2
    assert cache.faults() == []


@pytest.mark.parametrize("damaged", [ALIASES_FILE, f"espcn-x2/2/{MANIFEST_FILE}"])
def test_an_unreadable_table_or_manifest_leaves_the_old_one_serving(
    cache: ModelCache, tmp_path: Path, damaged: str
) -> None:
    assert version(cache) == 1
    serve(tmp_path, 2)
    (tmp_path / damaged).write_bytes(b"\xff")
    assert version(cache) == 1
    assert version(cache, "espcn@1") == 1


def test_a_worker_that_has_served_nothing_says_what_is_damaged(cache: ModelCache, tmp_path: Path) -> None:
    (tmp_path / ALIASES_FILE).write_text("[]")
    with pytest.raises(ModelUnavailableError, match="is not an alias table"):
        cache.get("espcn", 2)


def test_a_version_that_is_not_in_production_may_be_damaged(cache: ModelCache, tmp_path: Path) -> None:
    (tmp_path / "espcn-x2" / "2" / MANIFEST_FILE).write_text("{}")
    assert version(cache) == 1


def test_a_model_that_was_taken_away_is_unavailable(cache: ModelCache, tmp_path: Path) -> None:
    assert version(cache) == 1
    (tmp_path / "espcn-x2").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelUnavailableError, match="no model 'espcn' is published"):
        cache.get("espcn", 2)


def test_no_more_models_are_kept_than_there_is_room_for(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, "bicubic")
    cache = ModelCache(tmp_path, "cpu", capacity=1)
    first = cache.get("espcn", 2)
    assert cache.get("espcn", 2) is first
    cache.get("bicubic", 2)
    assert cache.get("espcn", 2) is not first
