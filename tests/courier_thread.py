"""A courier on a thread or in a process of its own, so that tests can wait for what it does."""

import asyncio
import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from multiprocessing.process import BaseProcess

from pydantic import SecretStr
from redis import Redis

from service.courier import Courier, Outcome, Pace
from service.webhooks import Webhooks
from tests.webhook_receiver import SECRET
from worker.contract.queue import JobQueue

WEBHOOKS = Webhooks((SecretStr(SECRET),), (ip_network("127.0.0.0/8"),))
PACE = Pace()


@contextmanager
def running_courier(
    valkey_url: str, pace: Pace = PACE, webhooks: Webhooks = WEBHOOKS
) -> Iterator[Counter[Outcome]]:
    """A courier; gives what it counts."""
    outcomes: Counter[Outcome] = Counter()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def count(outcome: Outcome) -> None:
        outcomes[outcome] += 1

    async def run(redis: Redis) -> None:
        queue = JobQueue(redis, job_timeout_s=60, retention_s=600)
        async with Courier(queue, webhooks, count, pace).running():
            await stop.wait()

    def work() -> None:
        with Redis.from_url(valkey_url) as redis:
            loop.run_until_complete(run(redis))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield outcomes
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def courier_process(valkey_url: str, pace: Pace) -> BaseProcess:
    """A courier that can be killed."""
    process = multiprocessing.get_context("spawn").Process(target=_run_for_ever, args=(valkey_url, pace))
    process.start()
    return process


def _run_for_ever(valkey_url: str, pace: Pace) -> None:
    with running_courier(valkey_url, pace):
        threading.Event().wait()
