"""What happens where a loss or a gradient is not a number."""

import logging

log = logging.getLogger(__name__)

PATIENCE_STEPS = 20


class DivergenceGuard:
    """Leaves out an update whose gradient is not finite, and gives up where that does not end."""

    def __init__(self) -> None:
        self._in_a_row = 0

    @property
    def in_trouble(self) -> bool:
        """Whether the last update was left out: a state kept now would let a resumed run begin its count again."""
        return self._in_a_row > 0

    def allows(self, step: int, finite: bool) -> bool:
        """Whether the step's update may be made. Raises FloatingPointError after `PATIENCE_STEPS` bad ones in a row."""
        if finite:
            self._in_a_row = 0
            return True
        self._in_a_row += 1
        log.warning("step %d: the gradient is not finite, its update is left out", step)
        if self._in_a_row >= PATIENCE_STEPS:
            raise FloatingPointError(
                f"the gradient is not finite for {PATIENCE_STEPS} steps up to {step:,}: lower the learning rate"
            )
        return False

    def finished(self) -> None:
        """Note the run's end. Raises FloatingPointError where it ends in trouble."""
        if self.in_trouble:
            raise FloatingPointError(
                f"the gradient is not finite for the last {self._in_a_row} steps: lower the learning rate"
            )
