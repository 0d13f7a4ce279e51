"""Any kind of pixel, depth, size and profile comes back as the same; by interpolation, as float64 computes it."""

from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fidelity.enlarging import (
    Enlarge,
    Samples,
    deep_file_of,
    file_of,
    opened,
    reference_bicubic,
    stored,
)
from worker.contract.jobs import PictureFormat

SHARED_PIPELINE = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@dataclass(frozen=True)
class Kind:
    """Of a picture."""

    channels: int
    deep: bool
    name: str
    size: tuple[int, int]
    profile: bytes | None
    seed: int
    opaque: bool

    @property
    def samples(self) -> Samples:
        """(H, W, C)."""
        rng = np.random.default_rng(self.seed)
        most = 65_536 if self.deep else 256
        samples = rng.integers(0, most, (*self.size, self.channels)).astype(
            np.uint16 if self.deep else np.uint8
        )
        if self.channels in (2, 4):
            samples[..., -1] = most - 1 if self.opaque else samples[..., -1].clip(1)
        return samples

    @property
    def content(self) -> bytes:
        """The file."""
        if self.deep:
            return deep_file_of(self.samples, self.name, self.profile)
        samples = self.samples if self.channels > 1 else self.samples[..., 0]
        return file_of(Image.fromarray(samples), self.name, icc_profile=self.profile)


kinds = st.builds(
    Kind,
    channels=st.sampled_from([1, 2, 3, 4]),
    deep=st.booleans(),
    name=st.sampled_from(["PNG", "TIFF"]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    profile=st.none() | st.binary(min_size=1, max_size=300),
    seed=st.integers(0, 1000),
    opaque=st.booleans(),
)


@SHARED_PIPELINE
@given(
    kind=kinds,
    scale=st.sampled_from([2, 3, 4]),
    output_format=st.sampled_from([None, PictureFormat.PNG, PictureFormat.TIFF]),
)
def test_lossless_formats_give_back_the_same_kind_of_picture(
    enlarge: Enlarge, kind: Kind, scale: int, output_format: PictureFormat | None
) -> None:
    result = enlarge(kind.content, output_format, scale=scale)
    made, samples = stored(result.content), kind.samples
    assert (made.dtype, made.shape) == (
        samples.dtype,
        (kind.size[0] * scale, kind.size[1] * scale, kind.channels),
    )
    reference = reference_bicubic(samples, scale).clip(0, np.iinfo(samples.dtype).max)
    assert np.abs(made - reference).max() <= 1
    assert result.notes == ()
    if not (kind.deep and kind.channels == 2):  # Pillow cannot open those
        assert opened(result.content).info.get("icc_profile") == kind.profile


@SHARED_PIPELINE
@given(
    grey=st.booleans(),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    name=st.sampled_from(["JPEG", "WEBP", "PNG", "BMP", "PPM", "GIF", "JPEG2000"]),
    output_format=st.sampled_from(list(PictureFormat)),
    scale=st.sampled_from([2, 3, 4]),
    seed=st.integers(0, 1000),
)
def test_every_format_goes_into_every_other(
    enlarge: Enlarge,
    grey: bool,
    size: tuple[int, int],
    name: str,
    output_format: PictureFormat,
    scale: int,
    seed: int,
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    image = Image.fromarray(noise).convert("L" if grey else "RGB")
    content = file_of(image, name)
    made = opened(enlarge(content, output_format, scale=scale, quality=100).content)
    assert made.size == (size[1] * scale, size[0] * scale)
    reference = reference_bicubic(np.asarray(opened(content).convert("RGB")), scale).clip(0, 255)
    lossy = output_format in (PictureFormat.JPEG, PictureFormat.WEBP, PictureFormat.AVIF)
    difference = np.abs(np.asarray(made.convert("RGB")) - reference)
    # WebP has a quarter of the colours' samples.
    assert difference.mean() <= ((40 if output_format is PictureFormat.WEBP else 5) if lossy else 1)
    if not lossy:
        assert difference.max() <= 1
