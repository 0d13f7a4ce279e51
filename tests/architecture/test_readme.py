"""The README states what the manifests state."""

from pathlib import Path

from sr_models.manifest import CheckpointFolder, Manifest, default_checkpoint_folder

README = Path(__file__).parents[2] / "README.md"


def row(manifest: Manifest) -> str:
    """A published version's line in the README's table of models."""
    scores = {
        score.benchmark: f"{score.psnr_db:.2f} / {score.ssim:.4f}"
        for score in manifest.scores
        if score.degradation == "bicubic"
    }
    return (
        f"| {manifest.family} | {manifest.scale} | {scores['Set5']} | {scores['Set14']} | {scores['B100']} |"
    )


def rows() -> list[str]:
    published = [c.manifest for c in CheckpointFolder(default_checkpoint_folder()).production()]
    return [row(m) for m in sorted(published, key=lambda m: (m.scale, m.family))]


def test_the_table_of_models_is_what_was_measured() -> None:
    assert "\n".join(rows()) in README.read_text("utf-8")
