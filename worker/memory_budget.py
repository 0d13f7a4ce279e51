"""What the jobs in flight may take up in memory, by what the gateway knows of them."""

from collections.abc import Sequence

from worker.contract.jobs import UpscaleJob


def bytes_in_flight(job: UpscaleJob) -> int:
    """What a job takes up at most: the decoded input (16 bits of colour and alpha), and for each pixel of the result canvases and the encoder's copies.

    Measured for 36 megapixels with alpha, the worst case: PNG 17 bytes a pixel, JPEG 24, WebP 35; for 48: TIFF 11, AVIF 37, reduced 33, sharpened 12.
    """
    input_px = job.input.pixels
    return input_px * 12 + input_px * job.scale**2 * 38


def is_large(job: UpscaleJob, max_bytes: int) -> bool:
    """Whether a job alone would take more than half of the memory that the small ones share."""
    return bytes_in_flight(job) > max_bytes // 2


def fits_beside(flying: Sequence[UpscaleJob], job: UpscaleJob, max_bytes: int) -> bool:
    """Whether there is memory for a job beside those in flight.

    The small ones share `max_bytes`. One that would take more than half of that alone has no share in it: one such job at a
    time flies whatever else does, so that it neither waits for ever nor keeps the small ones waiting. So at most `max_bytes`
    and one large job, whose size the gateway limits, are in memory.
    """
    if is_large(job, max_bytes):
        return not any(is_large(other, max_bytes) for other in flying)
    small = [bytes_in_flight(other) for other in flying if not is_large(other, max_bytes)]
    return sum(small) + bytes_in_flight(job) <= max_bytes
