"""Which version of the software trained a checkpoint."""

import subprocess
from pathlib import Path

_CHECKOUT = Path(__file__).parent.parent


def current_commit() -> str:
    """The checkout's commit, with `-dirty` where networks or training differ from it; `unknown` outside a checkout."""
    if not (_CHECKOUT / ".git").exists():  # installed, perhaps below another project's checkout
        return "unknown"
    try:
        commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--", "sr_models", "training")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changes else commit


def _git(*arguments: str) -> str:
    finished = subprocess.run(["git", *arguments], cwd=_CHECKOUT, capture_output=True, text=True, check=True)
    return finished.stdout.strip()
