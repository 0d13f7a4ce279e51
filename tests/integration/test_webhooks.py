"""Webhooks from end to end: real receivers, which verify, and real couriers on one Valkey."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from redis import Redis
from rq.job import Job

from service.courier import MAX_RETRY_AFTER_S, Outcome, Pace
from tests.chaos.gateway_process import running_gateway
from tests.courier_thread import WEBHOOKS, courier_process, running_courier
from tests.eventually import eventually
from tests.hand_cranked_worker import HandCrankedWorker
from tests.samples import sample_job, sample_result
from tests.unit.service.pictures import encoded
from tests.webhook_receiver import SECRET, Receiver, running_receiver
from worker.contract.jobs import JobFailure
from worker.contract.queue import JobQueue
from worker.contract.webhooks import TAKEN_KEY, WAITING_KEY, DueWebhooks

IN_1000_S = "a date 1000 s from now"
HASTY = Pace(timeout_s=2.0, lease_s=4.0, retry_after_s=(0.1, 0.1, 0.1))


@pytest.fixture
def worker(valkey: Redis) -> Iterator[HandCrankedWorker]:
    worker = HandCrankedWorker(valkey)
    yield worker
    worker.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver
    assert receiver.refused == []


def submit(queue: JobQueue, receiver: Receiver, *job_ids: str) -> None:
    for job_id in job_ids:
        queue.submit(replace(sample_job(job_id), webhook_url=receiver.url))


def end(queue: JobQueue, receiver: Receiver, *job_ids: str) -> None:
    """Jobs that have ended, without a worker."""
    for job_id in job_ids:
        queue.submit_done(replace(sample_job(job_id), webhook_url=receiver.url), sample_result())


def nothing_waits(queue: JobQueue) -> bool:
    return queue.statistics().webhooks == 0


def wait_until_due_s(redis: Redis, job_id: str) -> float:
    due_s = redis.zscore(WAITING_KEY, job_id)
    assert isinstance(due_s, float)
    return due_s - time.time()


def test_each_end_is_told_once_as_it_comes(
    valkey_url: str, queue: JobQueue, worker: HandCrankedWorker, receiver: Receiver
) -> None:
    submit(queue, receiver, "good", "bad", "waiting", "running", "unended")
    queue.submit(sample_job("silent"))
    with running_courier(valkey_url) as outcomes:
        worker.succeed("good", sample_result())
        worker.succeed("silent", sample_result())
        worker.fail("bad", JobFailure("picture_damaged", "The picture is cut off.", retryable=False))
        queue.cancel("waiting")
        worker.start("running")
        queue.cancel("running")
        worker.let_go("running")
        eventually(lambda: outcomes[Outcome.DELIVERED] == 4)
    told = {delivery.payload["data"]["id"]: delivery for delivery in receiver.deliveries}
    assert {job_id: delivery.payload["type"] for job_id, delivery in told.items()} == {
        "good": "job.succeeded",
        "bad": "job.failed",
        "waiting": "job.canceled",
        "running": "job.canceled",
    }
    assert told["bad"].payload["data"]["error"]["code"] == "picture_damaged"
    for delivery in told.values():
        data = delivery.payload["data"]
        assert delivery.payload["timestamp"] == data["ended_at"]
        assert delivery.headers["webhook-id"] == f"msg_{data['id']}_{data['status']}"
        assert delivery.headers["Content-Type"] == "application/json"
        assert delivery.headers["User-Agent"].startswith("Enlarger/")
    assert queue.statistics().webhooks == 1  # of the job that has not ended


def test_a_job_whose_worker_was_lost_is_told(
    valkey: Redis, valkey_url: str, queue: JobQueue, worker: HandCrankedWorker, receiver: Receiver
) -> None:
    submit(queue, receiver, "a")
    valkey.lrem("rq:queue:upscale", 1, "a")
    valkey.hset(Job.key_for("a"), mapping={"status": "started", "retries_left": 0})
    valkey.zadd("rq:wip:upscale", {"a:gone": 1.0})
    with running_courier(valkey_url):
        worker._worker.clean_registries()
        eventually(lambda: receiver.deliveries)
    payload = receiver.deliveries[0].payload
    assert (payload["type"], payload["data"]["error"]["code"]) == ("job.failed", "worker_lost")
    assert payload["timestamp"] is not None


def test_an_end_that_nobody_told_of_is_found(
    monkeypatch: pytest.MonkeyPatch,
    valkey: Redis,
    valkey_url: str,
    queue: JobQueue,
    worker: HandCrankedWorker,
    receiver: Receiver,
) -> None:
    monkeypatch.setattr("service.courier.LOOK_AGAIN_S", 0.2)
    submit(queue, receiver, "a")
    worker.start("a")
    valkey.zadd(WAITING_KEY, {"a": 0.0})
    with running_courier(valkey_url):
        eventually(lambda: float(str(valkey.zscore(WAITING_KEY, "a") or 0)) > 0)
        monkeypatch.setattr("worker.rq_worker.nudge", lambda redis, job_id: None)  # it dies before it says so
        worker.succeed("a", sample_result())
        eventually(lambda: receiver.job_ids == ["a"])


def test_a_receiver_that_fails_is_asked_again_with_the_same_bytes(
    valkey_url: str, queue: JobQueue, receiver: Receiver
) -> None:
    receiver.answers += [(500, {}), (404, {}), (302, {"Location": f"{receiver.url}/elsewhere"})]
    end(queue, receiver, "a")
    with running_courier(valkey_url, HASTY) as outcomes:
        eventually(lambda: outcomes[Outcome.DELIVERED] == 1)
        assert nothing_waits(queue)
    assert outcomes == {Outcome.RETRY: 3, Outcome.DELIVERED: 1}
    assert len(receiver.deliveries) == 4
    assert {(d.path, d.body, d.headers["webhook-id"]) for d in receiver.deliveries} == {
        ("/hook", receiver.deliveries[0].body, "msg_a_succeeded")
    }, "a redirect was followed, or the bytes are others"


def test_after_the_last_attempt_it_is_given_up(valkey_url: str, queue: JobQueue, receiver: Receiver) -> None:
    receiver.answers += [(500, {})] * 9
    end(queue, receiver, "a")
    with running_courier(valkey_url, HASTY) as outcomes:
        eventually(lambda: outcomes[Outcome.GIVEN_UP] == 1)
        assert nothing_waits(queue)
    assert len(receiver.deliveries) == 1 + len(HASTY.retry_after_s)


def test_a_receiver_that_is_gone_is_left_alone(valkey_url: str, queue: JobQueue, receiver: Receiver) -> None:
    receiver.answers += [(410, {})]
    end(queue, receiver, "a")
    with running_courier(valkey_url, HASTY) as outcomes:
        eventually(lambda: outcomes[Outcome.GONE] == 1)
        assert nothing_waits(queue)
    assert len(receiver.deliveries) == 1


@pytest.mark.parametrize(
    ("status", "retry_after", "expected_s"),
    [
        (503, "100", 100.0),
        (429, "2", 5.0),  # the schedule's own wait is longer
        (503, IN_1000_S, 1000.0),
        (503, "99999999999", MAX_RETRY_AFTER_S),
        (503, "9" * 400, MAX_RETRY_AFTER_S),
        (503, "soon", 5.0),
        (503, "-1", 5.0),
        (500, "100", 5.0),
    ],
)
def test_a_receiver_says_when_to_come_again(
    valkey: Redis,
    valkey_url: str,
    queue: JobQueue,
    receiver: Receiver,
    status: int,
    retry_after: str,
    expected_s: float,
) -> None:
    if retry_after == IN_1000_S:
        retry_after = formatdate(time.time() + 1000, usegmt=True)
    receiver.answers += [(status, {"Retry-After": retry_after})]
    end(queue, receiver, "a")
    with running_courier(valkey_url) as outcomes:
        eventually(lambda: outcomes[Outcome.RETRY] == 1)
        wait_s = wait_until_due_s(valkey, "a")
    assert expected_s - 15.0 < wait_s <= expected_s * 1.1


def test_attempts_and_bytes_outlive_a_courier(
    valkey: Redis, valkey_url: str, queue: JobQueue, receiver: Receiver
) -> None:
    receiver.answers += [(500, {}), (500, {})]
    end(queue, receiver, "a")
    for wait_s in (5.0, 300.0):
        with running_courier(valkey_url) as outcomes:
            eventually(lambda: outcomes[Outcome.RETRY] == 1)
            assert wait_s - 15.0 < wait_until_due_s(valkey, "a") <= wait_s * 1.1
        valkey.zadd(WAITING_KEY, {"a": 0.0})
    with running_courier(valkey_url) as outcomes:
        eventually(lambda: outcomes[Outcome.DELIVERED] == 1)
    assert len({delivery.body for delivery in receiver.deliveries}) == 1
    assert 0 < int(str(valkey.ttl(Job.key_for("a")))) <= 1200


def test_two_couriers_deliver_each_once(valkey_url: str, queue: JobQueue, receiver: Receiver) -> None:
    job_ids = [str(number) for number in range(60)]
    with running_courier(valkey_url) as one, running_courier(valkey_url) as other:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda job_id: end(queue, receiver, job_id), job_ids))
        eventually(lambda: one[Outcome.DELIVERED] + other[Outcome.DELIVERED] == 60)
        assert nothing_waits(queue)
    assert sorted(receiver.job_ids) == sorted(job_ids)
    assert one[Outcome.DELIVERED] > 0
    assert other[Outcome.DELIVERED] > 0


def test_what_a_killed_courier_had_is_delivered_after_its_lease(
    valkey_url: str, queue: JobQueue, receiver: Receiver
) -> None:
    pace = replace(HASTY, timeout_s=30.0)
    receiver.gate.clear()
    end(queue, receiver, "a")
    courier = courier_process(valkey_url, pace)
    eventually(lambda: receiver.deliveries, 30.0)
    courier.kill()
    courier.join()
    receiver.gate.set()
    with running_courier(valkey_url, HASTY) as outcomes:
        eventually(lambda: outcomes[Outcome.DELIVERED] == 1)
    first, second = receiver.deliveries
    assert second.received_s - first.received_s > HASTY.lease_s - 1.0
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


def test_a_courier_that_was_asleep_past_its_lease_changes_nothing(valkey: Redis, queue: JobQueue) -> None:
    queue.submit_done(replace(sample_job("a"), webhook_url="https://example.org/"), sample_result())
    due = DueWebhooks(valkey)
    (slow,) = due.take(9, 0.0)
    time.sleep(0.01)
    (mine,) = due.take(9, 60.0)
    assert not due.put_back_failed(slow, 5.0, "{}")
    assert not due.strike_off(slow)
    assert due.take(9, 60.0) == []
    assert due.put_back_failed(mine, 0.0, "{}")
    time.sleep(0.01)
    (again,) = due.take(9, 60.0)
    assert (again.attempts, again.body) == (1, "{}")
    assert due.strike_off(again)
    assert not valkey.exists(WAITING_KEY, TAKEN_KEY)


def test_a_nudge_while_a_courier_has_it_does_not_give_it_to_another(valkey: Redis, queue: JobQueue) -> None:
    queue.submit_done(replace(sample_job("a"), webhook_url="https://example.org/"), sample_result())
    due = DueWebhooks(valkey)
    assert len(due.take(9, 60.0)) == 1
    due.nudge("a")
    assert due.take(9, 60.0) == []


def test_a_slow_receiver_holds_up_no_other(valkey_url: str, queue: JobQueue, receiver: Receiver) -> None:
    pace = replace(HASTY, at_once=6, at_once_each=2, timeout_s=30.0, lease_s=60.0)
    with running_receiver("127.0.0.2") as slow:
        slow.gate.clear()
        end(queue, slow, *(f"slow-{number}" for number in range(20)))
        with running_courier(valkey_url, pace) as outcomes:
            eventually(lambda: len(slow.deliveries) == 2)
            end(queue, receiver, *map(str, range(20)))
            eventually(lambda: len(set(receiver.job_ids)) == 20)
            assert slow.most_at_once == 2
            slow.gate.set()
            eventually(lambda: outcomes[Outcome.DELIVERED] == 40)
        assert len(slow.deliveries) == 20


def test_a_receiver_that_does_not_answer_is_asked_again(
    valkey_url: str, queue: JobQueue, receiver: Receiver
) -> None:
    receiver.gate.clear()
    end(queue, receiver, "a")
    with running_courier(valkey_url, replace(HASTY, timeout_s=0.3)) as outcomes:
        eventually(lambda: outcomes[Outcome.RETRY] == 1)
        receiver.gate.set()
        eventually(lambda: outcomes[Outcome.DELIVERED] == 1)


def test_a_private_address_is_never_contacted(
    valkey_url: str, queue: JobQueue, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    end(queue, receiver, "literal")
    named = receiver.url.replace("127.0.0.1", "localhost")
    queue.submit_done(replace(sample_job("named"), webhook_url=named), sample_result())
    with running_courier(valkey_url, HASTY, replace(WEBHOOKS, allowed=())) as outcomes:
        eventually(lambda: outcomes[Outcome.GIVEN_UP] == 2)
    assert receiver.deliveries == []
    assert "not on the public internet" in caplog.text


def test_a_deleted_job_is_told_to_nobody(
    valkey: Redis, valkey_url: str, queue: JobQueue, receiver: Receiver
) -> None:
    end(queue, receiver, "deleted", "expired")
    queue.forget("deleted")
    valkey.delete(Job.key_for("expired"))
    with running_courier(valkey_url):
        eventually(lambda: nothing_waits(queue))
    assert receiver.deliveries == []


def test_logs_name_the_host_and_nothing_else_of_the_url(
    valkey_url: str, queue: JobQueue, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.INFO)
    receiver.answers += [(500, {"X-Forged": "t0ken"}), (204, {})]
    url = f"{receiver.url}/t0ken?key=t0ken#t0ken"
    queue.submit_done(replace(sample_job("a"), webhook_url=url), sample_result())
    with running_courier(valkey_url, HASTY) as outcomes:
        eventually(lambda: outcomes[Outcome.DELIVERED] == 1)
    lines = [record.getMessage() for record in caplog.records if record.name == "service.courier"]
    assert lines[0].startswith("webhook to 127.0.0.1, attempt 1: retry (it answered 500; the next attempt")
    assert lines[1] == "webhook to 127.0.0.1, attempt 2: delivered"
    assert "t0ken" not in caplog.text
    assert SECRET[6:] not in caplog.text
    assert receiver.deliveries[0].path == "/hook/t0ken?key=t0ken"


def test_an_answer_without_end_is_an_answer(valkey_url: str, queue: JobQueue) -> None:
    """Its status counts; of its body a few KB are read."""
    sent_bytes = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pour() -> None:
            nonlocal sent_bytes
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
                try:
                    while True:
                        sent_bytes += connection.send(bytes(65536))
                except OSError:
                    pass

        thread = threading.Thread(target=pour)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        queue.submit_done(replace(sample_job("a"), webhook_url=url), sample_result())
        with running_courier(valkey_url, HASTY) as outcomes:
            eventually(lambda: outcomes[Outcome.DELIVERED] == 1)
        thread.join()
    assert sent_bytes < 64 << 20


def test_the_gateway_delivers_what_it_accepted(
    tmp_path: Path, valkey_url: str, worker: HandCrankedWorker, receiver: Receiver
) -> None:
    environment = {"ENLARGER_WEBHOOK_SECRET": SECRET, "ENLARGER_WEBHOOK_ALLOW": "127.0.0.0/8"}
    with running_gateway(valkey_url, (tmp_path / "blobs").as_uri(), tmp_path / "log", environment) as gateway:
        answer = gateway.client.post(
            "/upscale",
            params={"webhook_url": f"{receiver.url}?key=t0ken"},
            content=encoded("PNG"),
            headers={"Content-Type": "image/png"},
        )
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]
        worker.succeed(job_id, sample_result())
        eventually(lambda: receiver.deliveries)
        assert receiver.deliveries[0].payload["data"] == gateway.client.get(f"/jobs/{job_id}").json()
        metrics = gateway.client.get("/metrics").text
        eventually(lambda: f"[{job_id}]: webhook to 127.0.0.1, attempt 1: delivered" in gateway.log)
        assert 'enlarger_webhook_attempts_total{outcome="delivered"}' in metrics
        assert "t0ken" not in gateway.log
        assert SECRET[6:] not in gateway.log
