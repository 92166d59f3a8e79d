"""What a sweeper measures. Gauges of the fleet are of the partitions it holds: sum over them."""

from __future__ import annotations

from registry.measuring import SECONDS, StoreMeasures
from registry.model import Reason, Status


class SweeperMetrics(StoreMeasures):
    """One sweeper's metrics."""

    def __init__(self) -> None:
        super().__init__()
        statuses = [status.value for status in Status]
        # The fleet
        self.nodes = self.gauge(
            "muster_nodes",
            "Nodes by status, in the partitions held; none where none is held any more.",
            status=statuses,
        )
        self.transitions = self.counter(
            "muster_transitions_total",
            "Committed transitions.",
            from_status=statuses,
            to_status=statuses,
            reason=[reason.value for reason in Reason],
        )
        self.expiries_found = self.counter(
            "muster_expiries_found_total", "Nodes found silent beyond the time-out."
        )
        self.expiries_made = self.counter(
            "muster_expiries_made_total", "Nodes called offline by silence."
        )
        self.mass_expiry = self.gauge(
            "muster_mass_expiry", "1 while much of the fleet fell silent at once."
        )
        self.brake_waiting = self.gauge(
            "muster_brake_waiting", "Silent nodes not called offline yet because of the brake."
        )
        # How well it is watched
        self.held = self.gauge(
            "muster_partitions_held", "Partitions held that can be looked at, of 64."
        )
        self.unasked = self.gauge(
            "muster_partitions_unasked",
            "Partitions that could not be looked at: a part of a Cluster is away.",
        )
        self.look_age = self.gauge(
            "muster_look_age_seconds", "Time since this sweeper last looked at its partitions."
        )
        self.overdue = self.gauge(
            "muster_sweep_overdue_seconds",
            "By how much the most overdue alarm of the last round was late.",
        )
        self.sweep = self.histogram("muster_sweep_seconds", "One look at the partitions.", SECONDS)
        self.unobserved = self.gauge(
            "muster_unobserved_seconds",
            "Most time of a partition held in which nobody could have heard a node, since the "
            "store began.",
        )
        self.stale = self.counter(
            "muster_commits_stale_total", "Judgements refused: the store had moved on."
        )
        self.repairs = self.counter(
            "muster_index_repairs_total",
            "Nodes whose index places the repair pass put right, or which it put back on the roll.",
        )
