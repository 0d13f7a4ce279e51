"""The worker's settings, read once from ENLARGER_* environment variables."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from sr_models.manifest import default_checkpoint_folder
from sr_models.upscaler import DEFAULT_TILE_PX
from worker.contract.logs import LogFormat
from worker.device import Precision


class WorkerSettings(BaseSettings):
    """What a worker needs to know."""

    model_config = SettingsConfigDict(env_prefix="ENLARGER_", frozen=True, use_attribute_docstrings=True)

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("ENLARGER_REDIS_URL", "REDIS_URL"),
        repr=False,  # it may hold a password
    )
    """Redis or Valkey: redis://, rediss:// or unix://. REDIS_URL is read too."""

    blobs_url: str = "file:///var/lib/enlarger/blobs"
    """Where pictures lie: file:///folder or s3://bucket/prefix. The gateway's must be the same."""

    checkpoints: Path = Field(default_factory=default_checkpoint_folder)
    """The folder of published checkpoints. The gateway's must list the same versions."""

    device: str = "auto"
    """auto (the first GPU, or else the CPU), cpu, cuda, cuda:N or mps. A worker has one device."""

    precision: Precision = Precision.AUTO
    """auto, float32, bfloat16 or float16; see worker.device.Precision."""

    threads: int = Field(default=0, ge=0)
    """CPU threads of a forward pass; 0 measures at start how many pay; see worker.device.choose_threads."""

    tile_px: int = Field(default=DEFAULT_TILE_PX, ge=32)
    """Side of a tile in LR pixels; see sr_models.upscaler.DEFAULT_TILE_PX for the measurement."""

    batch_px: int = Field(default=0, ge=0)
    """LR pixels in one forward pass; 0 measures for each model what keeps the device busy: see worker.pass_budget."""

    max_jobs_in_flight: int = Field(default=8, ge=1)
    """Jobs that are decoded, enlarged or encoded at once."""

    max_bytes_in_flight: int = Field(default=2 << 30, ge=1 << 20)
    """Bytes of decoded pictures and canvases at once; a job that is larger alone runs alone."""

    decode_timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that decoding one picture may take; 50 megapixels take one to four. Whoever goes beyond fails with `decoder_failed`."""

    decode_memory_bytes: int = Field(default=2 << 30, ge=512 << 20)
    """What each process that decodes may map, its own 170 MB included. By default enough for any picture of 50 megapixels, the most
    that a gateway lets through by default."""

    lease_s: int = Field(default=30, ge=4)
    """Seconds without a heartbeat after which a worker's jobs are given to others."""

    retention_s: int = Field(default=24 * 3600, ge=60)
    """Seconds that results are kept after a job ended. The gateway's must be the same."""

    keep_inputs: bool = False
    """Keep uploads as long as results. By default an upload is erased when its job has ended."""

    log_format: LogFormat = LogFormat.TEXT
    """text, or json: one object a line."""

    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Where Prometheus finds this worker's metrics (docs/metrics.md); 0 is nowhere."""

    metrics_address: str = "127.0.0.1"
    """The address for that: this machine only, unless told otherwise."""
