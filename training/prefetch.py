"""Batches made ahead of their step, in background threads, so that the device never waits for one.

Threads are enough: cutting, blurring, resizing and JPEG run in C, which lets other threads go on.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def prefetched(
    make_batch: Callable[[int], T], first_step: int, end_step: int, workers: int = 2, ahead: int = 4
) -> Iterator[Iterator[tuple[int, T]]]:
    """(step, `make_batch(step)`) for first_step … end_step - 1, in order; use it in a `with`.

    `make_batch` runs in threads, and what it gives may depend on the step alone. At most `ahead` batches are made or being made
    before they are asked for. Its exception is raised where its batch would have come. Leaving the `with`, however, drops
    what was made and waits for the batches at work: no thread stays.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        yield _in_order(pool, make_batch, first_step, end_step, ahead)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, make_batch: Callable[[int], T], first_step: int, end_step: int, ahead: int
) -> Iterator[tuple[int, T]]:
    coming: deque[Future[T]] = deque()
    for step in range(first_step, end_step):
        for later in range(step + len(coming), min(step + ahead, end_step)):
            coming.append(pool.submit(make_batch, later))
        yield step, coming.popleft().result()
