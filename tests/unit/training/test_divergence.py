import pytest

from training.divergence import PATIENCE_STEPS, DivergenceGuard


def test_a_bad_gradient_is_left_out_and_forgotten() -> None:
    guard = DivergenceGuard()
    for step in range(10 * PATIENCE_STEPS):
        finite = step % PATIENCE_STEPS != 0
        assert guard.allows(step, finite) == finite


def test_a_run_that_ends_in_trouble_has_failed() -> None:
    guard = DivergenceGuard()
    guard.allows(0, False)
    with pytest.raises(FloatingPointError, match="for the last 1 steps: lower the learning rate"):
        guard.finished()
    guard.allows(1, True)
    guard.finished()


def test_many_in_a_row_end_the_run() -> None:
    guard = DivergenceGuard()
    for step in range(PATIENCE_STEPS - 1):
        assert not guard.allows(step, False)
    with pytest.raises(FloatingPointError, match="for 20 steps up to 19: lower the learning rate"):
        guard.allows(PATIENCE_STEPS - 1, False)
