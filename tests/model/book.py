"""What each call to the store may do: one method for each script, named after it.

A method gets what was sent, changes the book as the store may be changed, and returns what the
store has to answer. A call whose fences do not hold returns early: it may change nothing. Arguments
are read by the places that each script's own header gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from unittest.mock import ANY

from tests.model.life import (
    DRAIN,
    EXPIRED,
    GAP,
    GRACE,
    INTERVAL,
    LAG,
    TIMEOUT,
    WARM_UP,
    WINDOW,
    Clocked,
    Drain,
    Leave,
    Place,
    Record,
    by_time,
    called_for,
)

# Calls that change nothing of what the book holds.
READS = frozenset({"facts", "now", "present", "announce", "subjects", "sample", "note"})
_WAITS = 1000  # who waits for something that has no instant is looked at so often


@dataclass
class Kept:
    """All that the store holds: what a failover can take back. `swept` is when the partition was
    last observed, `other_run` whether by another run of the store; `released` when an operator let
    go of the brake. `hidden` is by how much the store's clock stepped back while nobody observed,
    so that it was not seen: nothing set on the alarms of before."""

    places: dict[str, Place]
    unobserved: int = 0
    swept: int | None = None
    other_run: bool = False
    lease: tuple[str, int] | None = None
    released: int = 0
    hidden: int = 0


@dataclass
class Call:
    """One call on its way. `sent` is when, by the world's own clock; `judged` what its sender
    judged, for one that follows from a judgement, and whether by the time that passed; `done` how
    often it was executed."""

    name: str
    keys: list[str]
    args: list[str]
    by: str
    sent: int
    judged: tuple[str, str] | None = None
    by_time: bool = False
    done: int = 0


@dataclass
class Book:
    """The partition of a few nodes, and what must have been said of them since the last look."""

    ids: tuple[str, ...]
    store_now: Callable[[], int]
    now: Callable[[], int]  # the world's own clock, which never steps
    kept: Kept = field(default_factory=lambda: Kept({}))
    events: list[tuple[Any, ...]] = field(default_factory=list)
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    observed: list[int] = field(default_factory=list)
    taken_for_seen: list[tuple[int, int]] = field(default_factory=list)  # when noted, how many ms
    popped: dict[str, tuple[int, str]] = field(default_factory=dict)
    looked_again: dict[str, int] = field(default_factory=dict)
    put_off: dict[str, int] = field(default_factory=dict)  # by a call that came late or again
    withheld: dict[str, int] = field(default_factory=dict)  # until then, as time called for it
    worded: list[tuple[int, str]] = field(default_factory=list)  # called silent: when, by whom
    judged: dict[tuple[str, str], tuple[tuple[str, str] | None, bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """The store is empty."""
        self.kept = Kept({id_: Place() for id_ in self.ids})

    def place(self, node_id: str) -> Place:
        return self.kept.places[node_id]

    def lapse(self) -> None:
        """Keys whose time is over are gone."""
        now = self.store_now()
        for place in self.kept.places.values():
            if place.live_until is not None and place.live_until < now:
                place.live_until = None
            if place.holds_until is not None and place.holds_until < now:
                place.holds_until, place.holds = None, {}

    def executed(self, call: Call, reply: Any) -> None:
        """A call was executed and answered: changes the book, and compares the answer."""
        self.lapse()
        expected = getattr(self, f"_{call.name}")(call, reply, self.store_now())
        call.done += 1
        assert reply == expected, f"{call.name} answered {reply}, expected {expected}"

    def judge(self, by: str, node_id: str, present: Callable[[str], bool]) -> None:
        """A sweeper reads a node's facts: what it does next must be what they call for.
        `present`: which gateways it believes to live."""
        called = self.called_for(node_id, present)
        self.judged[by, node_id] = called, by_time(self.place(node_id), called)

    def called_for(self, node_id: str, present: Callable[[str], bool]) -> tuple[str, str] | None:
        """The change of state that a node's facts call for now."""
        self.lapse()
        place = self.place(node_id)
        there = place.record is not None and present(place.record.gateway)
        return called_for(place, self.store_now(), self.kept.unobserved, there)

    def only_a_word(self, node_id: str, called: tuple[str, str]) -> bool:
        """Whether a drain that had run out is called for to go on because time from before it began
        was written down as unobserved since: the next beat sees to that word, nobody else need."""
        place = self.place(node_id)
        r, drain = place.record, place.drain
        more = r is not None and (r.status, *called) == ("draining", "draining", "operator")
        return more and drain is not None and drain.clock.unobserved != self.kept.unobserved

    # Gateways

    def _register(self, call: Call, reply: Any, now: int) -> Any:
        a = call.args
        id_, expected_sid, expected_digest, kind, sid = a[:5]
        packed = int(a[21])
        if abs(now - packed) > LAG:
            return ["retime", now]
        age = int(a[24]) + max(0, now - packed)
        place = self.place(id_)
        r = place.record
        digest = r.digest if r else ""
        stale = age >= TIMEOUT or (r.sid if r else "") != expected_sid
        if stale or (r is not None and digest != expected_digest):
            return ["stale", ANY]
        if kind == "revive" and (r is None or r.reason != "heartbeat_timeout"):
            return ["stale", ANY]
        if kind == "restore" and place.drain is None and a[20]:
            place.drain = Drain(a[20], self._begins(DRAIN))
        unobserved = self.kept.unobserved
        resumed = (
            kind == "resume" and r is not None and r.status != "offline" and r.leave is None
            and r.hardware == a[9]
        )  # fmt: skip
        new = Record(
            sid=sid, session=max((r.session if r else 0) + 1, int(a[17]) + 1, now), gateway=a[5],
            hardware=a[9], digest=a[7], capabilities=tuple(a[8].split("\n")), capacity=int(a[11]),
        )  # fmt: skip
        if resumed:
            assert r is not None
            for same in (
                "version", "status", "reason", "previous", "since", "window", "last_verdict",
                "last_failure", "ever_ready", "warm_up", "jobs", "reported", "job_failed",
            ):  # fmt: skip
                setattr(new, same, getattr(r, same))
        else:
            new.version = max((r.version if r else 0) + 1, int(a[18]) + 1, now)
            drained = place.drain is not None
            new.status = "draining" if drained else "registering"
            new.reason = "operator" if drained else "registered"
            new.previous, new.since = r.status if r else "", now
            new.window = a[19] if kind == "restore" else ""
            new.last_verdict = new.window[:1]
            waited = self.now() - call.sent + int(a[24])
            new.warm_up = self._begins(WARM_UP, now - age, waited)
        new.beat = Clocked(now - age, unobserved, TIMEOUT)
        new.heard, new.taken = call.sent - int(a[24]), self.now()
        new.ahead = self._ahead(now)
        place.record, place.live_until = new, now + TIMEOUT - age
        type_ = "register" if kind == "resume" and not resumed else kind
        self.events.append((type_, id_, r.status if r else "", new.status, new.reason, new.version))
        if r is not None and r.sid != sid:
            self.messages.append((r.gateway, "superseded", id_, r.sid))
        return [
            "ok", new.session, new.version, new.status, new.reason, new.since, int(resumed),
            place.drain.stamp if place.drain else "", now,
        ]  # fmt: skip

    def _beat(self, call: Call, reply: Any, now: int) -> Any:
        a = call.args
        packed = int(a[5])
        if abs(now - packed) > LAG:
            return [now, "retime"]
        answers = []
        for key, line in zip(call.keys[int(a[0]) * 3 :: 3], a[7:], strict=True):
            said = line.partition("\n")[0].split(" ")
            id_, lag = key.partition(":n:")[2], max(0, now - packed)
            answers.append(self._beaten(id_, said, lag, now, call.sent))
        return [now, "ok", *answers]

    def _beaten(self, id_: str, said: list[str], lag: int, now: int, sent: int) -> Any:
        session, seq, age, relayed = int(said[1]), int(said[2]), int(said[3]) + lag, int(said[7])
        verdict, jobs, capacity, sid = said[4], int(said[5]), int(said[6]), said[8]
        place = self.place(id_)
        r = place.record
        if r is None:
            return ["missing", 0, "", "", "", 0]
        outcome = ""
        if r.sid != sid:
            outcome = "older" if r.session < session else "foreign"
        elif r.status == "offline":
            silent = "silent" if age < TIMEOUT else "too_old"
            outcome = silent if r.reason == "heartbeat_timeout" else "left"
        elif age >= TIMEOUT:
            outcome = "too_old"
        else:
            if seq > r.seq:
                self._counts(place, r, verdict, now, age)
                if (heard := sent - int(said[3])) >= r.heard:
                    r.heard, r.taken, r.ahead = heard, self.now(), self._ahead(now)
                r.seq, r.jobs, r.capacity = seq, jobs, capacity
            if r.version != relayed:
                outcome = "tell" if r.version > relayed else "lower"
        return [outcome, r.version, r.status, r.previous, r.reason, r.since] if outcome else 0

    def _counts(self, place: Place, r: Record, verdict: str, now: int, age: int) -> None:
        """One beat is one verdict, and one more for a gap in which somebody was there to hear."""
        last = r.beat.at if r.beat.at <= now else now - age
        at = max(now - age, last)
        quiet = at - last - (self.kept.unobserved - r.beat.unobserved)
        missed = quiet > 2 * INTERVAL
        r.window = (verdict + ("b" if missed else "") + r.window)[:WINDOW]
        r.last_verdict = verdict
        if verdict != "P":
            r.last_failure = verdict
        elif missed:
            r.last_failure = "b"
        r.beat = Clocked(at, self.kept.unobserved, TIMEOUT)
        r.reported = at
        place.live_until = at + TIMEOUT

    def _update(self, call: Call, reply: Any, now: int) -> Any:
        id_, sid, expected, _, digest, capabilities = call.args[:6]
        r = self.place(id_).record
        if r is None or r.sid != sid:
            return 0
        if r.digest != expected:
            return int(r.digest == digest)
        if digest != expected:
            self.events.append(("update", id_, r.status, r.status, "capabilities", None))
        r.digest, r.capabilities = digest, tuple(capabilities.split("\n"))
        r.capacity = int(call.args[7])
        return 1

    def _job(self, call: Call, reply: Any, now: int) -> Any:
        id_, sid, failed, jobs = call.args[:4]
        place = self.place(id_)
        r = place.record
        if r is None or r.sid != sid or r.status == "offline":
            return 0
        for hold in call.args[7:]:
            self._ends(place, hold)
        if jobs:
            r.jobs, r.reported = int(jobs), now
        if failed == "1" and now - r.job_failed >= INTERVAL:
            r.job_failed, r.last_failure = now, "j"
            r.window = ("j" + r.window)[:WINDOW]
        return 1

    def _leave(self, call: Call, reply: Any, now: int) -> Any:
        id_, sid, digest, drain, allowed = call.args[:5]
        r = self.place(id_).record
        if r is None or r.sid != sid or r.digest != digest or r.status == "offline":
            return 0
        stamp = f"unregister {now}"
        if r.leave is None:
            r.leave = Leave("unregister", stamp, drain == "1", self._begins(int(allowed)))
        elif r.leave.kind != "remove" and drain == "0":
            r.leave.drain, r.leave.stamp = False, stamp
        return 1

    def _mend(self, call: Call, reply: Any, now: int) -> Any:
        id_, sid, digest, relayed, stamp = call.args[:5]
        place = self.place(id_)
        r = place.record
        if r is None or r.sid != sid or r.digest != digest:
            return 0
        if r.version < int(relayed):
            r.version = max(int(relayed) + 1, now)
            if stamp and place.drain is None:
                place.drain = Drain(stamp, self._begins(DRAIN))
            self.events.append(("mend", id_, r.status, r.status, "version_lost", r.version))
        return [r.version, r.status, r.previous, r.reason, r.since]

    # Operators

    def _intend(self, call: Call, reply: Any, now: int) -> Any:
        id_, digest, stamp = call.args[:3]
        place = self.place(id_)
        r = place.record
        if place.drain is not None and place.drain.stamp == stamp:
            return 1
        if r is None or r.digest != digest or r.removed:
            return 0
        place.drain = Drain(stamp, self._begins(int(call.args[5])))
        self.events.append(("operator_drain", id_, "", "", "", None))
        return 1

    def _unintend(self, call: Call, reply: Any, now: int) -> Any:
        id_, digest = call.args[:2]
        place = self.place(id_)
        if place.drain is None:
            return ANY  # whether this very act had ended it is told only to its sender
        if (place.record.digest if place.record else "") != digest:
            return -1
        place.drain = None
        self.events.append(("operator_resume", id_, "", "", "", None))
        return 1

    def _remove(self, call: Call, reply: Any, now: int) -> Any:
        id_, digest, stamp = call.args[:3]
        place = self.place(id_)
        r = place.record
        if r is not None and r.leave is not None and r.leave.stamp == stamp:
            return 1
        if r is None or r.digest != digest or r.removed:
            return 0
        r.leave = Leave("remove", stamp, False, Clocked(now, self.kept.unobserved))
        self.events.append(("operator_remove", id_, "", "", "", None))
        if r.status == "offline":
            self._becomes(place, r, "offline", "removed", now)
            r.since = now
            self._told(call.keys[8], id_, r)
        return 1

    # Schedulers

    def _hold(self, call: Call, reply: Any, now: int) -> Any:
        hold, allowed, digest = call.args[0], int(call.args[1]), call.args[2]
        id_ = call.keys[0].partition(":n:")[2]
        place = self.place(id_)
        r = place.record
        if r is None or not place.indexed or not place.live(now) or r.digest != digest:
            return ["no", ANY]
        ended = min(now, r.reported)
        for over in [name for name, expires in place.holds.items() if expires <= ended]:
            self._ends(place, over)
        load = r.jobs + len(place.holds)
        if hold in place.holds:
            load -= 1
        elif load >= r.capacity:
            return ["no", "capacity_exceeded"]
        else:
            place.holds[hold] = now + allowed
            place.holds_until = max(place.holds_until or 0, now + allowed + 2 * TIMEOUT)
        return ["ok", load, r.capacity, now - r.beat.at, place.holds[hold], r.gateway]

    def _unhold(self, call: Call, reply: Any, now: int) -> Any:
        return int(self._ends(self.place(call.args[0]), call.args[1]))

    @staticmethod
    def _ends(place: Place, hold: str) -> bool:
        there = place.holds.pop(hold, None) is not None
        if not place.holds:
            place.holds_until = None
        return there

    # Sweepers

    def _patrol(self, call: Call, reply: Any, now: int) -> Any:
        owner, lease_ms, observe = call.args[0], int(call.args[1]), call.args[2] == "1"
        holder, until = self.kept.lease or (owner, now)
        if holder != owner and until >= now:
            return [now, ANY, [0, 0, 0, 0, [], [], 0]]
        self.kept.lease = (owner, now + lease_ms)
        added = 0
        if observe:
            if self.kept.swept is not None:
                gap = now - self.kept.swept
                if gap > GAP or gap < 0 or self.kept.other_run:
                    added = gap
                elif self.observed and (hidden := self.now() - self.observed[-1] - gap) > 0:
                    # By the store's clock, which stepped back meanwhile, there was no gap.
                    self.kept.hidden += hidden
                    self.taken_for_seen.append((self.now(), gap))
            self.kept.unobserved += added
            self.kept.swept, self.kept.other_run = now, False
            self.observed.append(self.now())
        for id_ in reply[2][4]:
            self.popped[id_] = (now, call.by)
        return [now, ANY, [1, self.kept.unobserved, ANY, ANY, ANY, ANY, added]]

    def _snooze(self, call: Call, reply: Any, now: int) -> Any:
        well = [id_ for id_ in call.args[1:] if self.place(id_).well(now, self.kept.unobserved)]
        for id_ in well:
            for present in (True, False):
                called = called_for(self.place(id_), now, self.kept.unobserved, present)
                assert called is None, f"{id_} is called well, and {called} is called for"
        return [now, ANY, well]

    def _arm(self, call: Call, reply: Any, now: int) -> Any:
        id_ = call.args[0]
        place = self.place(id_)
        self.looked_again[id_] = now + _WAITS
        if call.done or call.sent < self.now():
            self.put_off[id_] = now + _WAITS
        if call.by_time:
            self.withheld[id_] = now + _WAITS
        if place.record is None:
            return 0
        put_off = call.judged is None or call.by_time
        assert put_off, f"{call.judged} was called for, and not made"
        if place.live_until is not None and place.live_until - now > TIMEOUT:
            place.live_until = None
        return ANY

    def _transition(self, call: Call, reply: Any, now: int) -> Any:
        id_, sid, version, from_, intent, leave, digest, window, to, reason = call.args[:10]
        place = self.place(id_)
        r = place.record
        assert (to, reason) == call.judged, f"{to}/{reason}, but called for was {call.judged}"
        seen = (sid, version, from_, intent, leave, digest, window)
        if r is None or seen != (
            r.sid, str(r.version), r.status, place.drain.stamp if place.drain else "",
            r.leave.stamp if r.leave else "", r.digest, r.window,
        ):  # fmt: skip
            return ["stale", ANY]
        silence, looked = int(call.args[11]), int(call.args[19])
        assert bool(looked) is call.by_time, f"{call.judged} was judged, and the look is {looked}"
        if looked and (abs(now - looked) > GAP or int(call.args[22]) != self.kept.unobserved):
            return ["stale", ANY]
        if silence and (place.live(now) or r.beat.ran(now, self.kept.unobserved) < silence):
            return ["stale", ANY]
        if call.args[12] == "1" and (place.held(now) or r.reported != int(call.args[13])):
            return ["stale", ANY]
        if silence:
            self._was_silent(id_, r, silence)
            self.worded.append((now, call.by))
        elif call.by_time:
            self._was_over(id_, place, r, to)
        moves = (r.status, to)
        if "ready" in moves and r.status != to:
            r.window = ""
        if moves == ("draining", "registering"):
            r.warm_up = self._begins(WARM_UP)
        since = r.since if r.status == to else now
        self._becomes(place, r, to, reason, now)
        r.since = since
        if to == "ready":
            r.ever_ready = True
        self.looked_again[id_] = now
        self.events.append(("transition", id_, from_, to, reason, r.version))
        self._told(call.keys[9], id_, r)
        return ["ok", r.version, since, now]

    def _was_silent(self, id_: str, r: Record, silence: int) -> None:
        """Nobody is called offline before time: by the world's own clock, whatever the store's
        says, and only by time in which somebody was there to hear."""
        seen = r.taken - r.heard + self._seen_since(r.taken)
        blamed_on_us = silence == GRACE and self.now() - r.heard >= GRACE
        assert seen >= TIMEOUT - r.ahead or blamed_on_us, (
            f"{id_} was silent for {seen} observed ms only"
        )

    def _ahead(self, now: int) -> int:
        """By how much the store's clock stepped back since the partition was observed: until that
        is written down, a node that beats counts from too large a total of unobserved time. What
        its key says, and that its time runs by the store's clock, holds all the same."""
        return max(0, (self.kept.swept or 0) - now)

    def _was_over(self, id_: str, place: Place, r: Record, to: str) -> None:
        """No warm-up and no drain is called over before time, measured in the same way; of one that
        was given more time nothing is said."""
        if r.status == "registering":
            clock = r.warm_up
        elif r.leave is not None:
            clock = r.leave.clock
        else:
            assert place.drain is not None
            clock = place.drain.clock
        seen = clock.waited + self._seen_since(clock.taken)
        given_more = (r.status, to, r.reason) == ("draining", "draining", "drain_timeout")
        over = seen >= clock.allowed - clock.ahead
        assert given_more or over, f"{id_}: {to} after {seen} observed ms only"

    def _seen_since(self, taken: int) -> int:
        """Ms since an instant in which somebody was there to hear, or seemed to have been."""
        looks = [taken, *(at for at in self.observed if at > taken), self.now()]
        gaps = [later - former for former, later in pairwise(looks)]
        seeming = sum(gap for at, gap in self.taken_for_seen if at > taken)
        return sum(gap for gap in gaps if gap <= GAP) + seeming

    def _begins(self, allowed: int, at: int | None = None, waited: int = 0) -> Clocked:
        """A time allowed that begins now, or at an instant of the store's clock."""
        now = self.store_now()
        return Clocked(
            now if at is None else at, self.kept.unobserved, allowed, self.now(), waited,
            self._ahead(now),
        )  # fmt: skip

    def _becomes(self, place: Place, r: Record, to: str, reason: str, now: int) -> None:
        r.previous, r.status, r.reason = r.status, to, reason
        r.version = max(r.version + 1, now)
        if to == "offline":
            place.live_until = None
            if reason == "removed":
                place.holds, place.holds_until = {}, None

    def _told(self, channel: str, id_: str, r: Record) -> None:
        gateway = channel.rpartition(":gw:")[2]
        said = ("status", id_, r.sid, r.version, r.status, r.previous, r.reason, r.since)
        self.messages.append((gateway, *said))

    def _expire(self, call: Call, reply: Any, now: int) -> Any:
        id_, sid, version = call.args[:3]
        place = self.place(id_)
        r = place.record
        assert call.judged == EXPIRED, f"{call.judged} was called for, and the record went"
        if r is None or (sid, version, "offline") != (r.sid, str(r.version), r.status):
            return 0
        if called_for(place, now, 0, True) != EXPIRED:
            return 0
        place.record, place.live_until, place.holds, place.holds_until = None, None, {}, None
        self.events.append(("expired", id_, "offline", "", "expired", None))
        return 1
