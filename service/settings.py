"""The gateway's settings, from environment variables that begin with ENLARGER_."""

from pathlib import Path

from pydantic import AliasChoices, Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.limits import Limits
from sr_models.manifest import default_checkpoint_folder


class Settings(BaseSettings):
    """What `create_app` needs."""

    model_config = SettingsConfigDict(
        env_prefix="ENLARGER_", frozen=True, use_attribute_docstrings=True, populate_by_name=True
    )

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0", validation_alias=AliasChoices("ENLARGER_REDIS_URL", "REDIS_URL")
    )
    """Redis or Valkey, as `redis://`, `rediss://` or `unix://`; plain REDIS_URL is read too. The workers' must be the same."""
    blobs_url: str = "file:///var/lib/enlarger/blobs"
    """Where pictures lie: `file:///folder` or `s3://bucket/prefix`. The workers' must be the same."""
    checkpoints: Path = Field(default_factory=default_checkpoint_folder)
    """The folder of published models; those that came with this software by default."""
    max_upload_bytes: PositiveInt = Limits.max_upload_bytes
    """Length of a picture as it is uploaded, in bytes. A 50-megapixel JPEG has about 20 MiB."""
    max_input_pixels: PositiveInt = Limits.max_input_pixels
    """Width times height of a picture: a tiny file can hold a huge one, which costs a worker memory."""
    max_output_pixels: PositiveInt = Limits.max_output_pixels
    """Width times height of a result; 200 million are 600 MB in the worker's memory before encoding."""
    max_queued_jobs: PositiveInt = Limits.max_queued_jobs
    """Jobs that wait for a worker: beyond that a client hears at once that it must come back later."""
    upload_idle_timeout_s: PositiveFloat = Limits.upload_idle_timeout_s
    """Seconds that an upload may stand still, so that half-open connections do not pile up."""
    job_timeout_s: PositiveInt = 3600
    """Seconds that a job may run before it is given up."""
    retention_s: PositiveInt = 24 * 3600
    """Seconds that a job that has ended, with its pictures, is kept."""

    @property
    def limits(self) -> Limits:
        """The limits among the settings."""
        return Limits(
            max_upload_bytes=self.max_upload_bytes,
            max_input_pixels=self.max_input_pixels,
            max_output_pixels=self.max_output_pixels,
            max_queued_jobs=self.max_queued_jobs,
            upload_idle_timeout_s=self.upload_idle_timeout_s,
        )


class ServerSettings(BaseSettings):
    """What `python -m service` needs besides."""

    model_config = SettingsConfigDict(env_prefix="ENLARGER_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """The address to listen on: this machine only, unless told otherwise, since nobody is asked for a password."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on."""
    graceful_shutdown_s: int = Field(default=8, ge=0)
    """Seconds that requests under way get to end after SIGTERM."""
