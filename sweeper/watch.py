"""The watch over observed time: what a sweeper saw of its partitions, and since when.

One thing no script can see by itself: time that nobody observed and that is not yet written down as
such, after an outage or a pause of this very process, while no gateway is there, because the
store's clock stepped, or because another server answers than did a second ago: whoever spoke with
the former one was not heard by this one. Until a partition was observed again nobody there is
judged by the time that passed: called silent, or told that a warm-up or a drain is over. Only
silence that was watched in vain for a gateway's whole grace is told without, lest the dead stay for
ever. As any of it may also happen between a look and what is committed after it, each such commit
says by which look it was judged, and the script compares.

Pure: looks come in as they were answered, instants as seconds of our own clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from registry.model import Looked, Patrolled


class Watch:
    """What one sweeper knows of its partitions. `held` are those it has the lease of, `unasked`
    those that could not be asked at the last look, `last_look` is when any was (s; 0: never)."""

    def __init__(self, gap_s: float, grace_s: float) -> None:
        self.held: set[int] = set()
        self.unasked: set[int] = set()
        self.last_look = 0.0
        self._gap_s = gap_s
        self._grace_s = grace_s
        self._watched_since: dict[int, float] = {}
        self._observed: set[int] = set()
        self._looked: dict[int, tuple[Looked, float]] = {}  # and our own clock then, s

    def saw(
        self, asked: Iterable[int], found: list[Patrolled], now: float, *, observe: bool
    ) -> None:
        """Notes which partitions are held, and since when they are looked at without a gap.
        `observe`: this look wrote down what nobody had observed."""
        self.unasked = set(asked) - {look.partition for look in found}
        for p in self.unasked:  # nobody saw what happened there
            self._forget(p)
        if not found:
            return
        if now - self.last_look > self._gap_s:
            self.blink()
        self.last_look = now
        for look in found:
            p = look.partition
            if self._another(look) or self._stepped(look, now):
                self._forget(p)
            self._looked[p] = Looked(look.now, look.run), now
            if not look.held:
                self.held.discard(p)
                self._forget(p)
                continue
            self.held.add(p)
            self._watched_since.setdefault(p, now)
            if observe:
                self._observed.add(p)

    def let_go(self, partitions: Iterable[int]) -> None:
        """Partitions of which this sweeper has the lease no longer."""
        self.held = self.held.difference(partitions)

    def blink(self) -> None:
        """There was time in which this sweeper saw nothing."""
        self._watched_since.clear()
        self._observed.clear()

    def nobody_hears(self) -> None:
        """No gateway is there: from now on time passes that nobody observes, and nobody can write
        that down before one is back."""
        self._observed.clear()

    def may_judge_by_time(self, partition: int, now: float, *, silence: bool) -> bool:
        """Whether unobserved time is written down; of silence also, whether there was nobody for a
        gateway's whole grace who could write it."""
        if now - self.last_look > self._gap_s:
            return False
        if partition in self._observed:
            return True
        watched = now - self._watched_since.get(partition, now)
        return silence and watched >= self._grace_s

    def looked_at(self, partition: int) -> Looked:
        """The last look at a partition. Raises KeyError where there was none."""
        return self._looked[partition][0]

    def _forget(self, partition: int) -> None:
        self._watched_since.pop(partition, None)
        self._observed.discard(partition)

    def _another(self, look: Patrolled) -> bool:
        """Whether another server answered than at the last look: it may have heard nothing for a
        while, and only a look that observes writes that down."""
        last = self._looked.get(look.partition)
        return last is not None and look.run != last[0].run

    def _stepped(self, look: Patrolled, now: float) -> bool:
        """Whether the store's clock went otherwise than ours since the last look: what it seems to
        have passed over nobody observed, and only a look that observes writes that down."""
        last = self._looked.get(look.partition)
        if last is None:
            return False
        looked, then = last
        return abs((look.now - looked.at) / 1000 - (now - then)) > self._gap_s
