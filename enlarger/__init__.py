"""Pictures 2, 3 or 4 times as large: from Python, the command line, or a service on one machine."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enlarger.local import upscale, upscale_file

__all__ = ["upscale", "upscale_file"]


def __getattr__(name: str) -> Any:
    # These need torch, which takes seconds and hundreds of megabytes to import. The command line, the
    # supervisor of `enlarger up` and the gateway's image import this package and must do without.
    if name in __all__:
        return getattr(import_module("enlarger.local"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
