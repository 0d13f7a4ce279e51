"""Which job may join those in flight: room for each sooner or later, whatever comes behind it."""

from dataclasses import replace

import pytest

from tests.samples import sample_job
from worker.admission import OVERTAKEN_S, Admission
from worker.contract.jobs import UpscaleJob
from worker.lines import Verdict
from worker.memory_budget import bytes_in_flight

SMALL = sample_job("small")
MAX_BYTES = bytes_in_flight(SMALL) * 10


def of_width(job_id: str, width_px: int) -> UpscaleJob:
    return replace(SMALL, id=job_id, input=replace(SMALL.input, width_px=width_px))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_s = [0.0]
    monkeypatch.setattr("worker.admission.time.monotonic", lambda: now_s[0])
    return now_s


def test_a_job_is_overtaken_for_a_while_and_then_keeps_the_others_waiting(clock: list[float]) -> None:
    admission = Admission(32, MAX_BYTES)
    middling, flying = of_width("middling", 160), [of_width(str(n), 40) for n in range(8)]
    assert admission.judge(middling, flying) is Verdict.SKIP
    assert admission.judge(SMALL, flying) is Verdict.TAKE
    clock[0] = OVERTAKEN_S + 1
    assert admission.judge(middling, flying) is Verdict.STOP
    assert admission.judge(middling, flying[:4]) is Verdict.TAKE
    admission.admitted("middling")
    assert admission.judge(middling, flying) is Verdict.SKIP


def test_a_large_job_waits_for_another_without_keeping_small_ones_waiting(clock: list[float]) -> None:
    admission = Admission(32, MAX_BYTES)
    large, flying = of_width("large", 4000), [of_width("first", 4000)]
    assert admission.judge(large, flying) is Verdict.SKIP
    clock[0] = OVERTAKEN_S + 1
    assert admission.judge(large, flying) is Verdict.SKIP
    assert admission.judge(large, []) is Verdict.TAKE


def test_who_was_passed_over_is_forgotten_when_nothing_flies(clock: list[float]) -> None:
    admission = Admission(32, MAX_BYTES)
    middling, flying = of_width("middling", 160), [of_width(str(n), 40) for n in range(8)]
    admission.judge(middling, flying)
    admission.idle()
    clock[0] = OVERTAKEN_S + 1
    assert admission.judge(middling, flying) is Verdict.SKIP
