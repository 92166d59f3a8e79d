"""What a gateway measures, declared in one place. Labels are bounded: never a node id."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


def program_version() -> str:
    """The version of this distribution."""
    try:
        return version("muster")
    except PackageNotFoundError:
        return "unknown"


class Metrics:
    """One process's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.sockets = Gauge(
            "muster_gateway_sockets", "Open node sockets.", ["state"], registry=registry
        )
        self.registrations = Counter(
            "muster_registrations", "Registrations by result.", ["result"], registry=registry
        )
        self.heartbeats = Counter(
            "muster_heartbeats",
            "Heartbeats by what the store said.",
            ["outcome"],
            registry=registry,
        )
        self.verdicts = Counter(
            "muster_verdicts", "What heartbeats were worth.", ["verdict"], registry=registry
        )
        self.job_results = Counter(
            "muster_job_results", "Job results by success.", ["success"], registry=registry
        )
        self.errors = Counter(
            "muster_node_errors", "node_error frames sent, by code.", ["code"], registry=registry
        )
        self.closes = Counter(
            "muster_socket_closes", "Sockets closed by us, by code.", ["code"], registry=registry
        )
        self.batch_size = Histogram(
            "muster_beat_batch_size", "Beats in one call.", buckets=_SIZES, registry=registry
        )
        self.script_seconds = Histogram(
            "muster_script_seconds",
            "Time one call of a script took, retries included.",
            ["script"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.beat_wait = Histogram(
            "muster_beat_wait_seconds",
            "From a beat's arrival to the store's answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.pending = Gauge("muster_beats_pending", "Beats on their way.", registry=registry)
        self.buffered = Gauge(
            "muster_buffered_bytes", "Received bytes nobody took yet.", registry=registry
        )
        self.store_up = Gauge("muster_store_up", "Whether the store answers.", registry=registry)
        self.relayed = Counter(
            "muster_statuses_relayed", "node_status frames by way.", ["way"], registry=registry
        )
        self.renewals = Counter(
            "muster_sessions_renewed",
            "Sessions registered again by a beat.",
            ["kind"],
            registry=registry,
        )
        self.requests = Counter(
            "muster_http_requests",
            "Requests to /v1 by route, method and class of status.",
            ["route", "method", "status"],
            registry=registry,
        )
        self.watchers = Gauge("muster_watchers", "Readers of events.", registry=registry)
        self.events_sent = Counter(
            "muster_events_sent", "Events sent to readers.", registry=registry
        )
        self.event_reads = Counter(
            "muster_event_reads",
            "Reads of the store for events: one for all readers (tail), or for one (behind).",
            ["way"],
            registry=registry,
        )
        self.event_gaps = Counter(
            "muster_event_gaps",
            "Readers told that events were lost to them, by reason.",
            ["reason"],
            registry=registry,
        )
        self.watchers_ended = Counter(
            "muster_watchers_ended",
            "Readers of events whose stream was ended here, by reason.",
            ["reason"],
            registry=registry,
        )
        build = Gauge(
            "muster_build_info", "What is running.", ["version", "python"], registry=registry
        )
        build.labels(program_version(), platform.python_version()).set(1)

    def batch(self, size: int, seconds: float) -> None:
        """Notes one call with `size` beats."""
        self.batch_size.observe(size)
        self.script_seconds.labels("beat").observe(seconds)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
