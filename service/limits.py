"""How much one request, and all of them together, may ask."""

from dataclasses import dataclass


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
    upload_idle_timeout_s: float = 30.0
    """How long an upload may stand still."""
