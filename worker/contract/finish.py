"""What is done to a result after the network, and how large it becomes."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from annotated_types import Interval
from pydantic import StringConstraints

BACKGROUND_PATTERN = "^#[0-9a-fA-F]{6}$"
"""Red, green and blue, as in CSS."""


class Metadata(StrEnum):
    """What becomes of what a file says beside its pixels. The colour profile is always kept: without it the colours are others."""

    KEEP = "keep"
    """EXIF, XMP and IPTC are kept, without the orientation, which is applied."""
    STRIP = "strip"
    """They go, and with them the place, the time and the camera."""


@dataclass(frozen=True)
class Finish:
    """What is done to a result after the network."""

    width_px: Annotated[int, Interval(ge=1, le=1 << 31)] | None = None
    """Of the result; None goes by the other side, or by the scale where that is None too."""
    height_px: Annotated[int, Interval(ge=1, le=1 << 31)] | None = None
    """Of the result, likewise."""
    sharpen: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """How much of its fine detail is added once more, 0 to 1."""
    metadata: Metadata = Metadata.KEEP
    """What becomes of EXIF, XMP and IPTC."""
    background: Annotated[str, StringConstraints(pattern=BACKGROUND_PATTERN)] = "#ffffff"
    """What a transparent picture is composed on where its result's format has no transparency."""
    progressive: bool = False
    """Whether a JPEG comes in passes, each sharper: a few per cent smaller, and several times as long to write."""
    lossless: bool = False
    """Whether a WebP keeps every sample."""

    @property
    def resizes(self) -> bool:
        """Whether the result has a size of its own."""
        return self.width_px is not None or self.height_px is not None

    def size_px(self, width_px: int, height_px: int, scale: int) -> tuple[int, int]:
        """Width and height of the result of an upright picture of that size. With both sides given, it fits within them.

        >>> Finish(width_px=1000).size_px(300, 200, 4), Finish(1000, 500).size_px(300, 200, 4), Finish().size_px(300, 200, 4)
        ((1000, 667), (750, 500), (1200, 800))
        """
        by_width = (
            None if self.width_px is None else (self.width_px, _share(height_px, self.width_px, width_px))
        )
        by_height = (
            None if self.height_px is None else (_share(width_px, self.height_px, height_px), self.height_px)
        )
        if by_width and by_height:
            return by_width if by_width[1] <= by_height[1] else by_height
        return by_width or by_height or (width_px * scale, height_px * scale)

    def scale_for(self, width_px: int, height_px: int, scales: Iterable[int]) -> int | None:
        """The smallest of the scales at which an upright picture of that size is large enough; None if none is."""
        wanted_width, wanted_height = self.size_px(width_px, height_px, 1)
        enough = (
            s for s in sorted(scales) if width_px * s >= wanted_width and height_px * s >= wanted_height
        )
        return next(enough, None)


UNCHANGED = Finish()
"""As the network leaves it."""


def _share(side_px: int, part_px: int, whole_px: int) -> int:
    """The side as it is when the whole of the other becomes the part; at least 1."""
    return max(1, (side_px * part_px * 2 + whole_px) // (2 * whole_px))
