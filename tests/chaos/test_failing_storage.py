"""A blob store that fails, is slow or full: jobs are tried again or fail with the cause, and nothing half-written is served."""

import hashlib
import logging
import random
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.chaos.faulty_proxy import NO_FAULT, Fault, FaultyProxy, faulty_proxy
from tests.chaos.gateway_process import running_gateway
from tests.chaos.scale import SCALE, SEED, SHORT
from tests.chaos.site import Site
from tests.chaos.worker_process import SHORT_LEASE_S
from tests.eventually import eventually
from tests.stack import RunningStack
from worker.contract.jobs import JobStatus
from worker.contract.queue import MAX_ATTEMPTS

HASTY = "tests.chaos.hasty_worker"
FULL_BYTES = 1 << 19
"""No file may become longer on a disk that is full. The small picture's result does not, nor the memory for the large one's samples, which
counts as a file; the large one's result does."""


BUCKET = "pictures"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy before an S3 server. This process and the gateway go to the server directly, workers through the proxy."""
    logging.getLogger("werkzeug").setLevel(
        logging.ERROR
    )  # a line for each request would bury a failure's cause
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=BUCKET)
    with faulty_proxy(endpoint) as proxy:
        yield proxy
    server.stop()


@pytest.fixture
def s3_site(valkey_url: str, s3: FaultyProxy, tmp_path: Path) -> Site:
    """A queue with its pictures in that store."""
    return Site(valkey_url, f"s3://{BUCKET}/{tmp_path.name}", tmp_path)


class ResultReader(threading.Thread):
    """A client that asks for the results of jobs all the time and keeps every picture that it got."""

    def __init__(self, gateway: RunningStack, job_ids: list[str]) -> None:
        super().__init__(name="reader", daemon=True)
        self._http = httpx.Client(base_url=gateway.client.base_url, timeout=60.0, trust_env=False)
        self._job_ids = job_ids
        self._stopped = threading.Event()
        self.codes: set[str] = set()
        self.torn: list[str] = []

    def run(self) -> None:
        """Ask."""
        while not self._stopped.wait(0.02):
            for job_id in self._job_ids:
                answer = self._http.get(f"/jobs/{job_id}/result")
                if answer.status_code != 200:
                    self.codes.add(answer.json()["code"])
                elif f'"{hashlib.sha256(answer.content).hexdigest()}"' != answer.headers["ETag"]:
                    self.torn.append(job_id)

    def stop(self) -> None:
        """End after the request under way."""
        self._stopped.set()
        self.join()
        self._http.close()


@contextmanager
def reading(gateway: RunningStack, job_ids: list[str]) -> Iterator[ResultReader]:
    """The reader at work."""
    reader = ResultReader(gateway, job_ids)
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()


def test_a_store_that_fails_now_and_then_or_is_slow_costs_no_attempt(
    s3: FaultyProxy, s3_site: Site, small_picture: bytes, tmp_path: Path
) -> None:
    print(f"ENLARGER_CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    # Longer than the lease, which has to be renewed meanwhile.
    slow = Fault(delay_s=SHORT_LEASE_S * 1.5)
    faults = [slow] * SCALE.storage_faults
    faults += [Fault(status=503), Fault(cut_off=True), Fault(delay_s=0.5)] * SCALE.storage_faults
    chance.shuffle(faults)
    s3.choose = lambda method, path: faults.pop() if faults and chance.random() < 0.8 else NO_FAULT
    with (
        running_gateway(s3_site.redis_url, s3_site.blobs_url, tmp_path / "gateway.log") as gateway,
        s3_site.worker(module=HASTY, environment={"AWS_ENDPOINT_URL": s3.url}) as worker,
        s3_site.ledger() as ledger,
    ):
        for _ in range(4 + 4 * SCALE.storage_faults):
            ledger.add(s3_site.submit(small_picture))
        with reading(gateway, ledger.ids) as reader:
            worker.start_and_wait()
            ledger.wait_until_ended()
        assert faults == []
        assert reader.torn == []
        assert reader.codes <= {"job_not_finished"}
        assert ledger.counts() == {JobStatus.SUCCEEDED: len(ledger.ids)}
        assert {s3_site.starts(job_id) for job_id in ledger.ids} == {1}
        for record in ledger.finals.values():
            s3_site.assert_result_whole(record)


@pytest.mark.parametrize(
    "fault", [Fault(status=403), Fault(status=503), Fault(cut_off=True)], ids=["refuses", "fails", "tears"]
)
def test_a_job_whose_result_cannot_be_stored_fails_with_the_cause(
    fault: Fault, s3: FaultyProxy, s3_site: Site, small_picture: bytes, tmp_path: Path
) -> None:
    if fault.status != 403 and SCALE is SHORT:
        pytest.skip("only in the full form: obstore tries for seconds before it gives up")
    with (
        running_gateway(s3_site.redis_url, s3_site.blobs_url, tmp_path / "gateway.log") as gateway,
        s3_site.worker(module=HASTY, environment={"AWS_ENDPOINT_URL": s3.url}) as worker,
        s3_site.ledger() as ledger,
    ):
        unlucky = [s3_site.submit(small_picture) for _ in range(1 + SCALE.storage_faults)]
        lucky = [s3_site.submit(small_picture) for _ in range(1 + SCALE.storage_faults)]
        for job_id in unlucky + lucky:
            ledger.add(job_id)
        s3.choose = lambda method, path: (
            fault if method == "PUT" and any(f"/{job_id}/" in path for job_id in unlucky) else NO_FAULT
        )
        with reading(gateway, ledger.ids) as reader:
            worker.start_and_wait()
            ledger.wait_until_ended()
            eventually(lambda: "storage_unavailable" in reader.codes)
        assert reader.torn == []
        assert reader.codes == {"job_not_finished", "storage_unavailable"}
        for job_id in unlucky:
            record = ledger.finals[job_id]
            assert record.failure is not None
            assert (record.failure.code, record.failure.retryable) == ("storage_unavailable", True)
            assert s3_site.starts(job_id) == MAX_ATTEMPTS
        for job_id in lucky:
            s3_site.assert_result_whole(ledger.finals[job_id])
            assert s3_site.starts(job_id) == 1
        # The uploads of all are erased, and the unlucky ones left no part of a result.
        results = sorted(ledger.finals[job_id].job.result_key for job_id in lucky)
        eventually(lambda: s3_site.blobs.keys("jobs/") == results)


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(
    site: Site, small_picture: bytes, large_picture: bytes, tmp_path: Path
) -> None:
    with (
        running_gateway(site.redis_url, site.blobs_url, tmp_path / "gateway.log") as gateway,
        site.worker(module=HASTY) as worker,
        site.ledger() as ledger,
    ):
        worker.start_and_wait()
        # To the worker, as a full disk: the file becomes as long as it may, and then writing fails.
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
        too_long = site.submit(large_picture)
        short = [site.submit(small_picture) for _ in range(1 + SCALE.storage_faults)]
        for job_id in (too_long, *short):
            ledger.add(job_id)
        with reading(gateway, ledger.ids) as reader:
            ledger.wait_until_ended()
            failed = ledger.finals[too_long]
            assert failed.failure is not None
            assert (failed.failure.code, failed.failure.retryable) == ("storage_unavailable", True)
            assert site.starts(too_long) == MAX_ATTEMPTS
            for job_id in short:
                site.assert_result_whole(ledger.finals[job_id])
            # Space is made while a job is between two attempts.
            saved = site.submit(large_picture)
            ledger.add(saved)
            eventually(lambda: site.starts(saved) == 1 and site.record(saved).status is JobStatus.QUEUED)
            resource.prlimit(
                worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            ledger.wait_until_ended()
            site.assert_result_whole(ledger.finals[saved])
            assert site.starts(saved) == 2
        assert reader.torn == []
        assert reader.codes == {"job_not_finished", "storage_unavailable"}
        # Of what was cut off, nothing lies about, nor any upload.
        folder = tmp_path / "blobs" / "jobs"
        kept = ["result"] * (len(short) + 1)
        eventually(lambda: [path.name for path in folder.rglob("*") if path.is_file()] == kept)
        assert worker.running
