"""Published versions for tests: real files in a real folder, with weights that nobody trained."""

from pathlib import Path

import torch

from sr_models.catalog import build
from sr_models.checkpoint import write
from sr_models.manifest import MANIFEST_FILE, Checkpoint, Manifest, Score


def publish(
    folder: Path, family: str = "espcn", scale: int = 2, version: int = 1, psnr_db: float | None = None
) -> Checkpoint:
    """Write `<folder>/<family>-x<scale>/<version>/` with seeded weights of the network of that name."""
    torch.manual_seed(version)
    network = build(family, {"scale": scale})
    place = folder / f"{family}-x{scale}" / str(version)
    place.mkdir(parents=True)
    sha256, size_bytes = write(place, network)
    radius = network.receptive_radius_px
    assert isinstance(radius, int)
    manifest = Manifest(
        family=family,
        scale=scale,
        version=version,
        architecture=family,
        hyperparameters={"scale": scale},
        colour="rgb" if family == "bicubic" else "luma",
        weights_sha256=sha256,
        weights_bytes=size_bytes,
        receptive_radius_px=radius,
        halo_px=radius,
        parameters=sum(p.numel() for p in network.parameters()),
        licence="Apache-2.0",
        scores=() if psnr_db is None else (Score("Set5", psnr_db, 0.9, "made up for a test"),),
    )
    (place / MANIFEST_FILE).write_text(manifest.to_json(), "utf-8")
    return Checkpoint(manifest, place)
