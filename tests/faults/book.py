"""What the fleet remembers: the one witness the checker believes.

A page is one machine. What it sent while unable (cut off, its program dead) counts for nothing:
nobody could have heard it. Instants are ms of this machine's clock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_ACK = "node_register_ack"


def now_ms() -> int:
    """This machine's clock, ms."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that went out; `sign` if it is a sign of life (a registration or a heartbeat)."""

    at: int
    kind: str
    socket: int
    able: bool
    fit: bool = True

    @property
    def sign(self) -> bool:
        return self.able and self.kind in ("node_register", "node_heartbeat")


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame that came in."""

    at: int
    frame: dict[str, Any]
    socket: int

    @property
    def kind(self) -> str:
        return str(self.frame["type"])

    @property
    def tells(self) -> bool:
        """Whether it tells a status and its version."""
        return self.kind in (_ACK, "node_status")


@dataclass(frozen=True, slots=True)
class Closed:
    """A socket that ended; `code` 1006 is one that ended without a word."""

    at: int
    socket: int
    code: int


@dataclass(slots=True)
class Span:
    """A stretch of time; `end` None: it lasts."""

    begin: int
    end: int | None = None


@dataclass(eq=False)
class Page:
    """One machine. `plain` knows the document alone; `contested`: two machines claim one id;
    `steady_since` is when it last died, came, fell ill or got well; `left` that it was told to take
    itself off, `left_at` when it was told that it is (0: not yet)."""

    name: str
    plain: bool
    node_id: str = ""
    contested: bool = False
    left: bool = False
    left_at: int = 0
    fit: bool = True
    steady_since: int = 0
    sent: list[Sent] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    able: list[Span] = field(default_factory=list)
    doors: list[tuple[int, int, int]] = field(default_factory=list)  # at, socket, which door

    def becomes_able(self) -> None:
        if not self.is_able:
            self.steady_since = now_ms()
            self.able.append(Span(self.steady_since))

    def becomes_unable(self) -> None:
        if self.is_able:
            self.steady_since = self.able[-1].end = now_ms()

    def becomes_fit(self, fit: bool) -> None:
        self.fit, self.steady_since = fit, now_ms()

    @property
    def is_able(self) -> bool:
        return bool(self.able) and self.able[-1].end is None

    def able_throughout(self, begin: int, end: int) -> bool:
        return any(s.begin <= begin and (s.end is None or s.end >= end) for s in self.able)

    def last_sign(self, before: int) -> Sent | None:
        """The last sign of life sent before an instant."""
        return next((s for s in reversed(self.sent) if s.at < before and s.sign), None)

    def last_heard(self, before: int, under_way_ms: int) -> Sent | None:
        """The last sign of life before an instant that must have arrived: what its machine sent
        in the last moment before it died or was cut off may have gone with it."""
        return next(
            (
                s
                for s in reversed(self.sent)
                if s.at < before and s.sign and self.able_throughout(s.at, s.at + under_way_ms)
            ),
            None,
        )

    def door_at(self, at: int) -> int:
        """The door its socket went through at an instant; -1 before the first."""
        return next((door for when, _, door in reversed(self.doors) if when <= at), -1)

    def registered_door(self, at: int) -> int:
        """The door through which it was last acknowledged before an instant; -1 before the
        first."""
        sockets = {socket: door for _, socket, door in self.doors}
        ack = next((h for h in reversed(self.heard) if h.at < at and h.kind == _ACK), None)
        return -1 if ack is None else sockets.get(ack.socket, -1)

    @property
    def told(self) -> Heard | None:
        """What it was told last; of tellings the one with the highest version."""
        tellings = [h for h in self.heard if h.tells]
        return max(tellings, key=lambda h: (int(h.frame["version"]), h.at), default=None)

    @property
    def acks(self) -> Iterator[Heard]:
        return (h for h in self.heard if h.kind == _ACK)


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of an event stream. `at` is the store's word for it, moved to this machine's clock;
    `seen` is when it was read."""

    stream_id: str
    partition: int
    at: int
    seen: int
    fields: dict[str, str]

    @property
    def kind(self) -> str:
        return self.fields["type"]

    @property
    def node_id(self) -> str:
        return self.fields.get("id", "")

    @property
    def version(self) -> int:
        return int(self.fields.get("version") or 0)

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one `select` for everybody answered; `ids` None: it could not be asked."""

    asked: int
    answered: int
    door: int
    ids: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Blame:
    """A door that did not work by a fault of ours; `end` None: it lasts."""

    door: int
    begin: int
    end: int | None = None


class Book:
    """All pages, and what else was seen."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.events: list[Event] = []
        self.answers: list[Answer] = []
        self.notes: list[tuple[int, str]] = []
        self.losses: list[Span] = []
        self.blames: list[Blame] = []
        self.intents: dict[str, list[Span]] = {}

    def page(self, name: str, *, plain: bool) -> Page:
        """A new page."""
        assert name not in self.pages
        made = self.pages[name] = Page(name, plain)
        return made

    def note(self, what: str) -> None:
        """Something that was done, for people."""
        self.notes.append((now_ms(), what))

    def store_lost(self, since: int) -> None:
        """The store no longer knows (some of) what it was told from `since` until now."""
        self.losses.append(Span(since, now_ms()))

    def lost_since(self, at: int) -> bool:
        """Whether the store lost something it was told at an instant, or anything before."""
        return any(loss.begin <= at <= (loss.end or at) for loss in self.losses)

    def blame(self, door: int) -> None:
        """A door stops working by our own fault."""
        self.blames.append(Blame(door, now_ms()))

    def absolve(self, door: int) -> None:
        """The door works again."""
        now = now_ms()
        self.blames = [
            Blame(b.door, b.begin, now) if b.door == door and b.end is None else b
            for b in self.blames
        ]

    def blamed(self, door: int, begin: int, end: int) -> bool:
        """Whether a door was out of order at some time between two instants."""
        return any(
            b.door == door and b.begin <= end and (b.end is None or b.end >= begin)
            for b in self.blames
        )
