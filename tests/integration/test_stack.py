"""The one-machine stack through everything that an operator, or fate, does to it."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.pictures import encoded, natural_picture
from tests.stack import (
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    RunningStack,
    free_port,
    running_stack,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.timeout(300),
]

MANY_JOBS = 6

SHORT_LEASE = {"ENLARGER_LEASE_S": "4"}
"""With the default of 30 s, a killed worker's jobs run again only after that."""


@pytest.fixture(scope="module")
def large_picture() -> bytes:
    """Takes some seconds at scale 4."""
    return encoded(natural_picture(640, 480), "PNG")


@pytest.fixture(scope="module")
def small_picture() -> bytes:
    return encoded(natural_picture(40, 30), "PNG")


def children(pid: int) -> dict[int, str]:
    """The command lines of a process's children, by pid."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(p): Path(f"/proc/{p}/cmdline").read_bytes().replace(b"\0", b" ").decode() for p in pids}


def child(stack: RunningStack, name: str) -> int:
    """The pid of the stack's child that runs `name`, once it is there under its own command line."""

    def find() -> int | None:
        found = children(stack.process.pid).items()
        return next((pid for pid, line in found if name in line and "tether.py" not in line), None)

    return eventually(find, START_TIMEOUT_S, f"{name} runs")


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody has waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_sigkill_of_the_supervisor_leaves_no_orphan(tmp_path: Path, small_picture: bytes) -> None:
    with running_stack(tmp_path / "data", "--devices", "cpu", "--workers", "2") as stack:
        family = children(stack.process.pid)
        assert sum("-m worker" in line for line in family.values()) == 2
        assert sum("-m service" in line for line in family.values()) == 1
        assert sum("valkey-server" in line for line in family.values()) == 1
        done = stack.post(small_picture, scale=2)
        assert stack.ended_job(done)["status"] == "succeeded"
        stack.process.kill()
        for pid, line in family.items():
            eventually(lambda pid=pid: gone(pid), 10.0, f"{line} is gone")  # type: ignore[misc]
    # Nothing of it stands in the way of the next, which still knows the job.
    with running_stack(tmp_path / "data") as stack:
        assert stack.job(done)["status"] == "succeeded"


def test_a_second_up_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data") as stack:
        command = [sys.executable, "-m", "enlarger", "up", "--data", str(tmp_path / "data")]
        second = subprocess.run(
            [*command, "--port", str(free_port())], capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 1
        assert f"is in use by `enlarger up` at {stack.client.base_url}".rstrip("/") in second.stderr
        assert f"(process {stack.process.pid})" in second.stderr
        assert stack.client.get("/readyz").status_code == 200


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data") as stack:
        port = str(stack.client.base_url.port)
        command = [sys.executable, "-m", "enlarger", "up", "--data", str(tmp_path / "other"), "--port", port]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert f"port {port} cannot be used" in second.stderr
        assert not list((tmp_path / "other" / "valkey").iterdir())


def test_a_killed_worker_comes_back_and_the_jobs_end(tmp_path: Path, large_picture: bytes) -> None:
    with running_stack(tmp_path / "data", environment=SHORT_LEASE) as stack:
        paths = [stack.post(large_picture, scale=4) for _ in range(3)]
        eventually(
            lambda: any(stack.job(path)["status"] == "processing" for path in paths), 60.0, "a job runs"
        )
        killed = child(stack, "-m worker")
        os.kill(killed, signal.SIGKILL)
        assert all(stack.ended_job(path)["status"] == "succeeded" for path in paths)
        assert child(stack, "-m worker") != killed
        assert "worker-1 was killed by SIGKILL: starting it again in 0.5 s" in stack.log


@pytest.mark.parametrize("name", ["-m service", "valkey-server"])
def test_whatever_is_killed_comes_back(name: str, tmp_path: Path, small_picture: bytes) -> None:
    with running_stack(tmp_path / "data") as stack:
        done = stack.post(small_picture, scale=2)
        assert stack.ended_job(done)["status"] == "succeeded"
        killed = child(stack, name)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: gone(killed), 10.0, "it is dead")
        stack.wait_until_ready()
        assert stack.job(done)["status"] == "succeeded"
        assert stack.ended_job(stack.post(small_picture, scale=3))["status"] == "succeeded"


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_jobs_go_on_after_a_stop(ending: signal.Signals, tmp_path: Path) -> None:
    picture = encoded(natural_picture(240, 180), "PNG")  # a second or so by what `auto` takes
    one_at_a_time = {"ENLARGER_MAX_JOBS_IN_FLIGHT": "1"}
    with running_stack(tmp_path / "data", environment=one_at_a_time) as stack:
        paths = [stack.post(picture, scale=4) for _ in range(MANY_JOBS)]
        family = children(stack.process.pid)
        stack.process.send_signal(ending)
        assert stack.process.wait(STOP_TIMEOUT_S) == 0
        assert all(gone(pid) for pid in family)
    stopped_at = datetime.now(UTC)
    with running_stack(tmp_path / "data") as stack:
        jobs = [stack.ended_job(path) for path in paths]
        assert [job["status"] for job in jobs] == ["succeeded"] * MANY_JOBS
        # Not all were done by the first stack, or the test shows nothing.
        assert any(datetime.fromisoformat(job["ended_at"]) > stopped_at for job in jobs)


def test_a_second_ctrl_c_hastens(tmp_path: Path, large_picture: bytes) -> None:
    with running_stack(tmp_path / "data", environment=SHORT_LEASE) as stack:
        worker = child(stack, "-m worker")
        path = stack.post(large_picture, scale=4)
        eventually(lambda: stack.job(path)["status"] != "queued", 60.0, "the job runs")
        os.kill(worker, signal.SIGSTOP)  # it will not stop by itself
        stack.process.send_signal(signal.SIGINT)
        eventually(lambda: gone_gateway(stack), 30.0, "the gateway is stopped")
        eventually(lambda: hastened(stack), 30.0, "the second Ctrl-C is heard")
        assert stack.process.wait(STOP_TIMEOUT_S) == 0
        assert gone(worker)
        assert "worker-1 does not stop: killing it" in stack.log
    with running_stack(tmp_path / "data", environment=SHORT_LEASE) as stack:
        assert stack.ended_job(path)["status"] == "succeeded"


def gone_gateway(stack: RunningStack) -> bool:
    return not any("-m service" in line for line in children(stack.process.pid).values())


def hastened(stack: RunningStack) -> bool:
    """Press Ctrl-C until it is heard: right after the first, one more is taken for the same."""
    if "not waiting any longer" in stack.log:
        return True
    stack.process.send_signal(signal.SIGINT)
    return False


def test_a_redis_that_is_given_is_used(tmp_path: Path, valkey_url: str, small_picture: bytes) -> None:
    with running_stack(tmp_path / "data", environment={"REDIS_URL": valkey_url}) as stack:
        assert not any("valkey-server" in line for line in children(stack.process.pid).values())
        assert stack.ended_job(stack.post(small_picture, scale=2))["status"] == "succeeded"


def test_a_redis_that_does_not_answer_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "enlarger", "up", "--data", str(tmp_path), "--port", str(free_port())]
    environment = {**os.environ, "ENLARGER_REDIS_URL": f"unix://{tmp_path}/nobody.sock"}
    tried = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert tried.returncode == 1
    assert "check ENLARGER_REDIS_URL" in tried.stderr


def test_a_setting_that_stops_the_gateway_stops_the_stack(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "enlarger", "up", "--data", str(tmp_path), "--port", str(free_port())]
    environment = {**os.environ, "ENLARGER_MAX_UPLOAD_BYTES": "plenty"}
    tried = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert tried.returncode == 1
    assert "gateway does not start: its last lines above say why" in tried.stderr
    assert "max_upload_bytes" in tried.stderr.lower()
