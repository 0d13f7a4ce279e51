"""The supervisor with real processes, small ones."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from enlarger import supervisor, tether
from enlarger.supervisor import MAX_FAILED_STARTS, Child, Program, ProgramFailedError
from tests.eventually import eventually


def program(source: str, *, grace_s: float = 10.0) -> Program:
    return Program("test", (sys.executable, "-c", source), os.environ, grace_s)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()

    asyncio.run(whole())


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.01)


def test_a_program_that_dies_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    starts = tmp_path / "starts"
    source = f"import time; f = open({str(starts)!r}, 'a'); f.write('x'); f.close(); n = len(open({str(starts)!r}).read()); n < 3 and exit(7); time.sleep(60)"

    async def scenario() -> None:
        child = Child(program(source))
        running = child.start()
        await until(lambda: starts.exists() and len(starts.read_text()) == 3)
        await child.stop(asyncio.Event())
        assert running.done()

    run(scenario)
    assert caplog.text.count("test ended with exit code 7: starting it again in") == 2
    assert "in 0.0 s" in caplog.text


def test_the_pause_doubles(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.1)

    async def scenario() -> None:
        with pytest.raises(ProgramFailedError, match="test does not start"):
            await Child(program("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")).start()

    run(scenario)
    pauses = [record.args[2] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4])
    assert len(pauses) == MAX_FAILED_STARTS - 1
    assert "test was killed by SIGKILL" in caplog.text


def test_a_proven_program_is_never_given_up(tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    async def scenario() -> None:
        child = Child(program(f"f = open({str(starts)!r}, 'a'); f.write('x')"))
        child.proven = True
        child.start()
        await until(lambda: starts.exists() and len(starts.read_text()) > MAX_FAILED_STARTS)
        await child.stop(asyncio.Event())

    run(scenario)


@pytest.mark.parametrize("hastened", [False, True])
def test_a_program_that_does_not_stop_is_killed(
    hastened: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / "deaf"
    source = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(mark)!r}, 'w').close(); time.sleep(60)"

    async def scenario() -> None:
        child = Child(program(source, grace_s=60.0 if hastened else 0.1))
        child.start()
        await until(mark.exists)
        hasten = asyncio.Event()
        if hastened:
            hasten.set()
        async with asyncio.timeout(10):
            await child.stop(hasten)

    run(scenario)
    assert "test does not stop: killing it" in caplog.text


def test_each_line_carries_its_programs_name(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    source = "import sys, time; print('one\\ntwo', file=sys.stderr); print('x' * 3_000_000); print('three', flush=True); time.sleep(60)"
    shown = b""

    def three_came() -> bool:
        nonlocal shown
        shown += capfdbinary.readouterr().err
        return b"three" in shown

    async def scenario() -> None:
        child = Child(program(source))
        child.start()
        await until(three_came)
        await child.stop(asyncio.Event())

    # The supervisor writes to the stream that pytest has put in stderr's place.
    run(scenario)
    assert shown.splitlines()[:2] == [b"test     | one", b"test     | two"]
    assert b"(a very long line)" in shown


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has prctl")
def test_a_tethered_program_dies_with_its_parent() -> None:
    source = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-I', '-S', {tether.__file__!r}, str(os.getpid()),"
        " '/bin/sh', '-c', 'echo $$; exec sleep 60'])\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        parent.kill()
    eventually(lambda: not Path(f"/proc/{child_pid}").exists(), 10.0, "the child is gone")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has prctl")
def test_a_program_whose_parent_is_gone_does_not_start() -> None:
    command = [sys.executable, "-I", "-S", tether.__file__, "1", "/bin/echo", "started"]
    tried = subprocess.run(command, capture_output=True, check=False)
    assert tried.returncode != 0
    assert b"started" not in tried.stdout
    assert b"is gone" in tried.stderr


def test_ctrl_c_reaches_the_supervisor_alone() -> None:
    async def scenario() -> None:
        child = Child(program("import time; time.sleep(60)"))
        child.start()
        await until(lambda: child._process is not None)
        assert child._process is not None
        assert os.getsid(child._process.pid) != os.getsid(0)
        await child.stop(asyncio.Event())

    run(scenario)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
