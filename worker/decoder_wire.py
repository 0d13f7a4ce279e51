"""What a worker and its decoder processes say to each other. The worker trusts nothing that it hears.

Over a socket: how the upload is to be read, as JSON, and the upload, with their lengths before them; then the decoder's answer as JSON with its
length before it, and the colour profile, EXIF, XMP and IPTC. The samples never pass through the socket: the worker makes memory of the size that the answer names, sends
the decoder its descriptor, and hears one byte when they are there. No pickle in either direction: reading one runs what it says.
"""

import math
import socket
import struct
import time
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from worker.contract.jobs import InputFormat, Note
from worker.contract.reading import Reading

REQUEST_LENGTHS = struct.Struct(">HQ")
"""Of how to read, and of the upload."""
ANSWER_LENGTH = struct.Struct(">I")
MAX_ANSWER_BYTES = 1 << 20
"""More than the times of the frames of any animation that fits into memory."""

CONFINED, READY = b"C", b"R"
"""The decoder waits for a picture: with Landlock around it, or without."""
DONE = b"D"
"""The samples are in the memory."""

MAX_MESSAGE_CHARS = 1000
"""Of an error; what is longer is cut off."""

MAX_SIDE_PX = 2**31 - 1
"""PNG's limit, and the widest."""

SAMPLES_A_PIXEL = 3

Length = Annotated[int, Field(ge=0)] | None


class DecodedAnswer(BaseModel):
    """The picture was decoded; profile, EXIF, XMP and IPTC follow, in this order."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    format: InputFormat
    """What it was read from."""
    width_px: int = Field(ge=1, le=MAX_SIDE_PX)
    """After EXIF has turned it."""
    height_px: int = Field(ge=1, le=MAX_SIDE_PX)
    """After EXIF has turned it."""
    durations_ms: list[int] = Field(min_length=1)
    """How long each frame is shown; of a still picture one number."""
    bits: Literal[8, 16]
    """Of a sample."""
    has_alpha: bool
    """Whether a second plane of the same size follows the first, in each frame."""
    grey: bool
    """Whether the picture has one colour channel."""
    gamma: float | None
    """See `worker.picture.Picture`."""
    dpi: tuple[float, float] | None
    """See `worker.picture.Picture`."""
    loops: int
    """See `worker.picture.Picture`."""
    notes: tuple[Note, ...]
    """See `worker.picture.Picture`."""
    attached_bytes: tuple[Length, Length, Length, Length]
    """Lengths of colour profile, EXIF, XMP and IPTC; None where there is none."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the samples: planes, height, width, RGB."""
        planes = len(self.durations_ms) * (1 + self.has_alpha)
        return planes, self.height_px, self.width_px, SAMPLES_A_PIXEL

    @property
    def samples_bytes(self) -> int:
        """Length of all planes."""
        return math.prod(self.shape) * self.bits // 8


class RefusedAnswer(BaseModel):
    """The picture was not decoded."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    code: Literal["picture_damaged", "picture_unsupported", "out_of_memory"]
    """Why."""
    message: str = Field(max_length=MAX_MESSAGE_CHARS)
    """For whoever sent the picture."""


Answer = DecodedAnswer | RefusedAnswer
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
READING: TypeAdapter[Reading] = TypeAdapter(Reading)


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
