"""What a worker and its decoder processes say to each other. The worker trusts nothing that it hears.

Over a socket: the upload with its length before it; then the decoder's answer as JSON with its length before it, and the colour
profile and EXIF. The samples never pass through the socket: the worker makes memory of the size that the answer names, sends
the decoder its descriptor, and hears one byte when they are there. No pickle in either direction: reading one runs what it says.
"""

import socket
import struct
import time
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from worker.contract.jobs import PictureFormat

UPLOAD_LENGTH = struct.Struct(">Q")
ANSWER_LENGTH = struct.Struct(">H")

CONFINED, READY = b"C", b"R"
"""The decoder waits for a picture: with Landlock around it, or without."""
DONE = b"D"
"""The samples are in the memory."""

MAX_MESSAGE_CHARS = 1000
"""Of an error; what is longer is cut off. Six bytes each at most, so that every answer's length fits into two."""

MAX_SIDE_PX = 2**31 - 1
"""PNG's limit, and the widest."""

SAMPLES_A_PIXEL = 3


class DecodedAnswer(BaseModel):
    """The picture was decoded; profile and EXIF follow, in this order."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: PictureFormat
    """What it was read from."""
    width_px: int = Field(ge=1, le=MAX_SIDE_PX)
    """After EXIF has turned it."""
    height_px: int = Field(ge=1, le=MAX_SIDE_PX)
    """After EXIF has turned it."""
    has_alpha: bool
    """Whether a second plane of the same size follows the first."""
    grey: bool
    """Whether the picture has one colour channel."""
    icc_profile_bytes: int | None = Field(ge=0)
    """Length of the colour profile; None where there is none."""
    exif_bytes: int | None = Field(ge=0)
    """Length of the EXIF; None where there is none."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the samples: planes, height, width, RGB."""
        return 1 + self.has_alpha, self.height_px, self.width_px, SAMPLES_A_PIXEL

    @property
    def samples_bytes(self) -> int:
        """Length of all planes."""
        return (1 + self.has_alpha) * self.height_px * self.width_px * SAMPLES_A_PIXEL


class RefusedAnswer(BaseModel):
    """The picture was not decoded."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    code: Literal["picture_damaged", "picture_unsupported", "out_of_memory"]
    """Why."""
    message: str = Field(max_length=MAX_MESSAGE_CHARS)
    """For whoever sent the picture."""


Answer = DecodedAnswer | RefusedAnswer
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)


def receive(peer: socket.socket, size_bytes: int, deadline_s: float | None = None) -> bytearray:
    """Exactly so many bytes. Raises EOFError where the other side has closed, TimeoutError at the deadline (of `time.monotonic`)."""
    received = bytearray(size_bytes)
    with memoryview(received) as rest:
        while rest:
            wait_until(peer, deadline_s)
            count = peer.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
    return received


def wait_until(peer: socket.socket, deadline_s: float | None) -> None:
    """Let the socket's next call end at the deadline; a side that trickles bytes does not move it. Raises TimeoutError."""
    if deadline_s is None:
        return
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    peer.settimeout(left_s)
