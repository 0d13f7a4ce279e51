"""How fast a worker thinks it is."""

import pytest

from worker.speed import HALF_LIFE_S, Speed


class Clock:
    """A time that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def speed(clock: Clock) -> Speed:
    return Speed(clock)


def test_it_is_zero_before_anything_is_done(speed: Speed, clock: Clock) -> None:
    assert speed.per_s == 0.0
    for clock.now_s in (10.0, 20.0):
        speed.note([0.0])
        assert speed.per_s == 0.0


def test_jobs_in_flight_and_ended_ones_count(speed: Speed, clock: Clock) -> None:
    speed.note([0.0, 0.0])
    clock.now_s = 10.0
    speed.note([60.0, 20.0])
    assert speed.per_s == pytest.approx(8.0)
    speed.ended(60.0)
    clock.now_s = 20.0
    speed.note([100.0])
    assert speed.per_s == pytest.approx(8.0)


def test_what_is_older_counts_less(speed: Speed, clock: Clock) -> None:
    for second in range(301):
        clock.now_s = float(second)
        speed.note([10.0 * second])
    assert speed.per_s == pytest.approx(10.0)
    for second in range(1, round(HALF_LIFE_S) + 1):
        clock.now_s = 300.0 + second
        speed.note([3000.0 + 20.0 * second])
    assert speed.per_s == pytest.approx(15.0, rel=0.05)


def test_rest_does_not_count(speed: Speed, clock: Clock) -> None:
    for start_s in (0.0, 5000.0, 90_000.0):
        clock.now_s = start_s
        speed.note([0.0])
        clock.now_s = start_s + 10.0
        speed.ended(20.0)
        speed.note([])
    assert speed.per_s == pytest.approx(2.0)


def test_a_canceled_job_takes_nothing_back(speed: Speed, clock: Clock) -> None:
    speed.note([0.0, 0.0])
    clock.now_s = 10.0
    speed.note([50.0, 50.0])
    speed.note([50.0])
    assert speed.per_s == pytest.approx(10.0)
