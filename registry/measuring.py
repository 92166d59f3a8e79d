"""How a process measures itself: every series declared once, with all its labels may ever say.

What is declared is what is served, what docs/metrics.md lists, and what the tests hold a running
system to. Labels are bounded: never a node's id, an address, or anything a client can invent. A
counter or gauge whose single label is a known set is there from the start, at 0, so that the first
event shows as an increase and not as a series that appears.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from math import prod
from typing import Generic, Literal, TypeVar

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from registry.errors import FAILURES, StoreError, failure
from registry.script import names

K = TypeVar("K")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Upper ends for how long something took."""
Kind = Literal["counter", "gauge", "histogram"]
Values = tuple[str, ...] | str
"""What a label may say: all its values, or a sentence that tells which."""

# When each counter began is asked by nobody and doubles what is scraped.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


def program_version() -> str:
    """The version of this distribution."""
    try:
        return version("muster")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Measure:
    """One metric as it is declared; `name` is the one that is scraped."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, Values]
    buckets: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """What its numbers count."""
        base = self.name.removesuffix("_total")
        for suffix in ("seconds", "bytes"):
            if base.endswith(f"_{suffix}"):
                return suffix
        return ""

    @property
    def series_most(self) -> int | None:
        """How many series one process can have of it; None where a label is told in words."""
        sets = [values for values in self.labels.values() if not isinstance(values, str)]
        if len(sets) < len(self.labels):
            return None
        each = len(self.buckets) + 3 if self.kind == "histogram" else 1
        return prod(len(values) for values in sets) * each


class Tally(Collector, Generic[K]):
    """Plain numbers told as a counter with one label. The library's own counters cost ten times as
    much to add to, as they may be shared by threads."""

    def __init__(
        self, name: str, text: str, label: str, values: Mapping[K, str], numbers: Mapping[K, int]
    ) -> None:
        self._name, self._text, self._label = name, text, label
        self._values, self._numbers = values, numbers

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=(self._label,))
        for key, value in self._values.items():
            family.add_metric((value,), self._numbers[key])
        yield family


class Spread(Collector):
    """A histogram without labels, cheap to add to for the same reason."""

    def __init__(self, name: str, text: str, buckets: Sequence[float]) -> None:
        self._name, self._text = name, text
        self._ends = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Adds one; an upper end belongs to its bucket."""
        self._counts[bisect_left(self._ends, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[Metric]:
        ends = (*(repr(float(end)) for end in self._ends), "+Inf")
        family = HistogramMetricFamily(self._name, self._text)
        family.add_metric((), list(zip(ends, accumulate(self._counts), strict=True)), self._sum)
        yield family


class Measures:
    """One process's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.declared: list[Measure] = []
        ProcessCollector(registry=self.registry)
        build = self.gauge(
            "muster_build_info",
            "What is running; always 1.",
            version="the program's version",
            python="the interpreter's",
        )
        build.labels(program_version(), platform.python_version()).set(1)
        self.bugs = self.counter(
            "muster_bugs_total",
            "Errors of Muster's own code that nothing foresaw: each is in the log with its "
            "traceback.",
        )

    def counter(self, name: str, text: str, **labels: Iterable[str]) -> Counter:
        """Something that is counted; its name ends in `_total`."""
        kept = self._declare(name, "counter", text, labels)
        made = Counter(name, text, tuple(kept), registry=self.registry)
        _begin(made, kept)
        return made

    def gauge(self, name: str, text: str, **labels: Iterable[str]) -> Gauge:
        """Something that goes up and down."""
        kept = self._declare(name, "gauge", text, labels)
        made = Gauge(name, text, tuple(kept), registry=self.registry)
        _begin(made, kept)
        return made

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], **labels: Iterable[str]
    ) -> Histogram:
        """How something is spread over `buckets`, upper ends."""
        kept = self._declare(name, "histogram", text, labels, tuple(buckets))
        return Histogram(name, text, tuple(kept), buckets=buckets, registry=self.registry)

    def tally(self, name: str, text: str, **label: Mapping[K, str]) -> dict[K, int]:
        """A counter by one label for the hot path: plain numbers to add to, by what the label's
        values stand for, that are told when asked."""
        ((label_name, values),) = label.items()
        self._declare(name, "counter", text, {label_name: values.values()})
        numbers = dict.fromkeys(values, 0)
        self.registry.register(Tally(name, text, label_name, values, numbers))
        return numbers

    def spread(self, name: str, text: str, buckets: Sequence[float]) -> Spread:
        """A histogram for the hot path."""
        self._declare(name, "histogram", text, {}, tuple(buckets))
        made = Spread(name, text, buckets)
        self.registry.register(made)
        return made

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    def _declare(
        self,
        name: str,
        kind: Kind,
        text: str,
        labels: Mapping[str, Iterable[str]],
        buckets: tuple[float, ...] = (),
    ) -> dict[str, Values]:
        kept: dict[str, Values] = {
            label: values if isinstance(values, str) else tuple(values)
            for label, values in labels.items()
        }
        self.declared.append(Measure(name, kind, text, kept, buckets))
        return kept


class StoreMeasures(Measures):
    """The metrics of a process that asks the store: what `registry.store.Observer` is told."""

    def __init__(self) -> None:
        super().__init__()
        self.script_seconds = self.histogram(
            "muster_script_seconds",
            "Time one call of a script took, retries included.",
            SECONDS,
            script=names(),
        )
        self.store_errors = self.counter(
            "muster_store_errors_total",
            "Questions the store did not answer: it could not be asked (unavailable), it refused "
            "to write (refused), it answered out of its contract (misbehaved).",
            kind=FAILURES,
        )

    def called(self, script: str, seconds: float) -> None:
        """One call of a script was answered."""
        self.script_seconds.labels(script).observe(seconds)

    def failed(self, error: StoreError) -> None:
        """A question was not answered."""
        self.store_errors.labels(failure(error)).inc()


def _begin(made: Counter | Gauge, labels: Mapping[str, Values]) -> None:
    if len(labels) == 1:
        (values,) = labels.values()
        for value in () if isinstance(values, str) else values:
            made.labels(value)
