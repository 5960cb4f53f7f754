"""What the server counts, as Prometheus reads it (``GET /metrics``).

Labels are of closed sets (routes, methods, statuses, verdicts, reasons): none comes from a client.
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from lesionlens.bundle import ModelSpec
from lesionlens.records import Prediction
from lesionlens.service.journal import Exchange

#: Seconds; the promise is that 99 of 100 take less than the one at 0.25.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)

CONTENT_TYPE: str = CONTENT_TYPE_LATEST


class Meters:
    """The meters of one server."""

    def __init__(self, spec: ModelSpec) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "lesionlens_http_requests", "Requests that were answered.",
            ("method", "route", "status"), registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "lesionlens_http_request_seconds", "From a request's head to the end of its answer.",
            ("route",), registry=registry, buckets=_BUCKETS,
        )  # fmt: skip
        self._received = Counter(
            "lesionlens_http_received_bytes", "Bytes of bodies that were read.", registry=registry
        )
        self._sent = Counter(
            "lesionlens_http_sent_bytes", "Bytes of bodies that were sent.", registry=registry
        )
        self._images = Counter(
            "lesionlens_images", "Images that were judged.", ("verdict",), registry=registry
        )
        self._refused = Counter(
            "lesionlens_images_refused", "Images that could not be judged.",
            ("reason",), registry=registry,
        )  # fmt: skip
        self._stages = Counter(
            "lesionlens_stage_seconds", "Spent on images that were judged, by stage.",
            ("stage",), registry=registry,
        )  # fmt: skip
        self.restarts = Counter(
            "lesionlens_worker_restarts", "Workers that died or were ended for taking too long.",
            registry=registry,
        )  # fmt: skip
        self.running = Gauge(
            "lesionlens_requests_running", "Requests for predictions that are here.",
            registry=registry,
        )  # fmt: skip
        self.held = Gauge("lesionlens_held_bytes", "Bytes of images in memory.", registry=registry)
        model = Gauge(
            "lesionlens_model_info", "The model; always 1.",
            ("name", "version", "sha256"), registry=registry,
        )  # fmt: skip
        model.labels(spec.name, spec.version, spec.sha256).set(1)

    def note_exchange(self, done: Exchange) -> None:
        """Count a request that was answered."""
        self._requests.labels(done.method, done.route, str(done.status)).inc()
        self._seconds.labels(done.route).observe(done.seconds)
        self._received.inc(done.received)
        self._sent.inc(done.sent)

    def note_answer(self, answer: Prediction) -> None:
        """Count an image that was judged."""
        self._images.labels(answer.verdict).inc()
        for stage, milliseconds in answer.stage_ms.items():
            self._stages.labels(stage).inc(milliseconds / 1e3)

    def note_refusal(self, reason: str) -> None:
        """Count an image that could not be judged."""
        self._refused.labels(reason).inc()

    def exposition(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._registry)
