"""What a checkpoint says of itself, and the folder that checkpoints are published in.

No torch, so that every process (the gateway has none) can read it.
A version is `<folder>/<name>/<version>/` with `model.safetensors` and `manifest.json`, the layout of
Triton's model repository; `<folder>/aliases.json` says which version of a name is in production
(`sr_models.aliases`). Without an entry the highest version is.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from sr_models.aliases import ALIASES_FILE, Alias, AliasesError, Version, read

MANIFEST_FILE = "manifest.json"
WEIGHTS_FILE = "model.safetensors"
FAMILY = r"[a-z0-9][a-z0-9-]*"
NAME = re.compile(FAMILY + "-x[234]")
"""A name's folder: `<family>-x<scale>`."""
VERSION = re.compile(r"[1-9][0-9]{0,8}")
"""A version's folder."""
AUTO = "auto"
"""The model name that lets the service choose the family."""
AUTO_MAX_PARAMETERS = 5_000_000
"""`auto` never takes a larger network, whose seconds a megapixel on a CPU nobody would expect: see docs/models.md."""
AUTO_MARGIN_DB = 0.1
"""`auto` takes the smallest of the networks that are worse than the best by less: a difference that nobody sees."""

ColourMode = Literal["luma", "rgb"]
DegradationName = Literal["bicubic", "gaussian", "photo"]

Count = Annotated[int, Field(ge=0, lt=2**53)]
Radius = Annotated[int, Field(ge=0, le=1024)]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""How a file is read: what its fields mean is for its author to say, and not for us to guess."""


class ManifestError(Exception):
    """A checkpoint's manifest cannot be used: publish the version again with `python -m training release`."""


class ModelNotFoundError(LookupError):
    """No published checkpoint answers to that model and scale: see GET /models for those that do."""


class ScaleNotFoundError(ModelNotFoundError):
    """The model is published, but not at that scale: see GET /models for its scales."""


@with_config(STRICT)
@dataclass(frozen=True)
class Score:
    """The mean over a benchmark set, by the protocol named in `protocol`. An optional measure is None where it was not taken."""

    benchmark: str
    """The set's name: Set5, Set14 or B100."""
    psnr_db: float
    """Peak signal-to-noise ratio on luma, in dB."""
    ssim: float
    """Structural similarity on luma, at most 1."""
    protocol: str
    """How LR was made and what was compared."""
    degradation: DegradationName = "bicubic"
    """How LR was made, for programs: a set is scored once for each degradation."""
    rgb_psnr_db: float | None = None
    """Peak signal-to-noise ratio over the three colours, in dB."""
    lr_psnr_db: float | None = None
    """LR-consistency: PSNR over the three colours, in dB, of the result reduced again against the LR that it came from."""
    st_lpips: float | None = None
    """Perceptual distance by shift-tolerant LPIPS (alex), at least 0: less looks more alike."""
    lpips: float | None = None
    """Perceptual distance by LPIPS (alex, version 0.1), at least 0: less looks more alike."""


@with_config(STRICT)
@dataclass(frozen=True)
class Manifest:
    """One published version of a checkpoint."""

    family: Annotated[str, Field(pattern=f"^{FAMILY}$")]
    """What a user asks for: espcn, bicubic, …"""
    scale: Annotated[int, Field(ge=2, le=4)]
    """How many times larger the result is: 2, 3 or 4."""
    version: Version
    """Counts from 1; never reused."""
    architecture: str
    """The network's name in `sr_models.catalog`."""
    hyperparameters: Mapping[str, Any]
    """The network's constructor arguments."""
    colour: ColourMode
    """What the network sees: `luma` (chroma is enlarged by bicubic) or `rgb`."""
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the weights file, in hex."""
    weights_bytes: Count
    """Size of the weights file."""
    receptive_radius_px: Radius
    """LR pixels on each side that an output pixel can depend on."""
    halo_px: Radius
    """LR pixels to cut off each side of a tile: measured, at most `receptive_radius_px`."""
    parameters: Count
    """Trained numbers in the network."""
    licence: str
    """The weights' licence, as an SPDX identifier."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Recipe, commit, data and length of the run that made the weights; empty if nothing was trained."""
    scores: tuple[Score, ...] = ()
    """Measured when the version was released."""
    schema_version: Literal[1] = 1
    """The form of this file."""

    @property
    def name(self) -> str:
        """`<family>-x<scale>`, the checkpoint's folder."""
        return f"{self.family}-x{self.scale}"

    @property
    def label(self) -> str:
        """`<family>-x<scale>@<version>`, which names these weights for ever."""
        return f"{self.name}@{self.version}"

    def psnr_db(self, benchmark: str) -> float | None:
        """The luma PSNR on a benchmark set reduced by bicubic, as the field's tables state it; None if it was not scored so."""
        bicubic = (s for s in self.scores if s.degradation == "bicubic")
        return next((s.psnr_db for s in bicubic if s.benchmark == benchmark), None)

    def to_json(self) -> str:
        """The manifest as it is written to `manifest.json`. Raises ManifestError for infinity and NaN, which JSON has not."""
        try:
            return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except ValueError as error:
            raise ManifestError(f"not a manifest: {error}") from error

    @staticmethod
    def from_json(text: str | bytes) -> "Manifest":
        """Read what :meth:`to_json` wrote. Raises ManifestError, which names the field, on anything else."""
        try:
            manifest = _MANIFEST.validate_json(text)
        except ValidationError as error:
            # Of another schema the version says more than whatever else is new.
            first = min(error.errors(), key=lambda wrong: wrong["loc"] != ("schema_version",))
            raise ManifestError(
                f"not a manifest: {'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from error
        manifest.to_json()  # infinity could still be hidden in what may be anything
        return manifest


_MANIFEST = TypeAdapter(Manifest)


@dataclass(frozen=True)
class Checkpoint:
    """A published version and where it lies."""

    manifest: Manifest
    folder: Path

    @property
    def weights_path(self) -> Path:
        """The weights file, not yet verified: `sr_models.checkpoint.load` does that."""
        return self.folder / WEIGHTS_FILE


def default_checkpoint_folder() -> Path:
    """The published checkpoints that came with this software: inside the installed package, or beside it in a checkout."""
    packaged = Path(__file__).parent / "checkpoints"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "checkpoints"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class CheckpointFolder:
    """A folder of published checkpoints. Reads it at each call, so that a new version is seen at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def versions(self) -> dict[str, list[int]]:
        """The versions of each name, both in order; no manifest is read."""
        found = {name: self._numbers(name) for name in _entries(self.path) if not name.startswith(".")}
        return {name: found[name] for name in sorted(found) if found[name]}

    def version(self, name: str, version: int) -> Checkpoint:
        """That version. Raises ManifestError if its manifest is unreadable or names another place than its own."""
        return self._read(self.path / name / str(version))

    def checkpoints(self) -> list[Checkpoint]:
        """Every version of every name, ordered by name, then version. Raises ManifestError as `version` does."""
        return [
            self.version(name, version) for name, of_name in self.versions().items() for version in of_name
        ]

    def production(self, family: str | None = None) -> list[Checkpoint]:
        """The version in production of each name, or of each name of one family, ordered by name.

        No other version is read: what is wrong with one does not concern whoever is served.
        Raises ManifestError as `version` does.
        """
        versions = self.versions()
        aliases = self._aliases()
        return [
            self._in_production(name, published, aliases)
            for name, published in versions.items()
            if family in (None, _family_of(name))
        ]

    def production_version(self, name: str) -> int | None:
        """The number of the name's version in production; None where nothing is published, or not what the table names."""
        published = self.versions().get(name, [])
        return self._served(name, published, self._aliases())

    def named(self, label: str) -> Checkpoint:
        """`espcn-x4`: its version in production; `espcn-x4@2`: that one.

        Raises ModelNotFoundError if it is not published, ManifestError as `version` does.
        """
        name, at, version = label.partition("@")
        published = self.versions().get(name)
        if not published:
            names = ", ".join(self.versions()) or "none"
            raise ModelNotFoundError(f"no model {name!r} is published; there are: {names}")
        if not at:
            return self._in_production(name, published, self._aliases())
        if version not in map(str, published):
            there = ", ".join(f"{name}@{number}" for number in published)
            raise ModelNotFoundError(f"{label} is not published; there are: {there}")
        return self.version(name, int(version))

    def find(self, model: str, scale: int) -> Checkpoint:
        """The checkpoint that a request for `model` at `scale` means.

        `model` is a family (`espcn`: its version in production), a family with a version
        (`espcn@1`), or `auto`: of the families with at most `AUTO_MAX_PARAMETERS`, the smallest within `AUTO_MARGIN_DB` of the best
        luma PSNR on Set5 at that scale.
        Raises ModelNotFoundError, or ScaleNotFoundError where only the scale is missing.
        """
        family, _, version = model.partition("@")
        if family == AUTO and not version:
            at_scale = [
                c
                for c in self.production()
                if c.manifest.scale == scale and c.manifest.parameters <= AUTO_MAX_PARAMETERS
            ]
            if not at_scale:
                raise ScaleNotFoundError(f"no model is published at scale {scale}")
            psnr_dbs = [c.manifest.psnr_db("Set5") or 0.0 for c in at_scale]
            good = [
                c for c, db in zip(at_scale, psnr_dbs, strict=True) if db > max(psnr_dbs) - AUTO_MARGIN_DB
            ]
            return min(good, key=lambda c: c.manifest.parameters)
        of_family = self._numbered(family, version) if version else self.production(family)
        if not of_family:
            raise ModelNotFoundError(f"no model {model!r} is published")
        for checkpoint in of_family:
            if checkpoint.manifest.scale == scale:
                return checkpoint
        scales = ", ".join(str(c.manifest.scale) for c in of_family)
        raise ScaleNotFoundError(f"model {model!r} is published at scale {scales}, not {scale}")

    def changed_at_ns(self) -> tuple[int, int]:
        """When a name was published, and when anything was released or promoted; not when a version was copied in by hand."""
        return _changed_at_ns(self.path), _changed_at_ns(self.path / ALIASES_FILE)

    def _numbered(self, family: str, version: str) -> list[Checkpoint]:
        """The versions of that number."""
        return [
            self.version(name, int(version))
            for name, published in self.versions().items()
            if family == _family_of(name) and version in map(str, published)
        ]

    def _in_production(self, name: str, published: list[int], aliases: Mapping[str, Alias]) -> Checkpoint:
        version = self._served(name, published, aliases)
        if version is None:
            raise ManifestError(
                f"{self.path / ALIASES_FILE} puts {name}@{aliases[name].production} in production, which is not published: "
                "promote another version with `enlarger models promote`"
            )
        return self.version(name, version)

    def _served(self, name: str, published: list[int], aliases: Mapping[str, Alias]) -> int | None:
        """The version in production, `published` having been listed before `aliases` was read."""
        # In this order releases and promotions may run meanwhile. A release writes an entry before its version can be
        # seen: where none was read, the list is from before, and its highest version is right. An entry may name a
        # version that is newer than the list, so the folder itself is asked for that one.
        if name not in aliases:
            return max(published, default=None)
        version = aliases[name].production
        return version if self._is_published(name, version) else None

    def _is_published(self, name: str, version: int) -> bool:
        return (self.path / name / str(version) / MANIFEST_FILE).is_file()

    def _numbers(self, name: str) -> list[int]:
        """The name's versions in order."""
        numbers = [int(entry) for entry in _entries(self.path / name) if VERSION.fullmatch(entry)]
        return sorted(number for number in numbers if self._is_published(name, number))

    def _aliases(self) -> dict[str, Alias]:
        try:
            return read(self.path)
        except AliasesError as error:
            raise ManifestError(str(error)) from error

    def _read(self, folder: Path) -> Checkpoint:
        path = folder / MANIFEST_FILE
        try:
            manifest = _manifest_at(str(path), _stamp(path))
        except (OSError, ManifestError) as error:
            raise ManifestError(f"{path}: {error}") from error
        if (folder.parent.name, folder.name) != (manifest.name, str(manifest.version)):
            raise ManifestError(f"{path} describes {manifest.label}, not {folder.parent.name}@{folder.name}")
        return Checkpoint(manifest, folder)


def _changed_at_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _stamp(path: Path) -> tuple[int, int, int]:
    """Differs where a file was replaced or written to."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


@lru_cache(maxsize=4096)
def _manifest_at(path: str, stamp: tuple[int, int, int]) -> Manifest:
    """Read once for each stamp: a gateway asks for the same ones at each request, and reading one takes 0.2 ms."""
    return Manifest.from_json(Path(path).read_bytes())


def _entries(folder: Path) -> list[str]:
    """The names of what lies in the folder; none where it is no folder, not any more, or closed to us (`lost+found`)."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


def _family_of(name: str) -> str:
    """The family in `<family>-x<scale>`."""
    return name.rpartition("-x")[0]
