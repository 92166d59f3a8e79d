"""The verdicts, from the book alone. Each law is one method; each breach says who, when, and what.

Where a store forgot what it had acknowledged (emptied, or a failover, be it one that nobody
planned), the book says from when to when: a machine that showed no life since is then not missed,
and what was told in that time may have been taken back; nothing else is excused. Where a gateway
could not do its work by a fault that was done to it, its machines may be called offline after the
grace, if the platform is blamed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from registry.model import Reason
from sweeper.rules import replay
from tests.faults.book import Answer, Book, Event, Heard, Page, now_ms
from tests.faults.eye import Record
from tests.faults.pace import Pace

ROUND_MS = 10  # of clocks read one after the other
UNDER_WAY_MS = 250  # a frame or a change, on a busy machine
UNNOTICED_MS = 600  # a gateway notices that it stood still only after half a second

_SETS_STATUS = ("transition", "register", "resume", "revive", "restore")


@dataclass(frozen=True)
class Breach:
    """A law that was broken."""

    law: str
    node: str
    at: int
    what: str

    def __str__(self) -> str:
        return f"{self.law}: {self.node}: {self.what}"


class Checker:
    """Judges a finished run; `records` is what the store says in the end."""

    def __init__(self, book: Book, pace: Pace, records: Mapping[str, Record]) -> None:
        self._book = book
        self._records = records
        self._timeout = round(pace.timeout_s * 1000)
        self._grace = round(pace.grace_s * 1000)
        self._pages: dict[str, list[Page]] = defaultdict(list)
        for page in book.pages.values():
            if page.node_id:
                self._pages[page.node_id].append(page)
        self._events: dict[str, list[Event]] = defaultdict(list)
        for event in book.events:
            self._events[event.node_id].append(event)

    def breaches(self) -> list[Breach]:
        """All of them, in order of time."""
        found = [
            *self.falsely_offline(),
            *self.falsely_selected(),
            *self.lost_registrations(),
            *self.versions_out_of_order(),
            *self.undelivered(),
            *self.unexplained(),
            *self.undone(),
        ]
        return sorted(found, key=lambda b: b.at)

    # Nobody is falsely called offline

    def falsely_offline(self) -> Iterator[Breach]:
        for node_id, pages in self._pages.items():
            for event in self._events[node_id]:
                silent = event["reason"] == Reason.HEARTBEAT_TIMEOUT
                if event.kind == "transition" and event["to"] == "offline" and silent:
                    why = self._why_not_offline(pages, event)
                    if why:
                        yield Breach("falsely offline", node_id, event.at, why)

    def _why_not_offline(self, pages: list[Page], event: Event) -> str:
        at = event.at
        signs = [
            s for p in pages if (s := p.last_heard(at - UNDER_WAY_MS, UNDER_WAY_MS)) is not None
        ]
        last = max((s.at for s in signs), default=0)
        heard = at - last < self._timeout - ROUND_MS
        able = any(p.able_throughout(at - self._timeout, at) for p in pages)
        if not heard and not able:
            return ""
        if not able and at - self._last_through(pages, at) >= self._timeout - ROUND_MS:
            return ""  # it is gone, and spoke last to a gateway that could not hear
        evidence = json.loads(event["evidence"] or "{}")
        silent_elsewhere = at - self._last_through(pages, at)
        if evidence.get("blame") == "platform" and self._out_of_order(pages, at):
            enough = silent_elsewhere >= self._grace - ROUND_MS
            return "" if enough else "blamed on the platform, but within its grace"
        if self._strayed(pages, at) and silent_elsewhere >= self._timeout - ROUND_MS:
            return ""
        said = {name: evidence.get(name) for name in ("silence_ms", "gateway_present", "blame")}
        how = "able all the time" if able else "heard"
        return f"{at - last} ms after a sign of life, {how}; it was said: {said}"

    def _out_of_order(self, pages: list[Page], at: int) -> bool:
        """Whether a door they went through lately did not work by our fault."""
        return any(
            self._book.blamed(p.door_at(t), at - self._grace, at)
            for p in pages
            for t in (at, at - self._timeout, at - self._grace)
        )

    def _strayed(self, pages: list[Page], at: int) -> bool:
        """Whether it lost its socket at a gateway that works and came to one that can't reach the
        store: there nobody can know of it, and it is told UNAVAILABLE."""
        return any(
            self._book.blamed(p.door_at(at), at, at)
            and not self._book.blamed(p.registered_door(at), at - self._timeout, at)
            for p in pages
        )

    def _last_through(self, pages: list[Page], at: int) -> int:
        """When a sign of life last went through a door that worked."""
        return max(
            (
                s.at
                for p in pages
                for s in p.sent
                if s.sign and s.at < at and not self._book.blamed(p.door_at(s.at), s.at, s.at)
            ),
            default=0,
        )

    # Nobody is selected who is not live and ready

    def falsely_selected(self) -> Iterator[Breach]:
        seen: set[tuple[str, str]] = set()
        for answer in self._book.answers:
            for node_id in answer.ids or ():
                why = self._why_not_selected(node_id, answer)
                if why and (node_id, why) not in seen:
                    seen.add((node_id, why))
                    yield Breach("falsely selected", node_id, answer.asked, why)

    def _why_not_selected(self, node_id: str, answer: Answer) -> str:
        pages = self._pages.get(node_id)
        if not pages:
            return "nobody has this id"
        signs = [s for p in pages if (s := p.last_sign(answer.answered)) is not None]
        last = max((s.at for s in signs), default=0)
        if answer.asked - last > self._timeout + UNNOTICED_MS:
            return "no sign of life within the time-out"
        for span in self._book.intents.get(node_id, ()):
            in_force = span.begin < answer.asked and (
                span.end is None or answer.answered < span.end
            )
            if in_force and not self._being_restored(span.begin, answer.asked):
                return "an operator drained it"
        if self._told_otherwise(pages, answer):
            return "it had been told that it is not ready"
        if self._recorded_otherwise(node_id, answer):
            return "its record was not ready"
        return ""

    def _being_restored(self, known: int, at: int) -> bool:
        """Whether the store lost what it was told at an instant, and beats may still bring it
        back."""
        return any(
            loss.begin <= known <= (loss.end or known) and at <= (loss.end or at) + self._timeout
            for loss in self._book.losses
        )

    def _told_otherwise(self, pages: list[Page], answer: Answer) -> bool:
        told = max(
            (h for p in pages for h in p.heard if h.tells and h.at < answer.asked - ROUND_MS),
            key=_version,
            default=None,
        )
        if told is None or told.frame["status"] == "ready":
            return False
        if self._book.lost_since(told.at):
            return False
        by = answer.answered + UNDER_WAY_MS
        later = (
            h.frame["status"] == "ready" and int(h.frame.get("timestamp", h.at)) <= by
            for p in pages
            for h in p.heard
            if h.tells and _version(h) > _version(told)
        )
        events = (
            e["to"] == "ready" and e.at <= by
            for e in self._events[pages[0].node_id]
            if e.version > _version(told)
        )
        return not any(later) and not any(events)

    def _recorded_otherwise(self, node_id: str, answer: Answer) -> bool:
        before: Event | None = None
        for event in self._events[node_id]:
            if event.kind not in _SETS_STATUS:
                continue
            if event.at <= answer.asked - ROUND_MS:
                before = event
            elif event.at <= answer.answered + ROUND_MS and event["to"] == "ready":
                return False
        if before is None or before["to"] == "ready":
            return False
        return not self._book.lost_since(before.at)

    # Nothing acknowledged is lost

    def lost_registrations(self) -> Iterator[Breach]:
        for node_id, pages in self._pages.items():
            if len(pages) > 1 and not all(p.contested for p in pages):
                yield Breach("lost registration", node_id, 0, "two machines were given one id")
            for page in pages:
                yield from self._lost(page)

    def _lost(self, page: Page) -> Iterator[Breach]:
        law, names = "lost registration", {str(a.frame["node_id"]) for a in page.acks}
        if len(names) > 1:
            yield Breach(law, page.name, 0, f"it had to change its name: {sorted(names)}")
        for heard in page.heard:
            for_ever = heard.frame.get("code") == "NODE_ID_CONFLICT" and not (
                heard.frame.get("details") or {}
            ).get("retry_after_ms")
            if for_ever and not page.contested:
                yield Breach(law, page.node_id, heard.at, "its own name was refused for ever")
        ack = max(page.acks, key=lambda a: int(a.frame["session"]), default=None)
        if ack is None or self._forgotten(page, ack.at):
            return
        record = self._records.get(page.node_id)
        if record is None:
            yield Breach(law, page.node_id, ack.at, "no record")
        elif record.session < int(ack.frame["session"]):
            yield Breach(law, page.node_id, ack.at, "the record is of a session before")

    def _forgotten(self, page: Page, acknowledged: int) -> bool:
        """Whether the store lost it, and no sign of life came after that to bring it back."""
        last = page.last_sign(now_ms())
        return any(
            loss.begin <= acknowledged <= (loss.end or acknowledged)
            and (last is None or last.at <= (loss.end or 0))
            for loss in self._book.losses
        )

    # Versions rise

    def versions_out_of_order(self) -> Iterator[Breach]:
        for page in self._book.pages.values():
            if not page.contested:
                yield from self._told_in_disorder(page)
        for node_id, events in self._events.items():
            last: Event | None = None
            for event in events:
                if event.kind != "transition":
                    continue
                if last and event.version <= last.version and not self._book.lost_since(last.at):
                    yield Breach("versions", node_id, event.at, f"{last.version} came before")
                last = event

    def _told_in_disorder(self, page: Page) -> Iterator[Breach]:
        top: Heard | None = None
        for heard in page.heard:
            if not heard.tells:
                continue
            if top is not None:
                again = heard.kind == "node_register_ack" and _version(heard) == _version(top)
                lost = heard.socket != top.socket and self._book.lost_since(top.at)
                if _version(heard) <= _version(top) and not again and not lost:
                    what = f"{_version(heard)} after {_version(top)}"
                    yield Breach("versions", page.node_id, heard.at, what)
            if top is None or _version(heard) > _version(top):
                top = heard

    # Every status is delivered in the end

    def undelivered(self) -> Iterator[Breach]:
        for page in self._book.pages.values():
            record, told = self._records.get(page.node_id), page.told
            if page.contested or not page.is_able or record is None:
                continue
            if told is None:
                yield Breach("undelivered", page.node_id, 0, "it never was told anything")
            elif (_version(told), told.frame["status"]) != (record.version, record.status):
                what = (
                    f"told {told.frame['status']} ({_version(told)}), "
                    f"recorded {record.status} ({record.version})"
                )
                yield Breach("undelivered", page.node_id, told.at, what)

    # Every transition explains itself

    def unexplained(self) -> Iterator[Breach]:
        for node_id, events in self._events.items():
            before: Event | None = None
            for event in events:
                if event.kind not in _SETS_STATUS:
                    continue
                broken = before is not None and event["from"] != before["to"]
                if before is not None and broken and not self._book.lost_since(before.at):
                    what = f"from {event['from']}, but it was {before['to']}"
                    yield Breach("unexplained", node_id, event.at, what)
                before = event
                if event.kind == "transition":
                    why = _unexplained(event)
                    if why:
                        yield Breach("unexplained", node_id, event.at, why)

    # What operators said and leavers meant is undone by nobody

    def undone(self) -> Iterator[Breach]:
        for node_id, pages in self._pages.items():
            left_at = min((p.left_at for p in pages if p.left_at), default=0)
            for event in self._events[node_id]:
                # A resumption is told as it was: a drain takes hold at once and is worded later.
                if event.kind not in _SETS_STATUS or event.kind == "resume":
                    continue
                if event["to"] not in ("draining", "offline") and self._drained(node_id, event.at):
                    what = f"{event['to']} ({event.kind}), though an operator drained it"
                    yield Breach("undone", node_id, event.at, what)
                left = 0 < left_at < event.at - ROUND_MS and not self._book.lost_since(left_at)
                if left and event["to"] != "offline":
                    what = f"{event['to']} ({event.kind}), though it had left"
                    yield Breach("undone", node_id, event.at, what)

    def _drained(self, node_id: str, at: int) -> bool:
        """Whether an operator's drain was in force, and not to be brought back first."""
        return any(
            span.begin < at - ROUND_MS
            and (span.end is None or at < span.end)
            and not self._being_restored(span.begin, at)
            for span in self._book.intents.get(node_id, ())
        )


def _version(heard: Heard) -> int:
    return int(heard.frame["version"])


def _unexplained(event: Event) -> str:
    """What is wrong with a transition's evidence; '' if the rules say the same again."""
    if not event["evidence"]:
        return "no evidence"
    evidence = json.loads(event["evidence"])
    decision = replay(evidence)
    if decision is None:
        return f"the rules would leave it {event['from']}"
    if (decision.to.value, decision.reason.value) != (event["to"], event["reason"]):
        return f"the rules say {decision.to}/{decision.reason}, it became {event['to']}"
    facts = evidence["facts"]
    if (facts["status"], facts["sid"]) != (event["from"], event["sid"]):
        return "the evidence is about another state or session"
    return ""
