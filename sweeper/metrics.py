"""What a sweeper counts. Gauges of the fleet are of the partitions it holds: sum over sweepers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class SweeperMetrics:
    """All series of one sweeper, in a registry of their own."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        self.nodes = Gauge("muster_nodes", "Nodes by status.", ["status"], registry=r)
        self.transitions = Counter(
            "muster_transitions",
            "Committed transitions.",
            ["from_status", "to_status", "reason"],
            registry=r,
        )
        self.stale = Counter(
            "muster_commits_stale", "Judgements refused: the store had moved on.", registry=r
        )
        self.sweep = Histogram(
            "muster_sweep_seconds",
            "One look at the partitions.",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
            registry=r,
        )
        self.overdue = Gauge(
            "muster_sweep_overdue_seconds", "Age of the most overdue alarm.", registry=r
        )
        self.unobserved = Gauge(
            "muster_unobserved_seconds",
            "Most unobserved time of a partition held, since the store began.",
            registry=r,
        )
        self.held = Gauge("muster_partitions_held", "Partitions held.", registry=r)
        self.unasked = Gauge(
            "muster_partitions_unasked",
            "Partitions that could not be looked at: a part of a Cluster is away.",
            registry=r,
        )
        self.expiries_found = Counter(
            "muster_expiries_found", "Nodes found silent beyond the time-out.", registry=r
        )
        self.expiries_made = Counter(
            "muster_expiries_made", "Nodes called offline by silence.", registry=r
        )
        self.mass_expiry = Gauge(
            "muster_mass_expiry", "1 while much of the fleet fell silent at once.", registry=r
        )
        self.brake_waiting = Gauge(
            "muster_brake_waiting",
            "Silent nodes not called offline yet because of the brake.",
            registry=r,
        )
        self.repairs = Counter(
            "muster_index_repairs", "Index places put right by the repair pass.", registry=r
        )
        self.store_errors = Counter(
            "muster_store_errors", "Questions the store did not answer.", registry=r
        )
        try:
            release = version("muster")
        except PackageNotFoundError:
            release = "unknown"
        Gauge("muster_build_info", "The running version.", ["version"], registry=r).labels(
            release
        ).set(1)
