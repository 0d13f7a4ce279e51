"""Colour profiles for tests: a screen of wide gamut, and a printing press of no sense that shows whether it was asked."""

import struct

import imagecodecs
import numpy as np
import numpy.typing as npt

_P3_TO_XYZ = np.array(
    [
        [0.48657095, 0.26566769, 0.19821729],
        [0.22897456, 0.69173852, 0.07928691],
        [0.0, 0.04511338, 1.04394437],
    ]
)
_XYZ_TO_SRGB = np.array(
    [
        [3.24096994, -1.53738318, -0.49861076],
        [-0.96924364, 1.87596750, 0.04155506],
        [0.05563008, -0.20397696, 1.05697151],
    ]
)
"""Both at D65 (SMPTE EG 432-1; IEC 61966-2-1)."""


def p3_profile() -> bytes:
    """P3's primaries at D65, with a gamma of 2.2."""
    profile: bytes = imagecodecs.cms_profile(
        "rgb",
        whitepoint=(0.3127, 0.3290, 1.0),
        primaries=(0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1),
        gamma=2.2,
    )
    return profile


def srgb_of_p3(colours: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(..., 3) of 0 to 1 by :func:`p3_profile`, as sRGB of 0 to 1, clipped."""
    light = (colours**2.2) @ _P3_TO_XYZ.T @ _XYZ_TO_SRGB.T
    light = light.clip(0, 1)
    srgb: npt.NDArray[np.float64] = np.where(
        light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055
    )
    return srgb


def press_profile() -> bytes:
    """CMYK whose cyan ink prints green: 16 corners of a lut8 (ICC.1:2001-04, 6.5.8)."""
    corners = bytearray()
    for cyan in (0, 1):
        for magenta in (0, 1):
            for yellow in (0, 1):
                for black in (0, 1):
                    lightness, a, b = 100.0, 0.0, 0.0
                    if cyan:
                        lightness, a, b = 60.0, -60.0, 50.0
                    if magenta or yellow:
                        lightness *= 0.5
                    if black:
                        lightness, a, b = 0.0, 0.0, 0.0
                    corners += bytes((round(lightness * 2.55), round(a + 128), round(b + 128)))
    identity = b"".join(struct.pack(">i", 65536 if n % 4 == 0 else 0) for n in range(9))
    ramp = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(corners) + ramp * 3
    lut += bytes(-len(lut) % 4)
    table = struct.pack(">I", 1) + b"A2B0" + struct.pack(">II", 144, len(lut))
    head = (
        struct.pack(">I4xI", 144 + len(lut), 0x02400000) + b"prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    )
    head += struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + lut
