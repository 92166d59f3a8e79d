"""One machine as selection, lists and explanations see it: everything at one instant of the store.

What is packed (registration, report, labels) is opened only when somebody asks for it, and only
there if it was read (`detail`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

from registry.capabilities import unpack, unpack_labels, unpack_report
from registry.model import Reason, Status


@dataclass(frozen=True)
class Intent:
    """An operator's drain: who asked for it, why, when (ms), and how long jobs may take (ms)."""

    stamp: str
    at: int
    who: str
    why: str
    timeout_ms: int


@dataclass(frozen=True)
class Subject:
    """One machine at the instant `now` (ms). `ttl_ms` is what is left of its TTL key, `holds` how
    many are open; `leaving` is `unregister`, `remove` or ''; `label_stamp` changes with every
    change of the operator's labels."""

    node_id: str
    now: int
    status: str
    reason: str
    since: int
    last_beat: int
    gateway: str
    version: int
    capacity: int
    jobs: int
    public: bool
    leaving: str
    digest: str
    gpu_memory_gb: float
    ttl_ms: int
    holds: int
    intent: Intent | None
    label_stamp: str
    capabilities: frozenset[str]
    packed_registration: bytes = field(default=b"", repr=False)
    packed_report: bytes = field(default=b"", repr=False)
    packed_labels: bytes = field(default=b"", repr=False)

    def live(self, timeout_ms: int) -> bool:
        """The TTL key stands; one that outlives the time-out is a skewed clock's."""
        return 0 < self.ttl_ms <= timeout_ms

    @property
    def ready(self) -> bool:
        """May be given work, as far as its status goes: no drain, no leaving not yet worded."""
        return self.status == Status.READY and not self.leaving and self.intent is None

    @property
    def shown_status(self) -> str:
        """The status, or what is about to become of it."""
        if self.status != Status.READY or self.ready:
            return self.status
        return "leaving" if self.leaving else "drained by an operator"

    @property
    def removed(self) -> bool:
        """Taken away by an operator, or about to be: kept only so that no late beat brings it
        back."""
        worded = self.status == Status.OFFLINE and self.reason == Reason.REMOVED
        return worded or self.leaving == "remove"

    @property
    def load(self) -> int:
        """Running jobs as last reported, and open holds."""
        return self.jobs + self.holds

    @cached_property
    def registration(self) -> Mapping[str, Any]:
        """The registration as the store keeps it; empty if it was not read."""
        return unpack(self.packed_registration) if self.packed_registration else {}

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """The last heartbeat's report; empty if there is none or it was not read."""
        return unpack_report(self.packed_report)

    @property
    def gpu_names(self) -> list[str]:
        """Names of the registered GPUs."""
        hardware = self.registration.get("hardware") or {}
        return [str(gpu.get("name", "")) for gpu in hardware.get("gpus") or ()]

    @cached_property
    def operator_labels(self) -> dict[str, str]:
        return unpack_labels(self.packed_labels)

    @cached_property
    def labels(self) -> dict[str, str]:
        """All labels in force: the node's own, overlaid by the operator's."""
        pairs = (name[6:].partition("=") for name in self.capabilities if name.startswith("label:"))
        return {unquote(name): unquote(value) for name, _, value in pairs}

    def label(self, name: str) -> str | None:
        """One label's value, or None."""
        head = f"label:{quote(name, safe='')}="
        for capability in self.capabilities:
            if capability.startswith(head):
                return unquote(capability[len(head) :])
        return None

    def usage(self, name: str) -> float | None:
        """A number of the last report (`cpu_percent`, …), or None if it was not reported."""
        usage = self.report.get("resource_usage")
        value = usage.get(name) if isinstance(usage, dict) else None
        return float(value) if isinstance(value, int | float) and value is not True else None
