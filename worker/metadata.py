"""What a picture's file says besides its pixels, and what of it changes when the picture is turned and enlarged.

EXIF by JEITA CP-3451, XMP by ISO 16684-1, IPTC's records in Photoshop's image resources.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from PIL import Image

from worker.picture import Picture

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_SIDES = {0x0100: 0, 0x0101: 1}
"""Of the picture in its file: width, height."""
_EXIF_SIDES = {0xA002: 0, 0xA003: 1}
"""Of the picture as it was taken."""
_RESOLUTION = {0x011A: 0, 0x011B: 1}

_IPTC_RESOURCE = 0x0404
_RESOURCES = b"Photoshop 3.0\0"

logger = logging.getLogger(__name__)


_TIFF_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 290, 291),
    *(292, 293, 297, 301, 317, 320, 321, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 342, 347),
    *(*range(512, 522), 529, 530, 531, 532, 700, 33723, 34377, 34675),
}
"""What a TIFF, whose own tags stand beside EXIF's, says of how its samples lie in the file, and what is kept otherwise."""


_IMAGE_DESCRIPTION = 270
_SAMPLES_DESCRIBED = ('{"shape"', "ImageJ=", "<?xml")
"""How descriptions begin that programs, not people, read: how many samples lie where, which is no longer so (tifffile, ImageJ, OME)."""


def upright_exif(exif: Image.Exif, *, is_tiff: bool = False) -> bytes | None:
    """EXIF as it is once the picture stands upright, in a file of its own; None where nothing is left."""
    exif.pop(_ORIENTATION, None)
    if is_tiff:
        for tag in _TIFF_STRUCTURE & set(exif):
            del exif[tag]
        if str(exif.get(_IMAGE_DESCRIPTION, "")).startswith(_SAMPLES_DESCRIBED):
            del exif[_IMAGE_DESCRIPTION]
    return exif.tobytes() if exif else None


def upright_xmp(xmp: bytes) -> bytes:
    """XMP as it is once the picture stands upright.

    >>> upright_xmp(b'<rdf:Description tiff:Orientation="6"/>')
    b'<rdf:Description tiff:Orientation="1"/>'
    """
    return _with_xmp_number(xmp, b"tiff:Orientation", 1)


def of_size(picture: Picture, before_px: tuple[int, int]) -> Picture:
    """The picture, which had another width and height, with what its file said of them corrected. Its size on paper stays."""
    sides = picture.size_px
    factors = sides[0] / before_px[0], sides[1] / before_px[1]
    return replace(
        picture,
        dpi=picture.dpi and (picture.dpi[0] * factors[0], picture.dpi[1] * factors[1]),
        exif=picture.exif and _exif_of_size(picture.exif, sides, factors),
        xmp=picture.xmp and _xmp_of_size(picture.xmp, sides),
    )


def _exif_of_size(content: bytes, sides_px: tuple[int, int], factors: tuple[float, float]) -> bytes:
    try:
        exif = Image.Exif()
        exif.load(content)
        details: dict[int, Any] = exif.get_ifd(_EXIF_IFD)
        changed = False
        for directory, tags in ((exif, _SIDES), (details, _EXIF_SIDES)):
            for tag, axis in tags.items():
                if tag in directory:
                    directory[tag] = sides_px[axis]
                    changed = True
        for tag, axis in _RESOLUTION.items():
            if tag in exif:
                exif[tag] = float(exif[tag]) * factors[axis]
                changed = True
        return exif.tobytes() if changed else content
    except Exception as error:  # Pillow's reader of EXIF meets damage with many kinds
        logger.info("the sizes in EXIF stay as they are: %r", error)
        return content


def _xmp_of_size(xmp: bytes, sides_px: tuple[int, int]) -> bytes:
    for name, axis in (("tiff:Image", 0), ("exif:Pixel", 0), ("tiff:Image", 1), ("exif:Pixel", 1)):
        side = {"tiff:Image": ("Width", "Length"), "exif:Pixel": ("XDimension", "YDimension")}[name][axis]
        xmp = _with_xmp_number(xmp, f"{name}{side}".encode(), sides_px[axis])
    return xmp


def _with_xmp_number(xmp: bytes, name: bytes, value: int) -> bytes:
    """As attribute and as element."""
    number = b"%d" % value
    xmp = re.sub(rb"(\b" + name + rb"\s*=\s*[\"'])\d+([\"'])", rb"\g<1>" + number + rb"\g<2>", xmp)
    return re.sub(rb"(<" + name + rb">)\s*\d+\s*(</" + name + rb">)", rb"\g<1>" + number + rb"\g<2>", xmp)


def iptc_of_resources(resources: bytes) -> bytes | None:
    """IPTC's records among Photoshop's image resources; None where there are none or the resources are damaged."""
    found = dict(_resources(resources.removeprefix(_RESOURCES)))
    return found.get(_IPTC_RESOURCE) or None


def _resources(content: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while content[position : position + 4] == b"8BIM" and position + 12 <= len(content):
        number = int.from_bytes(content[position + 4 : position + 6])
        name_bytes = content[position + 6] + 1
        start = position + 6 + name_bytes + name_bytes % 2
        size = int.from_bytes(content[start : start + 4])
        yield number, content[start + 4 : start + 4 + size]
        position = start + 4 + size + size % 2


def resources_of_iptc(iptc: bytes) -> bytes:
    """Photoshop's image resources with nothing but IPTC's records: the content of a JPEG's APP13.

    >>> iptc_of_resources(resources_of_iptc(b"records"))
    b'records'
    """
    head = b"8BIM" + _IPTC_RESOURCE.to_bytes(2) + b"\0\0" + len(iptc).to_bytes(4)
    return _RESOURCES + head + iptc + b"\0" * (len(iptc) % 2)
