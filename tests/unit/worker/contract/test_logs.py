import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.eventually import eventually
from tests.stack import free_port
from worker.contract.logs import LogFormat, current_job, job_in_log, log_handler

FORGED = "photo\n2026-11-21 09:30:00,125 INFO worker: job 1 succeeded\r\u2028\x85\x1b[2J.png"


class Log:
    """A logger of its own, and what it wrote."""

    def __init__(self, log_format: LogFormat) -> None:
        self._written = io.StringIO()
        self._handler = log_handler(log_format)
        self._handler.setStream(self._written)
        self.logger = logging.Logger("worker.engine", logging.INFO)
        self.logger.addHandler(self._handler)

    @property
    def lines(self) -> list[str]:
        return self._written.getvalue().splitlines()

    @property
    def records(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def text() -> Log:
    return Log(LogFormat.TEXT)


@pytest.fixture
def as_json() -> Log:
    return Log(LogFormat.JSON)


def fail(message: str) -> None:
    try:
        raise ValueError(message)
    except ValueError as error:
        raise RuntimeError("the pass failed") from error


def test_a_line_of_text_names_the_job_where_there_is_one(text: Log) -> None:
    text.logger.info("ready on %s", "cpu")
    with job_in_log("3f2a"):
        text.logger.warning("slow")
    without, within = text.lines
    assert without.endswith(" INFO worker.engine: ready on cpu")
    assert within.endswith(" WARNING worker.engine [3f2a]: slow")
    datetime.strptime(without.partition(" INFO")[0], "%Y-%m-%d %H:%M:%S,%f")


def test_a_line_of_json_says_when_in_utc(as_json: Log) -> None:
    before = datetime.now(UTC)
    with job_in_log("3f2a"):
        as_json.logger.info("loaded %s", "espcn-x4@1")
    as_json.logger.info("")
    first, second = as_json.records
    timestamp = first.pop("timestamp")
    assert timestamp.endswith("Z")
    assert timedelta(0) <= datetime.fromisoformat(timestamp) - before < timedelta(minutes=1)
    assert first == {
        "level": "INFO",
        "logger": "worker.engine",
        "message": "loaded espcn-x4@1",
        "job_id": "3f2a",
    }
    assert set(second) == {"timestamp", "level", "logger", "message"}


def test_a_client_cannot_forge_a_line_of_text(text: Log) -> None:
    text.logger.info("upload %s", FORGED)
    with job_in_log(FORGED):
        text.logger.info("found")
    first, second = text.lines  # splitlines() knows every separator that Unicode has
    assert r"photo\n2026-11-21" in first
    assert r"succeeded\r\u2028\x85\x1b[2J.png" in first
    assert r"[photo\n2026" in second


def test_nor_by_the_message_of_an_exception(text: Log) -> None:
    try:
        fail(FORGED)
    except RuntimeError:
        text.logger.exception("the forward pass failed")
    head, *trace = text.lines
    assert head.endswith("ERROR worker.engine: the forward pass failed")
    assert trace[-1] == "    RuntimeError: the pass failed"
    assert all(line.startswith("    ") for line in trace)
    assert "    2026-11-21 09:30:00,125 INFO worker: job 1 succeeded\\r\\u2028\\x85\\x1b[2J.png" in trace


def test_json_holds_an_exception_in_the_same_line(as_json: Log) -> None:
    try:
        fail(FORGED)
    except RuntimeError:
        as_json.logger.exception("upload %s", FORGED)
    (record,) = as_json.records
    assert record["message"] == f"upload {FORGED}"
    assert record["exception"].startswith("Traceback (most recent call last):\n")
    assert f"ValueError: {FORGED}\n" in record["exception"]
    assert record["exception"].endswith("RuntimeError: the pass failed")


def test_a_stack_is_shown_where_it_is_asked_for(text: Log, as_json: Log) -> None:
    for log in (text, as_json):
        log.logger.warning("slow", stack_info=True)
    assert text.lines[1] == "    Stack (most recent call last):"
    assert "test_a_stack_is_shown" in as_json.records[0]["exception"]


def test_what_cannot_be_encoded_is_logged(as_json: Log) -> None:
    as_json.logger.info("upload %s", "\udcff.png")
    assert as_json.lines[0].isascii()
    assert as_json.records[0]["message"] == "upload \udcff.png"


def test_each_thread_has_its_own_job(as_json: Log) -> None:
    ids = [f"job-{number}" for number in range(4)]
    meeting = threading.Barrier(len(ids))

    def work(job_id: str) -> None:
        with job_in_log(job_id):
            for _ in range(20):
                meeting.wait()
                as_json.logger.info("%s", job_id)

    with ThreadPoolExecutor(len(ids)) as threads, job_in_log("the caller's"):
        list(threads.map(work, ids))
        list(threads.map(as_json.logger.info, ["idle"]))
    *within, idle = as_json.records
    assert [record["job_id"] for record in within] == [record["message"] for record in within]
    assert {record["job_id"] for record in within} == set(ids)
    assert "job_id" not in idle


def test_a_shared_pass_names_all_its_jobs_once(as_json: Log) -> None:
    with job_in_log("a"):
        outer = current_job()
        with job_in_log(outer, "b", "", "a"):
            as_json.logger.info("a pass over 3 tiles failed")
        as_json.logger.info("after")
    assert [record["job_id"] for record in as_json.records] == ["a b", "a"]
    assert current_job() == ""


def run(program: str) -> list[str]:
    """What a process of its own writes to stderr, line by line; nothing may go to stdout."""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.stdout == ""
    return ended.stderr.splitlines()


def test_everything_a_process_says_is_json() -> None:
    lines = run("""
import logging, threading, warnings
import torch
from rq.logutils import setup_loghandlers
from worker.contract.logs import LogFormat, configure_logging, job_in_log

configure_logging(LogFormat.JSON)
configure_logging(LogFormat.JSON)  # again, and no line is doubled
setup_loghandlers("WARNING")
with job_in_log("3f2a"):
    logging.getLogger("worker").info("ours")
    logging.getLogger("torch").warning("torch's")
    logging.getLogger("torch").info("torch's, not asked for")
    logging.getLogger("rq.worker").warning("RQ's")
    logging.getLogger("worker").debug("not asked for")
    warnings.warn("a warning", UserWarning)
thread = threading.Thread(target=lambda: [][0], name="pulse")
thread.start()
thread.join()
raise OSError("the end")
""")
    records = [json.loads(line) for line in lines]
    assert [(record["logger"], record["level"]) for record in records] == [
        ("worker", "INFO"),
        ("torch", "WARNING"),
        ("rq.worker", "WARNING"),
        ("py.warnings", "WARNING"),
        ("worker.contract.logs", "CRITICAL"),
        ("worker.contract.logs", "CRITICAL"),
    ]
    assert [record.get("job_id") for record in records] == ["3f2a"] * 4 + [None] * 2
    assert "UserWarning: a warning" in records[3]["message"]
    assert records[4]["message"].startswith("the thread pulse ends")
    assert records[4]["exception"].endswith("IndexError: list index out of range")
    assert records[5]["exception"].endswith("OSError: the end")


GATEWAY = """
import sys
import uvicorn
from fastapi import APIRouter, Depends, FastAPI
from worker.contract.logs import LogFormat, configure_logging, note_job

async def log_job(job_id: str) -> None:
    note_job(job_id)

app = FastAPI()
jobs = APIRouter(prefix="/jobs/{job_id}", dependencies=[Depends(log_job)])

@jobs.get("")
def get_job(job_id: str) -> str:
    if job_id == "broken":
        raise RuntimeError("a fault of ours")
    return job_id

@app.get("/jobs")
def get_jobs() -> str:
    return "none"

@app.post("/upscale")
async def upscale() -> str:
    note_job("new")
    return "new"

app.include_router(jobs)
configure_logging(LogFormat.JSON)
uvicorn.run(app, port=int(sys.argv[1]), log_config=None)
"""


@pytest.fixture
def gateway() -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", GATEWAY, str(port)], stderr=subprocess.PIPE, text=True)
    try:
        yield port, process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_a_requests_lines_name_its_job(gateway: tuple[int, "subprocess.Popen[str]"]) -> None:
    port, process = gateway
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:

        def answers() -> bool:
            try:
                return client.get("/jobs").status_code == 200
            except httpx.TransportError:
                return False

        eventually(answers, 60.0, "the gateway answers")
        client.get("/jobs/3f2a")
        client.post("/upscale")
        client.get("/jobs")  # on the same connection
        client.get("/jobs/broken")
    process.terminate()
    assert process.stderr is not None
    records = [json.loads(line) for line in process.stderr.read().splitlines()]
    access = [record for record in records if record["logger"] == "uvicorn.access"]
    asked = [(r["message"].partition(" - ")[2], r.get("job_id")) for r in access]
    assert asked[-4:] == [
        ('"GET /jobs/3f2a HTTP/1.1" 200', "3f2a"),
        ('"POST /upscale HTTP/1.1" 200', "new"),
        ('"GET /jobs HTTP/1.1" 200', None),
        ('"GET /jobs/broken HTTP/1.1" 500', "broken"),
    ]
    (fault,) = [record for record in records if "exception" in record]
    assert (fault["logger"], fault["job_id"]) == ("uvicorn.error", "broken")
    assert fault["exception"].endswith("RuntimeError: a fault of ours")
