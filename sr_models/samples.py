"""Samples as pictures store them, for whoever touches no network: no torch here."""

import numpy as np
import numpy.typing as npt

StoredSamples = npt.NDArray[np.uint8 | np.uint16]
"""8 or 16 bits each."""


def white(samples: StoredSamples) -> int:
    """What white is among samples of that type.

    >>> white(np.zeros(1, np.uint8)), white(np.zeros(1, np.uint16))
    (255, 65535)
    """
    return int(np.iinfo(samples.dtype).max)
