"""The gateway's settings, from environment variables that begin with ENLARGER_."""

from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.auth import AuthMode
from service.limits import Allowance, Limits
from service.outbound import Network
from service.webhooks import checked_secret
from sr_models.manifest import default_checkpoint_folder
from worker.contract.logs import LogFormat


def _words(sent: object) -> object:
    """A list as people write it into a variable: with commas or spaces."""
    return sent.replace(",", " ").split() if isinstance(sent, str) else sent


WebhookSecrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(checked_secret)], ...], NoDecode, BeforeValidator(_words)
]
NetworkList = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """What `create_app` needs."""

    model_config = SettingsConfigDict(
        env_prefix="ENLARGER_",
        frozen=True,
        use_attribute_docstrings=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # an error is logged, and the input may be a secret
    )

    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        validation_alias=AliasChoices("ENLARGER_REDIS_URL", "REDIS_URL"),
        repr=False,  # it may hold a password
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
    max_queued_pixels: PositiveInt = Limits.max_queued_pixels
    """The same for the input pixels of those jobs, an ensemble's eight times: a thousand of the largest pictures are 50 000 megapixels."""
    max_queue_age_s: PositiveFloat = Limits.max_queue_age_s
    """The same for the seconds that the first interactive job has waited: where no worker takes it, another would wait as long."""
    max_uploads: PositiveInt = Limits.max_uploads
    """Uploads that each process of a gateway receives at once, each with up to 1 MiB in memory and the rest in a temporary file (TMPDIR)."""
    max_batch_bytes: PositiveInt = Limits.max_batch_bytes
    """Length of all pictures of one batch together, in bytes."""
    upload_idle_timeout_s: PositiveFloat = Limits.upload_idle_timeout_s
    """Seconds that an upload may stand still, so that half-open connections do not pile up."""
    min_upload_bytes_per_s: PositiveInt = Limits.min_upload_bytes_per_s
    """Bytes a second that an upload has to bring on average, once it is half a minute old: a byte now and then does not keep it alive."""
    job_timeout_s: PositiveInt = 3600
    """Seconds that a job may run before it is given up."""
    retention_s: PositiveInt = 24 * 3600
    """Seconds that a job that has ended, with its pictures, is kept."""
    auth: AuthMode = AuthMode.AUTO
    """Who needs an API key: `auto` (everybody, except on a loopback address while there is no key), `required` (everybody), `none` (nobody)."""
    quota_requests_per_minute: PositiveInt | None = None
    """Requests a minute for each key, polls too; no limit unless set. All callers without a key count as one."""
    quota_queued_jobs: PositiveInt | None = None
    """Jobs of each key that wait at once; no limit unless set."""
    quota_megapixels_per_day: PositiveInt | None = None
    """Megapixels of pictures a day for each key, an ensemble eight times; no limit unless set. `enlarger keys create` sets a key's own."""

    webhook_secret: WebhookSecrets = ()
    """What webhooks are signed with, as `whsec_` and the base64 of 24 to 64 random bytes; without it none are sent. While a new one takes the place of
    an old one: both, with a space between."""
    webhook_allow: NetworkList = ()
    """Networks that webhooks may go to though they are not public, such as `127.0.0.1/32,10.1.0.0/16`: where receivers of your own are."""

    presigned_results: bool = False
    """Whether results are fetched from S3 itself: GET /jobs/{id}/result redirects (303) to a URL that is good for minutes. Only where clients can reach S3."""
    image_urls: bool = False
    """Whether pictures may be named by URL (`image_url`): the gateway then fetches from the public internet what strangers name."""
    image_urls_allow: NetworkList = ()
    """Networks that such pictures may come from though they are not public, such as `10.1.0.0/16`."""

    @property
    def limits(self) -> Limits:
        """The limits among the settings."""
        return Limits(
            max_upload_bytes=self.max_upload_bytes,
            max_input_pixels=self.max_input_pixels,
            max_output_pixels=self.max_output_pixels,
            max_queued_jobs=self.max_queued_jobs,
            max_queued_pixels=self.max_queued_pixels,
            max_queue_age_s=self.max_queue_age_s,
            max_uploads=self.max_uploads,
            max_batch_bytes=self.max_batch_bytes,
            upload_idle_timeout_s=self.upload_idle_timeout_s,
            min_upload_bytes_per_s=self.min_upload_bytes_per_s,
        )

    @property
    def allowance(self) -> Allowance:
        """The quotas among the settings."""
        return Allowance(
            self.quota_requests_per_minute, self.quota_queued_jobs, self.quota_megapixels_per_day
        )


class ServerSettings(BaseSettings):
    """What `python -m service` needs besides."""

    model_config = SettingsConfigDict(env_prefix="ENLARGER_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """The address to listen on: this machine only, unless told otherwise. On any other address `auto` asks everybody for an API key."""
    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on."""
    gateway_processes: int = Field(default=1, ge=1, le=64)
    """Processes that serve requests. One uses one core; two took 1.9 times as many uploads a second on two cores."""
    graceful_shutdown_s: int = Field(default=8, ge=0)
    """Seconds that requests under way get to end after SIGTERM."""
    log_format: LogFormat = LogFormat.TEXT
    """`text`, or `json`: one object a line."""
