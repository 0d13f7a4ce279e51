import signal

import pytest

from training.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interruption() as interruption:
        at_first = interruption.requested
        signal.raise_signal(number)
        assert (at_first, interruption.requested) == (False, True)
        assert signal.getsignal(number) is before, "a second signal does what it always did"
    assert signal.getsignal(number) is before


def test_the_handlers_come_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="in the middle"), Interruption():
        raise RuntimeError("in the middle")
    assert signal.getsignal(signal.SIGINT) is before
