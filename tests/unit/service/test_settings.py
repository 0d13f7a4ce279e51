from pathlib import Path

import pytest
from pydantic import ValidationError

from service.limits import Limits
from service.settings import ServerSettings, Settings
from worker.settings import WorkerSettings


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "ENLARGER_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings()
    assert settings.limits == Limits()
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.checkpoints.name == "checkpoints"
    assert (ServerSettings().host, ServerSettings().port) == ("127.0.0.1", 8000)


def test_redis_url_goes_by_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://plain")
    assert Settings().redis_url == "redis://plain"
    monkeypatch.setenv("ENLARGER_REDIS_URL", "redis://ours")
    assert Settings().redis_url == "redis://ours"


def test_settings_are_read_from_the_environment_and_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENLARGER_MAX_UPLOAD_BYTES", "1000")
    monkeypatch.setenv("ENLARGER_CHECKPOINTS", "/models")
    settings = Settings()
    assert (settings.limits.max_upload_bytes, settings.checkpoints) == (1000, Path("/models"))
    with pytest.raises(ValidationError):
        settings.retention_s = 1
    monkeypatch.setenv("ENLARGER_MAX_UPLOAD_BYTES", "0")
    with pytest.raises(ValidationError):
        Settings()


def test_gateway_and_worker_agree_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "ENLARGER_REDIS_URL", "ENLARGER_BLOBS_URL", "ENLARGER_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
    gateway, worker = Settings(), WorkerSettings()
    for name in ("redis_url", "blobs_url", "checkpoints", "retention_s"):
        assert getattr(gateway, name) == getattr(worker, name)


def test_every_setting_says_what_it_is() -> None:
    for settings in (Settings, ServerSettings):
        assert [name for name, field in settings.model_fields.items() if not field.description] == []
