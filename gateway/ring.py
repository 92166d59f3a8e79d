"""What happened lately, kept in memory for those who watch.

Every watcher goes through the same entries at its own pace, by number; none has a queue of its own.
Numbers only grow. The oldest entries go when all together take too much memory: a watcher that was
not there yet has fallen behind.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.cursor import Cursor, EventId
from registry.events import Event
from registry.tailing import Loss

_OVERHEAD = 3000
"""Bytes of an entry beside its event's: places, and the frame with its cursor."""


class Entry:
    """One event, or the news that some were lost, and the place behind it.

    What is sent of it is kept in `frames`, as it is the same for nearly everybody."""

    __slots__ = ("cursor", "event", "frames", "loss", "size")

    def __init__(
        self, cursor: Cursor, event: Event | None = None, loss: Loss | None = None
    ) -> None:
        self.cursor = cursor
        self.event = event
        self.loss = loss
        self.frames: dict[bool, bytes] = {}
        said = event.fields.items() if event else ()
        self.size = _OVERHEAD + 3 * sum(len(name) + len(value) for name, value in said)


class Ring:
    """Entries `first` to `end` (behind the last). Those from `since` on follow each other without
    a loss, and `start` is the place before them."""

    def __init__(self, start: Cursor, bytes_most: int) -> None:
        self.start = start
        self.first = self.since = 0
        self.size = 0
        self._bytes_most = bytes_most
        self._entries: list[Entry] = []
        self._known: set[tuple[int, EventId]] = set()
        self._dropped = False

    @property
    def end(self) -> int:
        return self.first + len(self._entries)

    @property
    def cursor(self) -> Cursor:
        """The place behind the last entry."""
        return self._entries[-1].cursor if self._entries else self.start

    def between(self, first: int, most: int) -> Sequence[Entry]:
        """At most `most` entries from a number on, which must not be before `first`."""
        return self._entries[first - self.first : first - self.first + most]

    def append(self, entry: Entry) -> None:
        """Adds what happened next. A loss begins a new stretch without any."""
        self._entries.append(entry)
        self.size += entry.size
        if entry.event is None:
            self._known.clear()
            self.since, self.start = self.end, entry.cursor
        else:
            self._known.add((entry.event.partition, entry.event.id))
        while self.size > self._bytes_most and len(self._entries) > 1:
            self._drop()

    def prepend(self, entries: Sequence[Entry], start: Cursor) -> None:
        """Adds what happened between `start` and the ring's own start, for which there is room."""
        self._entries[:0] = entries
        self.first = self.since = self.first - len(entries)
        self.start = start
        self.size += sum(entry.size for entry in entries)
        self._known.update((e.event.partition, e.event.id) for e in entries if e.event)

    @property
    def room(self) -> int:
        """Bytes that may be prepended: at most half of all. Where anything stood in front before,
        there is no room: watchers may still have its numbers."""
        if self._dropped or self.since != self.first:
            return 0
        return max(0, min(self._bytes_most // 2, self._bytes_most - self.size))

    def knows(self, cursor: Cursor) -> bool:
        """Whether everything that follows a cursor is here, or is still to come."""
        return cursor.epoch == self.start.epoch and all(
            place == start or (partition, place) in self._known
            for partition, (place, start) in enumerate(
                zip(cursor.places, self.start.places, strict=True)
            )
        )

    def _drop(self) -> None:
        oldest = self._entries.pop(0)
        self._dropped = True
        self.size -= oldest.size
        self.first += 1
        if oldest.event is not None:
            self._known.discard((oldest.event.partition, oldest.event.id))
        if self.since < self.first:
            self.since, self.start = self.first, oldest.cursor
