"""File names that clients gave: made harmless, and put into headers."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

MAX_NAME_BYTES = 200
"""In UTF-8: with `_x4.png` behind it, a result's name stays below the 255 bytes of common file systems."""


def safe_filename(name: str) -> str:
    r"""The last part of a name without characters that do not print, shortened; empty if nothing is left.

    >>> safe_filename("C:\\photos\\caf\u00e9\r\n.jpg")
    'café.jpg'
    >>> safe_filename("../..")
    ''
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    # Category C: control characters, surrogates, and the marks that reverse the direction of text.
    printable = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    return printable.encode()[:MAX_NAME_BYTES].decode(errors="ignore").strip(" .")


def result_filename(upload_name: str, size: str, suffix: str) -> str:
    """What a result is saved as.

    >>> result_filename("photo.jpeg", "x4", ".png")
    'photo_x4.png'
    >>> result_filename("", "1000x750", ".jpg")
    'picture_1000x750.jpg'
    """
    return f"{PurePosixPath(upload_name).stem or 'picture'}_{size}{suffix}"


def content_disposition(filename: str) -> str:
    r"""The header (RFC 6266), with the name in RFC 5987's form where it needs that.

    >>> content_disposition("photo_x4.png")
    'inline; filename="photo_x4.png"'
    >>> content_disposition("café_x4.png")
    'inline; filename="cafe_x4.png"; filename*=UTF-8\'\'caf%C3%A9_x4.png'
    """
    ascii_only = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    plain = re.sub(r'["\\%/]', "_", ascii_only)  # NFKD makes a plain slash of a full-width one
    header = f'inline; filename="{plain}"'
    return header if plain == filename else f"{header}; filename*=UTF-8''{quote(filename, safe='')}"
