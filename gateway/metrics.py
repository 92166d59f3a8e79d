"""What a gateway measures, declared in one place."""

from __future__ import annotations

from typing import get_args

from gateway.api.frames import EndReason
from gateway.api.problems import CODES
from gateway.limits import Limit
from muster.wire.closing import CloseCode
from muster.wire.errors import ErrorCode
from registry.measuring import SECONDS, StoreMeasures
from registry.model import BeatOutcome, Verdict
from registry.requirement import Unfit
from registry.tailing import Loss

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CHECKS = ("store", "subscribed", "announced", "not_draining")


class Metrics(StoreMeasures):
    """One gateway's metrics."""

    def __init__(self) -> None:
        super().__init__()
        codes = [code.value for code in ErrorCode]
        # Sockets
        self.sockets = self.gauge(
            "muster_gateway_sockets",
            "Open node sockets.",
            state=("registered", "unregistered"),
        )
        self.sockets_most = self.gauge(
            "muster_gateway_sockets_most",
            "Node sockets this gateway takes; beyond, upgrades are answered 503.",
        )
        self.shed = self.counter(
            "muster_shed_total",
            "What was answered 503 because there was no place, by what there were too many of: "
            "connections of any kind, node sockets, node sockets of one address, node sockets "
            "that have not registered, requests to /v1 at a time.",
            limit=[limit.value for limit in Limit],
        )
        self.opened = self.counter("muster_sockets_opened_total", "Node sockets that were opened.")
        self.ended = self.counter(
            "muster_sockets_ended_total", "Node sockets that ended, whoever ended them."
        )
        self.closes = self.counter(
            "muster_socket_closes_total",
            "Sockets closed by us, by code.",
            code=[str(close.code) for close in CloseCode],
        )
        self.checks = self.gauge(
            "muster_gateway_checks",
            "What readiness rests on, each 1 or 0: the store took what it was sent last, messages "
            "of other processes arrive, others count this gateway as living, it is not stopping.",
            check=CHECKS,
        )
        self.stalled = self.counter(
            "muster_stalled_seconds_total",
            "Time this process stood still for more than half a second.",
        )
        self.buffered = self.gauge("muster_buffered_bytes", "Received bytes nobody took yet.")
        # What nodes say, and what becomes of it
        self.registrations = self.counter(
            "muster_registrations_total",
            "Registrations by result.",
            result=("registered", "resumed", *codes),
        )
        self.verdicts = self.tally(
            "muster_verdicts_total",
            "What heartbeats were worth.",
            verdict={verdict: verdict.name.lower() for verdict in Verdict},
        )
        self.heartbeats = self.tally(
            "muster_heartbeats_total",
            "Heartbeats by what the store said.",
            outcome={outcome: outcome.value for outcome in BeatOutcome},
        )
        self.batch_size = self.histogram("muster_beat_batch_size", "Beats in one call.", _SIZES)
        self.beat_wait = self.spread(
            "muster_beat_wait_seconds", "From a beat's arrival to the store's answer.", SECONDS
        )
        self.pending = self.gauge("muster_beats_pending", "Beats on their way.")
        self.job_results = self.counter(
            "muster_job_results_total", "Job results by success.", success=("true", "false", "none")
        )
        self.errors = self.counter(
            "muster_node_errors_total", "node_error frames sent, by code.", code=codes
        )
        self.relayed = self.counter(
            "muster_statuses_relayed_total",
            "node_status frames by way: as it happened (relay), or because a beat found that the "
            "node was not told (beat), or that the store had lost something (mend, restore), or "
            "that the node is not silent after all (revive).",
            way=("relay", "beat", "mend", "restore", "revive"),
        )
        self.renewals = self.counter(
            "muster_sessions_renewed_total",
            "Sessions registered again by a beat: the store had lost the node (restore), or it was "
            "called silent (revive).",
            kind=("restore", "revive"),
        )
        # HTTP
        self.requests = self.counter(
            "muster_http_requests_total",
            "Requests to /v1 by route, method and class of status.",
            route="the paths of docs/api.md as they are written there, or `none`",
            method=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"),
            status=("1xx", "2xx", "3xx", "4xx", "5xx"),
        )
        self.problems = self.counter(
            "muster_http_problems_total", "Problems told to who asked /v1, by code.", code=CODES
        )
        self.select_seconds = self.histogram(
            "muster_select_seconds",
            "Time to answer a selection, without what it takes to say why nobody fits.",
            SECONDS,
            result=("found", "nobody", "failed"),
        )
        self.empty_selections = self.counter(
            "muster_empty_selections_total",
            "Selections nobody fitted, by what most machines lacked; no_nodes where there were "
            "none at all.",
            reason=(*(unfit.value for unfit in Unfit), "no_nodes"),
        )
        self.holds = self.counter(
            "muster_holds_total",
            "Holds taken, and given back by request.",
            act=("taken", "released"),
        )
        # Who watches events
        self.watchers = self.gauge("muster_watchers", "Readers of events.")
        self.events_sent = self.counter("muster_events_sent_total", "Events sent to readers.")
        self.event_reads = self.counter(
            "muster_event_reads_total",
            "Reads of the store for events: one for all readers (tail), or for one (behind).",
            way=("tail", "behind"),
        )
        self.event_gaps = self.counter(
            "muster_event_gaps_total",
            "Readers told that events were lost to them, by reason.",
            reason=[loss.value for loss in Loss],
        )
        self.watchers_ended = self.counter(
            "muster_watchers_ended_total",
            "Readers of events whose stream was ended here, by reason.",
            reason=get_args(EndReason),
        )

    def turned_away(self) -> int:
        """What was answered 503 for want of a place since the start."""
        value = self.registry.get_sample_value
        return round(sum(value("muster_shed_total", {"limit": each.value}) or 0 for each in Limit))
