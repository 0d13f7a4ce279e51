"""Pictures that do to whoever decodes them what faults in a C library would do."""

import io
from enum import StrEnum

from PIL import Image
from PIL.PngImagePlugin import PngInfo


class Poison(StrEnum):
    """A PNG's comment, which `tests.poisoned_decoder` obeys."""

    CRASH = "reads where nothing is"
    """SIGSEGV."""
    BOMB = "takes all the memory that there is"
    """MemoryError at the limit."""
    LOOP = "never comes to an end"
    """For the time limit, or whoever kills it."""
    SPY = "looks where it has no business"
    """The picture is damaged; the message ends with what each attempt came to, as JSON."""
    WAIT = "waits for its worker's end"
    """As LOOP, without a core for itself."""


def poisoned(image: Image.Image, poison: Poison) -> bytes:
    """The picture as a PNG with the poison in a comment."""
    comment, file = PngInfo(), io.BytesIO()
    comment.add_text("Comment", poison)
    image.save(file, format="PNG", pnginfo=comment)
    return file.getvalue()
