"""How a picture's file is read."""

from dataclasses import dataclass
from enum import StrEnum


class Colorspace(StrEnum):
    """In which numbers the result has its colours."""

    KEEP = "keep"
    """The picture's own, with its profile byte for byte."""
    SRGB = "srgb"
    """sRGB's, into which the picture is converted by its profile."""


class Frames(StrEnum):
    """What becomes of a picture that is several: an animation, or pages."""

    REFUSE = "refuse"
    """An error says so."""
    FIRST = "first"
    """Only the first is enlarged."""
    ALL = "all"
    """All are, and keep their times."""


@dataclass(frozen=True)
class Reading:
    """How a picture's file is read."""

    colorspace: Colorspace = Colorspace.KEEP
    """In which numbers the result has its colours."""
    frames: Frames = Frames.REFUSE
    """What becomes of several pictures in one file."""


AS_IT_IS = Reading()
"""Colours as they are, one picture."""
