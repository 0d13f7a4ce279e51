"""A picture as samples, and what is kept of its file besides.

A network enlarges planes: the colour of each frame, and its alpha as a grey picture of its own. Grey pictures have R = G = B in
their colour plane.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sr_models.samples import StoredSamples
from worker.contract.jobs import InputFormat, Note


@dataclass(frozen=True)
class Frame:
    """One picture of those in a file; usually the only one. Upright."""

    colour: StoredSamples
    """RGB samples, uint8 or uint16 (H, W, 3)."""
    alpha: StoredSamples | None = None
    """Opacity as grey RGB samples, (H, W, 3) of the same type; None for an opaque picture."""
    duration_ms: int = 0
    """How long it is shown, in an animation."""

    @property
    def planes(self) -> list[StoredSamples]:
        """What is to be enlarged."""
        return [self.colour] if self.alpha is None else [self.colour, self.alpha]


@dataclass(frozen=True)
class Picture:
    """A decoded picture."""

    format: InputFormat
    """What it was read from."""
    frames: tuple[Frame, ...]
    """At least one; all of one size, one type, and with alpha or without."""
    grey: bool
    """Whether the picture has one colour channel."""
    icc_profile: bytes | None = None
    """The colour profile, byte for byte."""
    gamma: float | None = None
    """What a PNG without a profile says of its numbers: the exponent of its gAMA."""
    exif: bytes | None = None
    """EXIF without its orientation, which is applied to the pixels."""
    xmp: bytes | None = None
    """XMP, likewise."""
    iptc: bytes | None = None
    """IPTC's records."""
    dpi: tuple[float, float] | None = None
    """Pixels to the inch, across and down."""
    loops: int = 0
    """How often an animation is shown; 0 for ever."""
    notes: tuple[Note, ...] = ()
    """What could not be kept."""

    @property
    def colour(self) -> StoredSamples:
        """Of the first frame."""
        return self.frames[0].colour

    @property
    def alpha(self) -> StoredSamples | None:
        """Of the first frame."""
        return self.frames[0].alpha

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        height, width = self.colour.shape[:2]
        return width, height

    @property
    def planes(self) -> list[StoredSamples]:
        """What is to be enlarged."""
        return [plane for frame in self.frames for plane in frame.planes]

    def with_planes(self, planes: Sequence[StoredSamples]) -> "Picture":
        """The same picture with other samples, in the order of :attr:`planes`."""
        left = iter(planes)
        return replace(
            self,
            frames=tuple(
                replace(frame, colour=next(left), alpha=None if frame.alpha is None else next(left))
                for frame in self.frames
            ),
        )

    def noting(self, *notes: Note) -> "Picture":
        """The same picture, of which something more could not be kept."""
        return replace(self, notes=(*self.notes, *(note for note in notes if note not in self.notes)))


def in_8_bits(samples: StoredSamples) -> StoredSamples:
    """Of any type, rounded to 255ths: uint8 of the same shape.

    >>> in_8_bits(np.array([0, 128, 129, 65535], np.uint16)).tolist()
    [0, 0, 1, 255]
    """
    if samples.dtype == np.uint8:
        return samples
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)
