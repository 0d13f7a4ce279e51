"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """By default what takes some twenty minutes on two idle cores."""

    model: str = "espcn"
    """Of the mixed sizes and the latency. EDSR-baseline takes half an hour over the mixed sizes, and gigabytes untiled."""
    runs: int = 3
    """How often each figure and its baseline are measured, in turn."""
    pictures: int = 64
    """Jobs in one run of the worker's throughput."""
    side_px: int = 256
    """Of those pictures, which are square."""
    mixed_pictures: int = 200
    latency_jobs: int = 60
    large_px: tuple[int, int] = (2041, 1531)
    """Width and height of the picture that runs meanwhile: its result has 50 megapixels."""
    pass_px: tuple[int, int] = (1632, 1224)
    """Width and height of the picture whose forward pass is timed: 2 megapixels."""
    matrix: int = 4096
    """Rows and columns of the matrices that are multiplied."""
    bookkeeping_jobs: int = 200
    uploads: int = 800
    """Of each run of the gateway's throughput; fewer than the jobs that it lets wait."""


QUICK = Plan(
    runs=1,
    pictures=4,
    side_px=64,
    mixed_pictures=8,
    latency_jobs=5,
    large_px=(1300, 900),
    pass_px=(320, 240),
    matrix=512,
    bookkeeping_jobs=20,
    uploads=40,
)
"""To see that everything works. Its numbers say nothing."""
