"""`enlarger keys` on a real Valkey."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from enlarger.cli import main
from enlarger.data_folder import locked_data_folder
from service.keys import KEY, KeyStore
from service.limits import Allowance


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "ENLARGER_REDIS_URL", "ENLARGER_DATA"):
        monkeypatch.delenv(name, raising=False)


def keys(*arguments: str, redis_url: str | None = None) -> Result:
    environment = {"ENLARGER_REDIS_URL": redis_url} if redis_url else {}
    return CliRunner(env=environment).invoke(main, ["keys", *arguments])


def test_create_prints_the_key_alone(valkey: Redis, valkey_url: str) -> None:
    done = keys("create", "my laptop", "--queued-jobs", "3", redis_url=valkey_url)
    assert done.exit_code == 0, done.output
    assert KEY.fullmatch(done.stdout.removesuffix("\n"))
    assert "this once" in done.stderr
    found = KeyStore(valkey).find(done.stdout.strip())
    assert found is not None
    assert (found.name, found.allowance) == ("my laptop", Allowance(queued_jobs=3))


def test_every_quota_can_be_given(valkey: Redis, valkey_url: str) -> None:
    quotas = ("--requests-per-minute", "60", "--queued-jobs", "5", "--megapixels-per-day", "1000")
    assert keys("create", "phone", *quotas, redis_url=valkey_url).exit_code == 0
    assert [key.allowance for key in KeyStore(valkey).all()] == [Allowance(60, 5, 1000)]
    assert keys("create", "phone", "--queued-jobs", "0", redis_url=valkey_url).exit_code == 2


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb", "\x1b[31m"])
def test_a_name_is_one_line_of_text(name: str, valkey: Redis, valkey_url: str) -> None:
    refused = keys("create", name, redis_url=valkey_url)
    assert refused.exit_code == 2
    assert "can be printed" in refused.stderr
    assert not KeyStore(valkey).any()


def test_list_shows_everything_but_the_secrets(valkey: Redis, valkey_url: str) -> None:
    empty = keys("list", redis_url=valkey_url)
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "no keys" in empty.stderr
    store = KeyStore(valkey)
    texts = [store.create("laptop", Allowance(requests_per_minute=60)), store.create("a phone")]
    shown = keys("list", redis_url=valkey_url).stdout
    head, *rows = shown.splitlines()
    assert head.split("  ")[0] == "ID"
    assert [row.split()[0] for row in rows] == [text.split("_")[1] for text in texts]
    assert rows[0].split()[-3:] == ["60", "-", "-"]
    assert "a phone" in rows[1]
    assert all(text.split("_", 2)[2] not in shown for text in texts)


def test_a_revoked_key_is_gone(valkey: Redis, valkey_url: str) -> None:
    store = KeyStore(valkey)
    texts = [store.create("laptop"), store.create("phone")]
    first, second = (text.split("_")[1] for text in texts)
    assert keys("revoke", first, redis_url=valkey_url).output == ""
    assert store.find(texts[0]) is None
    assert store.find(texts[1]) is not None
    again = keys("revoke", first, redis_url=valkey_url)
    assert (again.exit_code, "there is no key" in again.stderr) == (1, True)
    assert "open again" in keys("revoke", second, redis_url=valkey_url).stderr


def test_without_a_stack_or_a_redis_it_says_what_to_do(tmp_path: Path) -> None:
    for arguments in (("create", "laptop"), ("list",), ("revoke", "a")):
        failed = keys(*arguments, "--data", str(tmp_path))
        assert failed.exit_code == 1
        assert failed.stdout == ""
        assert f"no `enlarger up` runs in {tmp_path}" in failed.stderr
    failed = keys("list", redis_url=f"unix://{tmp_path}/nothing.sock")
    assert "check that it runs and that ENLARGER_REDIS_URL is right" in failed.stderr
    failed = keys("list", redis_url="http://:hunter2@redis")
    assert "is not the URL of a Redis" in failed.stderr
    assert "hunter2" not in failed.output


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_the_running_stack_is_found_by_its_data_folder(
    mode: int, tmp_path: Path, valkey: Redis, valkey_url: str
) -> None:
    tmp_path.chmod(mode)
    with locked_data_folder(tmp_path, "a test") as data:
        # In the place of the stack's own server.
        data.socket.symlink_to(valkey_url.removeprefix("unix://"))
        created = keys("create", "laptop", "--data", str(tmp_path))
        assert created.exit_code == 0, created.output
        assert KeyStore(valkey).find(created.stdout.strip()) is not None
