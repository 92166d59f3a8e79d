"""Many nodes silent at once: noticed always, and, where the brake is on, marked slowly.

Silence of much of the fleet within one time-out is more likely our fault than theirs. The brake
only paces the *word* `offline`: a silent node is not selectable, whatever it is called, as its TTL
key is gone. A brake that never ends would keep dead nodes on the roll for ever, so it has a
deadline, and an operator may release it: from then on whoever had fallen silent by that instant is
called so, however late that is found, and only those who fall silent later can make it take hold.

Pure: instants come in as milliseconds of the store's clock. Each sweeper judges by the partitions
it holds and paces its share of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.keys import PARTITIONS


@dataclass(frozen=True)
class BrakeLimits:
    """The settings: what counts as mass expiry, and how the brake paces it."""

    on: bool
    fraction: float
    at_least: int
    within_ms: int
    per_s: float
    most_ms: int


class Brake:
    """What one sweeper knows of nodes falling silent. `since` is when the brake took hold, or 0."""

    def __init__(self, limits: BrakeLimits) -> None:
        self.since = 0
        self.mass = False
        self._limits = limits
        self._silent: dict[str, int] = {}
        self._held: set[str] = set()
        self._let = 0
        self._fleet = 0
        self._answered = 0  # whoever fell silent by then waits no more
        self._noted: set[str] = set()  # whom the brake that was answered had counted already

    @property
    def until(self) -> int:
        """When the brake lets go by itself."""
        return self.since + self._limits.most_ms

    @property
    def waiting(self) -> int:
        """Silent nodes that are not called offline yet because of the brake."""
        return len(self._held)

    @property
    def lost(self) -> int:
        """Nodes found silent within one time-out."""
        return len(self._silent)

    def may_mark(self, node_id: str, fell: int, now: int, partitions: int) -> bool:
        """Whether a node found silent, whose liveness ended at `fell`, may be called offline now.
        The brake takes hold at the very node with which too many are silent, not at the next
        look."""
        answered = fell <= self._answered
        if not (answered and node_id in self._noted):
            self._silent.setdefault(node_id, now)
        if not answered:
            self._take_hold(now, partitions)
        if answered or not self.since:
            self._held.discard(node_id)
            return True
        per_ms = self._limits.per_s * partitions / PARTITIONS / 1000
        if self._let < 1 + (now - self.since) * per_ms:
            self._let += 1
            self._held.discard(node_id)
            return True
        self._held.add(node_id)
        return False

    def refused(self, node_id: str) -> None:
        """A node that was let through was not called offline: it is not one of those lost, unless
        it is found silent again."""
        self._silent.pop(node_id, None)

    def heard(self, node_id: str) -> None:
        """A node that was held back lives after all."""
        self._held.discard(node_id)

    def look(self, now: int, living: int, partitions: int, released: int) -> bool:
        """Once a second: `living` nodes are not offline in the partitions held; `released` is when
        an operator let go last. Whether a mass expiry began just now."""
        limits = self._limits
        self._answered = max(self._answered, released)
        for node_id in [i for i, at in self._silent.items() if now - at > limits.within_ms]:
            if node_id not in self._held:
                del self._silent[node_id]
        self._fleet = living + self.lost - self.waiting
        mass = self._too_many(partitions)
        begins = mass and not self.mass
        self._take_hold(now, partitions)
        self.mass = mass
        if self.since and now >= self.until:
            self._answered = max(self._answered, self.until)
        over = self.since and self._answered >= self.since
        if over or (self.since and not mass and not self._held):
            self.since, self._noted = 0, set(self._silent)
            self._held.clear()
        return begins

    def _too_many(self, partitions: int) -> bool:
        limits = self._limits
        many = self.lost >= limits.at_least * max(1, partitions) / PARTITIONS
        return many and self._fleet > 0 and self.lost > limits.fraction * self._fleet

    def _take_hold(self, now: int, partitions: int) -> None:
        """A mass expiry that was noted already has had its brake."""
        free = self._answered < now - self._limits.within_ms
        begins = not self.since and not self.mass and self._too_many(partitions)
        if self._limits.on and free and begins:
            self.since, self._let = now, 0
