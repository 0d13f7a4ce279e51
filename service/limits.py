"""How much one request, and all of them together, may ask."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

Amount = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Limits:
    """What the gateway accepts. The defaults are those of the settings."""

    max_upload_bytes: int = 50 * 1024 * 1024
    """Length of a picture as it is uploaded."""
    max_input_pixels: int = 50_000_000
    """Width times height of a picture."""
    max_output_pixels: int = 200_000_000
    """Width times height of its result."""
    max_queued_jobs: int = 1000
    """Jobs that wait for a worker; more are refused."""
    max_queued_pixels: int = 2_000_000_000
    """Their work in input pixels, an ensemble's eight times."""
    max_queue_age_s: float = 3600.0
    """How long the first interactive job may have waited."""
    max_uploads: int = 256
    """Uploads that one gateway receives at once."""
    max_batch_bytes: int = 512 * 1024 * 1024
    """Length of all pictures of a batch together."""
    upload_idle_timeout_s: float = 30.0
    """How long an upload may stand still."""
    min_upload_bytes_per_s: int = 1024
    """How fast an upload has to come on average, once it is half a minute old."""


@dataclass(frozen=True)
class Allowance:
    """How much one caller may ask; None where there is no limit of that kind."""

    requests_per_minute: Amount | None = None
    """Of every kind, polls too."""
    queued_jobs: Amount | None = None
    """Jobs that wait for a worker at once."""
    megapixels_per_day: Amount | None = None
    """Input pixels through the network, in millions: an ensemble counts eight times."""

    def or_else(self, defaults: "Allowance") -> "Allowance":
        """Those limits, and the defaults where there is none.

        >>> Allowance(queued_jobs=1).or_else(Allowance(queued_jobs=5, megapixels_per_day=9))
        Allowance(requests_per_minute=None, queued_jobs=1, megapixels_per_day=9)
        """
        return Allowance(
            self.requests_per_minute or defaults.requests_per_minute,
            self.queued_jobs or defaults.queued_jobs,
            self.megapixels_per_day or defaults.megapixels_per_day,
        )


NO_LIMITS = Allowance()
