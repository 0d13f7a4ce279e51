"""Makes the pictures of docs/fidelity.md in docs/images: python docs/fidelity_pictures.py"""

import io
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFont

import enlarger

SCALE = 3
HERE = Path(__file__).parent
PHOTOGRAPHS = HERE.parent / "tests" / "photographs"
ORIENTATION, TURN_RIGHT = 0x0112, 6
GAP_PX, CAPTION_PX = 8, 26


def main() -> None:
    """Write all four."""
    transparency()
    dark_gradient()
    wide_gamut()
    rotated()


def transparency() -> None:
    """A cut-out whose hidden pixels are black, on three backgrounds."""
    part = Image.open(PHOTOGRAPHS / "cat.png").convert("RGB").crop((150, 40, 270, 150))
    mask = Image.new("L", part.size)
    ImageDraw.Draw(mask).ellipse((12, 8, 107, 101), fill=255)
    cut_out = Image.composite(part, Image.new("RGB", part.size), mask)
    cut_out.putalpha(mask)
    size = (part.width * SCALE, part.height * SCALE)
    channels = [channel.resize(size, Image.Resampling.BICUBIC) for channel in cut_out.split()]
    each_alone = Image.merge("RGBA", channels)
    ours = enlarger.upscale(cut_out, SCALE, "edsr-baseline")
    panels = {}
    for name, colour in (("white", "white"), ("orange", "orange"), ("black", "black")):
        panels[f"each channel alone, on {name}"] = _on(each_alone, colour)
    for name, colour in (("white", "white"), ("orange", "orange"), ("black", "black")):
        panels[f"Enlarger, on {name}"] = _on(ours, colour)
    _sheet(panels, columns=3).save(HERE / "images" / "fidelity-transparency.png", optimize=True)


def dark_gradient() -> None:
    """A 16-bit ramp from 0 to 255 of 65,535, shown 257 times as bright."""
    ramp = np.linspace(0, 255, 110)[None, :] + np.linspace(-20, 20, 60)[:, None]
    samples = ramp.clip(0, 255).round().astype(np.uint16)
    ours = imagecodecs.png_decode(
        enlarger.upscale_file(bytes(imagecodecs.png_encode(samples)), SCALE, "espcn")
    )
    reduced = enlarger.upscale(Image.fromarray((samples // 256).astype(np.uint8)), SCALE, "espcn")
    panels = {
        "reduced to 8 bits: all of it is 0": reduced.convert("L"),
        "Enlarger: 16 bits, shown 257 times as bright": Image.fromarray(ours.clip(0, 255).astype(np.uint8)),
    }
    _sheet(panels, columns=2).save(HERE / "images" / "fidelity-16-bit.png", optimize=True)


def wide_gamut() -> None:
    """A photograph in P3's numbers: without its profile, with it, and converted."""
    p3: bytes = imagecodecs.cms_profile(
        "rgb",
        whitepoint=(0.3127, 0.3290, 1.0),
        primaries=(0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1),
        gamma=2.2,
    )
    part = Image.open(PHOTOGRAPHS / "coffee.png").convert("RGB").crop((180, 60, 290, 150))
    srgb = ImageCms.createProfile("sRGB")
    wide = ImageCms.profileToProfile(part, srgb, ImageCms.ImageCmsProfile(io.BytesIO(p3)))
    assert wide is not None
    file = io.BytesIO()
    wide.save(file, "PNG", icc_profile=p3)
    kept = enlarger.upscale(file.getvalue(), SCALE, "espcn")
    seen = ImageCms.profileToProfile(
        kept, ImageCms.ImageCmsProfile(io.BytesIO(kept.info["icc_profile"])), srgb, outputMode="RGB"
    )
    assert seen is not None
    converted = enlarger.upscale_file(file.getvalue(), SCALE, "espcn", colorspace="srgb")
    panels = {
        "the profile dropped: paler": kept.convert("RGB"),
        "Enlarger: the profile kept": seen,
        "Enlarger: colorspace=srgb": Image.open(io.BytesIO(converted)).convert("RGB"),
    }
    for panel in panels.values():
        panel.info.clear()
    _sheet(panels, columns=3).save(HERE / "images" / "fidelity-p3.png", optimize=True)


def rotated() -> None:
    """A telephone's picture: the sensor's rows, and a note of how it was held."""
    part = Image.open(PHOTOGRAPHS / "astronaut.png").convert("RGB").crop((60, 0, 160, 130))
    exif = Image.Exif()
    exif[ORIENTATION] = TURN_RIGHT
    file = io.BytesIO()
    part.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    as_stored = Image.open(file)
    as_stored.load()
    larger = as_stored.resize((as_stored.width * SCALE, as_stored.height * SCALE), Image.Resampling.BICUBIC)
    panels = {
        "orientation ignored": larger,
        "Enlarger: upright": enlarger.upscale(file.getvalue(), SCALE, "espcn"),
    }
    _sheet(panels, columns=2).save(HERE / "images" / "fidelity-orientation.png", optimize=True)


def _on(image: Image.Image, colour: str) -> Image.Image:
    ground = Image.new("RGBA", image.size, colour)
    ground.alpha_composite(image)
    return ground.convert("RGB")


def _sheet(panels: dict[str, Image.Image], columns: int) -> Image.Image:
    """The panels in rows, each under its caption."""
    width = max(panel.width for panel in panels.values())
    height = max(panel.height for panel in panels.values()) + CAPTION_PX
    rows = -(-len(panels) // columns)
    sheet = Image.new(
        "RGB", (columns * (width + GAP_PX) - GAP_PX, rows * (height + GAP_PX) - GAP_PX), "white"
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (caption, panel) in enumerate(panels.items()):
        left, top = number % columns * (width + GAP_PX), number // columns * (height + GAP_PX)
        draw.text((left + 2, top + 4), caption, fill="black", font=font)
        sheet.paste(panel, (left, top + CAPTION_PX))
    return sheet


if __name__ == "__main__":
    main()
