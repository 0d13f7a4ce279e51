"""GET /models: what can be asked for."""

from contextlib import suppress
from itertools import groupby
from typing import Self

from fastapi import APIRouter

from service.errors import MODELS_UNAVAILABLE
from service.problems import problem_responses
from service.schemas import WireModel
from sr_models.manifest import (
    AUTO,
    Checkpoint,
    CheckpointFolder,
    ColourMode,
    DegradationName,
    ScaleNotFoundError,
    Score,
)

SCALES = (2, 3, 4)


class ModelScore(WireModel):
    """A mean over a benchmark set."""

    benchmark: str
    """Set5, Set14 or B100."""
    psnr_db: float
    """Peak signal-to-noise ratio on luma, in dB."""
    ssim: float
    """Structural similarity on luma, at most 1."""
    degradation: DegradationName
    """How the set was reduced: `bicubic` as the field's tables do, `gaussian` blur, or `photo` for what pictures from the web suffer."""
    rgb_psnr_db: float | None
    """Peak signal-to-noise ratio over the three colours, in dB; null where it was not measured."""
    lr_psnr_db: float | None
    """How well a result, reduced again, matches what it came from, in dB; null where it was not measured."""
    st_lpips: float | None
    """Perceptual distance by shift-tolerant LPIPS, at least 0: less looks more alike; null where it was not measured."""

    @classmethod
    def from_score(cls, score: Score) -> Self:
        """A manifest's score as clients see it."""
        return cls(
            benchmark=score.benchmark,
            psnr_db=score.psnr_db,
            ssim=score.ssim,
            degradation=score.degradation,
            rgb_psnr_db=score.rgb_psnr_db,
            lr_psnr_db=score.lr_psnr_db,
            st_lpips=score.st_lpips,
        )


class ModelVersion(WireModel):
    """One published checkpoint."""

    checkpoint: str
    """`<family>-x<scale>@<version>`, as a job's result names it."""
    scale: int
    """How many times as wide and high its results are."""
    version: int
    """Asked for as `<family>@<version>`."""
    production: bool
    """Whether the bare family name means this version."""
    colour: ColourMode
    """What the network sees: `luma` (chroma is enlarged by bicubic) or `rgb`."""
    parameters: int
    """Trained numbers."""
    bytes: int
    """Length of the weights file."""
    sha256: str
    """Of the weights file, in hex."""
    licence: str
    """Of the weights, as an SPDX identifier."""
    scores: list[ModelScore]
    """Measured when it was released."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, production: bool) -> Self:
        """A checkpoint as clients see it."""
        manifest = checkpoint.manifest
        return cls(
            checkpoint=manifest.label,
            scale=manifest.scale,
            version=manifest.version,
            production=production,
            colour=manifest.colour,
            parameters=manifest.parameters,
            bytes=manifest.weights_bytes,
            sha256=manifest.weights_sha256,
            licence=manifest.licence,
            scores=[ModelScore.from_score(score) for score in manifest.scores],
        )


class ModelFamily(WireModel):
    """What the option `model` names."""

    model: str
    """The family."""
    scales: list[int]
    """Those it can be asked for at."""
    versions: list[ModelVersion]
    """Every published one, by scale, then version."""


class Models(WireModel):
    """The models that are published."""

    auto: dict[str, str]
    """For each scale, the checkpoint that `auto` means now."""
    models: list[ModelFamily]
    """By name."""


def models_router(checkpoints: CheckpointFolder) -> APIRouter:
    """The route that lists the published models."""
    router = APIRouter(tags=["models"])

    @router.get(
        "/models",
        operation_id="listModels",
        summary="The published models",
        responses=problem_responses(MODELS_UNAVAILABLE),
    )
    def list_models() -> Models:
        """Families with their scales, versions and measured scores, and what `auto` means at each scale."""
        return _listed(checkpoints)

    return router


def _listed(checkpoints: CheckpointFolder) -> Models:
    in_production = {checkpoint.manifest.label for checkpoint in checkpoints.production()}
    versions = sorted(
        checkpoints.checkpoints(), key=lambda c: (c.manifest.family, c.manifest.scale, c.manifest.version)
    )
    families = []
    for family, group in groupby(versions, key=lambda c: c.manifest.family):
        of_family = [
            ModelVersion.from_checkpoint(c, production=c.manifest.label in in_production) for c in group
        ]
        scales = sorted({version.scale for version in of_family})
        families.append(ModelFamily(model=family, scales=scales, versions=of_family))
    auto = {}
    for scale in SCALES:
        with suppress(ScaleNotFoundError):
            auto[str(scale)] = checkpoints.find(AUTO, scale).manifest.label
    return Models(auto=auto, models=families)
