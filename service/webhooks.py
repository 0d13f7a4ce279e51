"""Webhooks by the Standard Webhooks specification: which URLs are taken, and what is sent to them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from ipaddress import ip_address
from typing import Annotated, Literal

import httpx
from fastapi import APIRouter, Header, Response
from pydantic import SecretStr
from standardwebhooks import Webhook

from service.errors import WEBHOOK_URL_REFUSED, WEBHOOKS_OFF, ProblemError
from service.outbound import AddressRefusedError, Network, check_url, may_be_asked
from service.schemas import Job, WireModel
from worker.contract.jobs import JobRecord

SECRET_PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)
"""The specification's bounds."""

PORTS = {None, *range(1, 1 << 16)}
HOSTNAME = re.compile(r"[A-Za-z0-9._-]{1,253}")

USER_AGENT = f"Enlarger/{version('enlarger')}"


def checked_secret(secret: SecretStr) -> SecretStr:
    """The secret, if it is one. Raises ValueError, which does not show it."""
    text = secret.get_secret_value()
    try:
        length = len(base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True))
    except ValueError:  # binascii's too
        length = 0
    if not text.startswith(SECRET_PREFIX) or length not in SECRET_BYTES:
        raise ValueError(
            "a webhook secret is whsec_ and the base64 of 24 to 64 random bytes, as from: "
            "python -c 'import base64, os; print(\"whsec_\" + base64.b64encode(os.urandom(32)).decode())'"
        )
    return secret


class JobEnded(WireModel):
    """What is sent to a job's `webhook_url` when it has ended."""

    type: Literal["job.succeeded", "job.failed", "job.canceled"]
    """`job.` and the job's status."""
    timestamp: datetime
    """When it ended (RFC 3339, UTC)."""
    data: Job
    """The job, as GET /jobs/{id} gives it."""


@dataclass(frozen=True)
class Webhooks:
    """The operator's terms for webhooks."""

    secrets: tuple[SecretStr, ...] = ()
    """What they are signed with; none are sent where there is none."""
    allowed: tuple[Network, ...] = ()
    """Networks that they may go to though they are not public."""

    def check(self, url: str | None) -> None:
        """Raises ProblemError where a caller may not name that URL. Names are resolved only when something is sent."""
        if url is None:
            return
        if not self.secrets:
            raise ProblemError(WEBHOOKS_OFF)
        try:
            parsed = httpx.URL(url)
            check_url(parsed)
        except httpx.InvalidURL as error:
            raise ProblemError(WEBHOOK_URL_REFUSED) from error
        except AddressRefusedError as error:
            raise ProblemError(WEBHOOK_URL_REFUSED, str(error)) from error
        host = parsed.raw_host.decode("ascii")
        try:
            address = ip_address(host)
        except ValueError:
            address = None
        if parsed.port not in PORTS or (address is None and not HOSTNAME.fullmatch(host)):
            raise ProblemError(WEBHOOK_URL_REFUSED)
        if address and not may_be_asked(address, self.allowed):
            raise ProblemError(WEBHOOK_URL_REFUSED, "The URL's address is not on the public internet.")

    def headers(self, record: JobRecord, body: str) -> dict[str, str]:
        """What goes with the body now. The id is the same at each attempt, the timestamp is the attempt's."""
        moment = datetime.now(UTC)
        message_id = f"msg_{record.job.id}_{record.status}"
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": " ".join(self._signatures(message_id, moment, body)),
        }

    def _signatures(self, message_id: str, moment: datetime, body: str) -> Iterable[str]:
        for secret in self.secrets:
            yield Webhook(secret.get_secret_value()).sign(message_id, moment, body)


NO_WEBHOOKS = Webhooks()


def webhook_documentation() -> APIRouter:
    """The request that receivers get, for the OpenAPI document."""
    router = APIRouter(tags=["jobs"])

    @router.post(
        "jobEnded",
        operation_id="jobEnded",
        summary="A job has ended",
        status_code=204,
        response_class=Response,
        response_description="Any 2xx: it was received.",
        responses={"4XX": {"description": "It is sent again later; after a 410 it is not."}},
    )
    def job_ended(
        body: JobEnded,
        webhook_id: Annotated[str, Header(description="The same at each attempt.")],
        webhook_timestamp: Annotated[int, Header(description="Of the attempt, in seconds since the epoch.")],
        webhook_signature: Annotated[
            str, Header(description="`v1,` and the signature; several with spaces.")
        ],
    ) -> None:
        """Sent to the job's `webhook_url`, by the Standard Webhooks specification; any 2xx is success."""

    return router


def body_of(record: JobRecord) -> str:
    """What is sent about a job that has ended."""
    assert record.ended_at is not None
    job = Job.from_record(record, root_path="")
    return JobEnded.model_validate(
        {"type": f"job.{record.status}", "timestamp": job.ended_at, "data": job}
    ).model_dump_json(by_alias=True)
