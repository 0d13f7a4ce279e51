"""Uploads that do not come to an end by themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx

TRICKLE_S = 0.02
"""Well below the time that an upload may stand still."""


async def trickling(asked: anyio.Event | None = None) -> AsyncIterator[bytes]:
    """A body that brings a byte now and then; `asked` is set when the gateway begins to receive it."""
    if asked:
        asked.set()
    while True:
        yield b"x"
        await anyio.sleep(TRICKLE_S)


@asynccontextmanager
async def slow_upload(client: httpx.AsyncClient) -> AsyncIterator[None]:
    """Within it, the gateway is receiving an upload of the client."""
    asked = anyio.Event()

    async def upload() -> None:
        await client.post("/upscale", content=trickling(asked), headers={"Content-Type": "image/png"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(upload)
        await asked.wait()
        yield
        tasks.cancel_scope.cancel()
