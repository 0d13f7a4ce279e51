"""GET /metrics: what the gateway counts, and what the queue tells at the moment of asking.

`docs/metrics.md` says what each metric is good for. Labels take few values, all of them ours: a request is counted under its
route's template, and what no route answers under one name.
"""

import logging
import os
import time
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.courier import Outcome
from worker.contract.fleet import Fleet
from worker.contract.jobs import Priority
from worker.contract.queue import JobQueue, QueueUnavailableError

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""A poll takes milliseconds, Redis is given up after 5 s, an upload that stands still after 30 s."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""The label of a method that a client made up, of a path that no route has, and of the files of /docs."""

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The library's variable: where the processes of one gateway count together, each in files of its own."""

logger = logging.getLogger(__name__)


class QueueCollector(Collector):
    """Asks the queue and the fleet at each scrape."""

    def __init__(self, queue: JobQueue, fleet: Fleet) -> None:
        self._queue = queue
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """How they stand; only `enlarger_queue_up 0` where Redis does not answer."""
        up = GaugeMetricFamily("enlarger_queue_up", "Whether Redis answers")
        waiting = GaugeMetricFamily(
            "enlarger_queue_waiting_jobs", "Jobs that wait for a worker", labels=["priority"]
        )
        waiting_px = GaugeMetricFamily(
            "enlarger_queue_waiting_pixels", "What those jobs ask of a device, an ensemble eight times"
        )
        oldest_s = GaugeMetricFamily(
            "enlarger_queue_oldest_seconds",
            "How long the first in line has waited; 0 where none waits",
            labels=["priority"],
        )
        processing = GaugeMetricFamily("enlarger_queue_processing_jobs", "Jobs that workers have")
        webhooks = GaugeMetricFamily(
            "enlarger_webhooks_waiting", "Jobs, ended or not, whose webhook has not been delivered"
        )
        workers = GaugeMetricFamily("enlarger_live_workers", "Workers that beat within their lease")
        try:
            statistics = self._queue.statistics()
            live = len(self._fleet.live_workers())
        except QueueUnavailableError as error:
            logger.warning("the queue cannot be measured: %s", error)
            up.add_metric([], 0)
        else:
            up.add_metric([], 1)
            processing.add_metric([], statistics.processing)
            workers.add_metric([], live)
            waiting_px.add_metric([], statistics.backlog.work_px)
            webhooks.add_metric([], statistics.webhooks)
            for priority in Priority:
                waiting.add_metric([priority], statistics.waiting.get(priority, 0))
                oldest_s.add_metric([priority], statistics.oldest_waiting_s.get(priority, 0.0))
        yield from (up, waiting, waiting_px, oldest_s, processing, workers, webhooks)


class GatewayMetrics:
    """The gateway's registry, and its counters of requests."""

    def __init__(self, queue: JobQueue, fleet: Fleet) -> None:
        self.registry = CollectorRegistry()
        self._queue = QueueCollector(queue, fleet)
        ProcessCollector(registry=self.registry)
        self.registry.register(self._queue)
        self.requests = Counter(
            "enlarger_http_requests",
            "Requests answered, by class of status",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.duration_s = Histogram(
            "enlarger_http_request_seconds",
            "From a request's head to the end of its answer, body and transfers too",
            ["method", "route"],
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self.upload_bytes = Counter(
            "enlarger_http_upload_bytes", "Bytes of requests' bodies", ["route"], registry=self.registry
        )
        self.webhook_attempts = Counter(
            "enlarger_webhook_attempts", "Attempts to deliver a webhook", ["outcome"], registry=self.registry
        )
        for outcome in Outcome:
            self.webhook_attempts.labels(outcome)

    def gathered(self) -> CollectorRegistry:
        """What a scrape is told: the sum over this gateway's processes where there are several, without what is of each alone."""
        if SHARED_FOLDER not in os.environ:
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        registry.register(self._queue)
        return registry

    def note_delivery(self, outcome: Outcome) -> None:
        """An attempt to deliver a webhook has ended."""
        self.webhook_attempts.labels(outcome).inc()


class RequestCounter:
    """ASGI middleware that counts every HTTP request: also those that no route answers, or that end in an error."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on as it is."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        received_bytes = 0
        status = 500  # what the server answers where the app raises before it has begun to

        async def counted_receive() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            return message

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, counted_receive, watched_send)
        finally:
            method = scope["method"] if scope["method"] in METHODS else OTHER
            route = getattr(scope.get("route"), "path", None) or OTHER  # the router has put it there
            self._metrics.requests.labels(method, route, f"{status // 100}xx").inc()
            self._metrics.duration_s.labels(method, route).observe(time.perf_counter() - started_s)
            if received_bytes:
                self._metrics.upload_bytes.labels(route).inc(received_bytes)


def metrics_router(metrics: GatewayMetrics) -> APIRouter:
    """The route that Prometheus scrapes."""
    router = APIRouter(tags=["health"])

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={
            200: {"description": "Prometheus' or OpenMetrics' text.", "content": {"text/plain": {}}},
        },
    )
    def scrape(request: Request) -> Response:
        """In Prometheus' text format, or in OpenMetrics' where `Accept` asks for it."""
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.gathered()), headers={"Content-Type": media_type})

    return router
