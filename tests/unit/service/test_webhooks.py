import base64
import logging
import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook

from service.errors import ProblemError
from service.outbound import public_client
from service.settings import Settings
from service.webhooks import JobEnded, Webhooks, body_of
from tests.courier_thread import WEBHOOKS
from tests.samples import sample_job, sample_result
from tests.unit.service.conftest import World, client_with
from tests.unit.service.pictures import encoded
from tests.webhook_receiver import SECRET
from worker.contract.jobs import JobRecord, JobStatus

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[3] / "docs" / "webhooks.md"
ANYWHERE = Webhooks((SecretStr(SECRET),))


async def post(client: httpx.AsyncClient, url: str) -> httpx.Response:
    return await client.post("/upscale", files={"image": encoded("PNG")}, data={"webhook_url": url})


async def test_an_accepted_job_knows_its_webhook_and_nobody_else_is_told(world: World) -> None:
    url = "https://example.org/hook?token=t0ken"
    async with client_with(world, ANYWHERE) as client:
        response = await post(client, url)
        assert response.status_code == 202
        job_id = response.json()["id"]
        shown = (await client.get(f"/jobs/{job_id}")).text
    record = world.queue.find(job_id)
    assert record is not None
    assert record.job.webhook_url == url
    assert "t0ken" not in response.text + shown
    assert world.queue.statistics().webhooks == 1


async def test_a_job_without_one_is_not_expected(world: World) -> None:
    async with client_with(world, ANYWHERE) as client:
        assert (await post(client, "")).status_code == 202
    assert world.queue.statistics().webhooks == 0


async def test_a_refused_url_leaves_no_job_and_no_picture(world: World) -> None:
    async with client_with(world, ANYWHERE) as client:
        response = await post(client, "http://10.0.0.1/hook?token=t0ken")
    assert (response.status_code, response.json()["code"]) == (400, "webhook_url_refused")
    assert "t0ken" not in response.text
    assert world.blobs.keys("jobs/") == []
    assert world.queue.waiting() == world.queue.statistics().webhooks == 0


async def test_without_a_secret_there_are_none(world: World) -> None:
    response = await post(world.client, "https://example.org/")
    assert (response.status_code, response.json()["code"]) == (400, "webhooks_off")


async def test_a_url_that_is_too_long_is_no_url(world: World) -> None:
    async with client_with(world, ANYWHERE) as client:
        response = await post(client, "https://example.org/" + "a" * 2048)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/hook",
        "http://example.org:8080/",
        "https://1.1.1.1/",
        "https://bücher.example/ä?ö#ü",
    ],
)
def test_a_public_url_is_taken(url: str) -> None:
    ANYWHERE.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "/hook",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "https://user:secret@example.org/",
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:6379/",
        "http://[::ffff:10.0.0.1]/",
        "http://[fe80::1%25eth0]/",
        "http://example.org:99999/",
        "http://example.org/\x00",
        "http://exa mple.org/",
        "http://[::1/",
        "https://" + "a" * 300 + ".example/",
    ],
)
def test_another_is_refused(url: str) -> None:
    with pytest.raises(ProblemError) as refused:
        ANYWHERE.check(url)
    assert refused.value.kind.code == "webhook_url_refused"
    assert "secret" not in refused.value.detail


def test_an_operators_own_network_is_allowed() -> None:
    webhooks = replace(ANYWHERE, allowed=(ip_network("10.1.0.0/16"),))
    webhooks.check("http://10.1.2.3/")
    with pytest.raises(ProblemError):
        webhooks.check("http://10.2.0.1/")


def ended() -> JobRecord:
    return JobRecord(
        replace(sample_job("a"), created_at=1.7e9),
        JobStatus.SUCCEEDED,
        1.0,
        1.7e9,
        1.7e9 + 0.25,
        1.8e9,
        result=sample_result(),
    )


def test_what_is_sent_is_the_same_each_time_and_is_signed() -> None:
    body = body_of(ended())
    assert body == body_of(ended())
    headers = ANYWHERE.headers(ended(), body)
    payload = Webhook(SECRET).verify(body, headers)
    assert (payload["type"], payload["timestamp"]) == ("job.succeeded", "2023-11-14T22:13:20.250000Z")
    assert payload["data"]["links"]["self"] == "/jobs/a"
    assert headers["webhook-id"] == "msg_a_succeeded"
    JobEnded.model_validate_json(body)


def test_while_a_secret_is_replaced_both_verify() -> None:
    other = "whsec_" + base64.b64encode(bytes(range(24))).decode()
    headers = Webhooks((SecretStr(SECRET), SecretStr(other))).headers(ended(), "{}")
    for secret in (SECRET, other):
        Webhook(secret).verify("{}", headers)


def test_settings_read_secrets_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Settings().webhook_secret, Settings().webhook_allow) == ((), ())
    monkeypatch.setenv("ENLARGER_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("ENLARGER_WEBHOOK_ALLOW", "127.0.0.0/8, fd00::/8")
    settings = Settings()
    assert [secret.get_secret_value() for secret in settings.webhook_secret] == [SECRET]
    assert settings.webhook_allow == (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    assert SECRET[6:] not in repr(settings) + repr(WEBHOOKS) + str(settings.model_dump())


@pytest.mark.parametrize(
    "secret",
    [
        "tell-nobody",
        "whsec_tell-nobody",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_ä",
        SECRET[6:],
        f"x{SECRET}",
        f"{SECRET} tell-nobody",
    ],
)
def test_a_bad_secret_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("ENLARGER_WEBHOOK_SECRET", secret)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert "whsec_ and the base64 of 24 to 64 random bytes" in str(refused.value)
    assert secret not in str(refused.value)
    assert "tell-nobody" not in str(refused.value) + repr(refused.value)


def test_the_pages_own_lines_verify() -> None:
    (code,) = re.findall(r"```python\n(import base64.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    headers = ANYWHERE.headers(ended(), "{}")
    assert namespace["genuine"](SECRET, b"{}", headers)
    assert not namespace["genuine"](SECRET, b"{ }", headers)
    assert not namespace["genuine"](SECRET, b"{}", headers | {"webhook-timestamp": "1700000000"})


async def test_the_clients_library_does_not_log_urls(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with public_client(timeout_s=1.0):
        assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)


async def test_the_request_is_documented(world: World) -> None:
    document: dict[str, Any] = (await world.client.get("/openapi.json")).json()
    operation = document["webhooks"]["jobEnded"]["post"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {"webhook-id", "webhook-timestamp", "webhook-signature"}
    assert "JobEnded" in document["components"]["schemas"]
