"""Looks at everything the store holds, and compares it with the book."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from registry.base import number, text
from registry.model import Status
from registry.registry import Registry
from registry.requirement import Requirement
from tests.model.book import Book
from tests.model.life import Place, next_instant

_FIELDS = (
    "sid", "ses", "ver", "st", "rs", "prev", "since", "gw", "dig", "win", "seq", "jobs", "rat",
    "beat", "bun", "lv", "ever",
)  # fmt: skip
_ALARM_LATE_MS = 50  # an alarm is never set for this very instant, lest it ring without end
_POPPED_MS = 5000  # a mark that was taken by a sweeper which did no more rings again after this


class Looking:
    """One partition as it is in the store."""

    def __init__(self, registry: Registry, book: Book, partition: int) -> None:
        self._registry = registry
        self._book = book
        self._p = partition
        self._last_event = "-"
        self._messages: Any = None
        self._versions: dict[str, int] = {}

    async def listens(self) -> None:
        """Hears from now on what gateways are told."""
        k, p = self._registry.keys, self._p
        self._messages = self._registry.store.client.pubsub()
        await self._messages.ssubscribe(*(k.channel(p, gateway) for gateway in ("gw1", "gw2")))

    async def close(self) -> None:
        if self._messages is not None:
            await self._messages.aclose()

    async def compares(self) -> None:
        """Everything in the store is as the book says."""
        self._book.lapse()
        now = self._book.store_now()
        indexed, alarms, marked = await self._partition()
        for id_ in self._book.ids:
            place = self._book.place(id_)
            await self._node(id_, place, now)
            own = set(place.record.capabilities) if place.record and place.indexed else set()
            assert indexed.get(id_, set()) == own, f"{id_} is in {indexed.get(id_)}, not in {own}"
            if place.record is not None:
                self._rings(id_, place, now, alarms.get(id_), id_ in marked)
        await self._events()
        await self._heard()

    # The store, part by part

    async def _partition(self) -> tuple[dict[str, set[str]], dict[str, int], set[str]]:
        k, p, book = self._registry.keys, self._p, self._book
        names = {"any", "asr:zh", "tts:en"}
        replies = await self._registry.store.commands(
            [
                ("ZRANGE", k.roll(p), 0, -1),
                ("HMGET", k.counts(p), *Status),
                ("GET", k.unobserved(p)),
                ("SMEMBERS", k.names(p)),
                ("SMEMBERS", k.todo(p)),
                *(("ZSCORE", k.due(p), id_) for id_ in book.ids),
                *(("SMEMBERS", k.ready(p, name)) for name in sorted(names)),
            ]
        )
        roll, counts, unobserved, known, todo = replies[:5]
        dues, sets = replies[5 : 5 + len(book.ids)], replies[5 + len(book.ids) :]
        there = [id_ for id_ in book.ids if book.place(id_).record is not None]
        assert sorted(text(id_) for id_ in roll) == sorted(there), "the roll"
        by_status = Counter(
            r.status for id_ in there if (r := book.place(id_).record) is not None
            and (r.status, r.reason) != ("offline", "removed")
        )  # fmt: skip
        assert [number(count) for count in counts] == [by_status[s] for s in Status], "the counts"
        assert number(unobserved) == book.kept.unobserved, "unobserved time"
        places: dict[str, set[str]] = {}
        for name, ids in zip(sorted(names), sets, strict=True):
            assert not ids or name in {text(n) for n in known}, f"{name} is an index unknown"
            for id_ in ids:
                places.setdefault(text(id_), set()).add(name)
        alarms = {
            id_: int(float(due)) for id_, due in zip(book.ids, dues, strict=True) if due is not None
        }
        return places, alarms, {text(id_) for id_ in todo}

    async def _node(self, id_: str, place: Place, now: int) -> None:
        k, r = self._registry.keys, place.record
        row, stamp, left, holds = await self._registry.store.commands(
            [
                ("HMGET", k.node(id_), *_FIELDS),
                ("HGET", k.intent(id_), "stamp"),
                ("PTTL", k.ttl(id_)),
                ("ZRANGE", k.holds(id_), 0, -1, "WITHSCORES"),
            ]
        )
        assert text(stamp) == (place.drain.stamp if place.drain else ""), f"{id_}'s drain"
        live = place.live_until - now if place.live_until is not None else 0
        assert max(0, int(left)) == max(0, live), f"{id_} is live for {left} ms, not {live}"
        assert _scores(holds) == place.holds, f"{id_}'s holds"
        if r is None:
            assert row[0] is None, f"{id_} has no record"
            return
        found = [text(value) for value in row]
        expected = [
            r.sid, r.session, r.version, r.status, r.reason, r.previous, r.since, r.gateway,
            r.digest, r.window, r.seq, r.jobs, r.reported, r.beat.at, r.beat.unobserved,
            r.leave.stamp if r.leave else "", int(r.ever_ready),
        ]  # fmt: skip
        pairs = zip(_FIELDS, found, (str(value) for value in expected), strict=True)
        wrong = {name: (is_, should) for name, is_, should in pairs if is_ != should}
        assert not wrong, f"{id_}: (is, should be) {wrong}"

    def _rings(self, id_: str, place: Place, now: int, due: int | None, marked: bool) -> None:
        """Whatever is called for now or by time alone, somebody will look in time: the node is
        marked, or its alarm rings no later than that."""
        assert due is not None, f"{id_} has no alarm"
        if marked:
            return
        if (self._book.kept.swept or 0) > now:
            return  # the clock stepped back: the next look that observes rings every alarm
        called = self._book.called_for(id_, lambda gateway: True) is not None
        instant = now if called else next_instant(place, self._book.kept.unobserved)
        popped = self._book.popped.get(id_, (0, ""))[0]
        looked = self._book.looked_again.get(id_, 0)
        # What a frame waited where nobody observed may bring its node's silence forward by as much;
        # the alarm that was set before stays.
        waited = place.record.taken - place.record.heard if place.record else 0
        latest = max(instant, looked) + _ALARM_LATE_MS + waited + self._book.kept.hidden
        if called:
            latest = max(latest, popped + _POPPED_MS)
        assert due <= latest, (
            f"{id_} is looked at {due - latest} ms too late: its alarm rings at {due}, now is "
            f"{now}, it is due at {instant}, it was to be looked at again at {looked}"
        )

    async def _events(self) -> None:
        """One for each change, in order; versions rise, and each begins where the last ended."""
        key = self._registry.keys.events(self._p)
        low = "-" if self._last_event == "-" else f"({self._last_event}"
        (found,) = await self._registry.store.commands([("XRANGE", key, low, "+")])
        heard = []
        for id_, fields in found:
            self._last_event = text(id_)
            e = _fields(fields)
            if e["type"] in ("unobserved", "mass_expiry"):
                continue
            version = int(e["version"]) if "version" in e else None
            of = ("from", "to", "reason")
            heard.append((e["type"], e["id"], *(e.get(part, "") for part in of), version))
            if version is not None:
                if e["type"] != "resume":
                    assert version > self._versions.get(e["id"], 0), "versions only grow"
                self._versions[e["id"]] = version
        assert heard == self._book.events, f"events {heard}, not {self._book.events}"
        self._book.events.clear()

    async def _heard(self) -> None:
        """One message for each change, to the gateway that holds the node."""
        await self._messages.ping()
        heard = []
        while (said := await self._messages.get_message(timeout=1.0)) is not None:
            if said["type"] == "pong":
                break
            if said["type"] != "smessage":
                continue
            heard.append(_message(said))
        assert heard == self._book.messages, f"messages {heard}, not {self._book.messages}"
        self._book.messages.clear()

    # What a step does to the whole store

    async def lapse(self) -> None:
        """Keys whose time is over go now, and not at some moment later."""
        k = self._registry.keys
        keys = [key for id_ in self._book.ids for key in (k.ttl(id_), k.holds(id_))]
        await self._registry.store.commands([("EXISTS", key) for key in keys])
        self._book.lapse()

    async def empty(self) -> None:
        await self._registry.store.commands([("FLUSHALL",)])
        self._last_event, self._versions = "-", {}

    async def keys(self) -> dict[bytes, tuple[bytes, int]]:
        """Every key: its value as the store dumps it, and when it ends (0 = never)."""
        client = self._registry.store.client
        kept: dict[bytes, tuple[bytes, int]] = {}
        for key in await client.keys("*"):
            value, left = await self._registry.store.commands([("DUMP", key), ("PTTL", key)])
            if value is not None:
                kept[key] = (value, self._book.store_now() + int(left) if left > 0 else 0)
        return kept

    async def restore(self, kept: dict[bytes, tuple[bytes, int]]) -> None:
        """The store is as it was, and is another server."""
        await self.empty()
        now, client = self._book.store_now(), self._registry.store.client
        for key, (value, until) in kept.items():
            if not until or until > now:
                await client.execute_command("RESTORE", key, until - now if until else 0, value)
        swept = self._registry.keys.swept(self._p)
        if was := await client.get(swept):
            await client.set(swept, f"{was.decode().split(' ')[0]} another")
        last = await client.xrevrange(self._registry.keys.events(self._p), count=1)
        self._last_event = text(last[0][0]) if last else "-"

    async def brake(self, who: str) -> tuple[int, int, int] | None:
        """What a sweeper tells of its brake, if it holds: since when, until when, how many wait."""
        key = self._registry.keys.brakes()
        (told,) = await self._registry.store.commands([("HGET", key, who)])
        said = json.loads(told) if told is not None else {"fresh_until": 0}
        if said["fresh_until"] <= self._book.store_now():
            return None
        return said["since"], said["until"], said["waiting"]

    async def waits(self) -> bool:
        """Whether anything is marked, or an alarm rings."""
        k, now = self._registry.keys, self._book.store_now()
        marked, rings = await self._registry.store.commands(
            [("SCARD", k.todo(self._p)), ("ZCOUNT", k.due(self._p), "-inf", now)]
        )
        return bool(marked or rings)

    async def selectable(self) -> None:
        """A scheduler is told all who may be given work, and nobody else."""
        self._book.lapse()
        now = self._book.store_now()
        for capability in ("any", "asr:zh", "tts:en"):
            found = {s.node_id for s in await self._registry.select(Requirement((capability,)), 9)}
            expected = {
                id_
                for id_, place in self._book.kept.places.items()
                if (r := place.record) is not None
                and capability in r.capabilities
                and place.selectable(now)
            }
            assert found == expected, f"for {capability}: {found}, not {expected}"


def _scores(found: Any) -> dict[str, int]:
    """RESP3 answers scores in pairs, RESP2 in a row."""
    flat = (
        [part for pair in found for part in pair] if found and isinstance(found[0], list) else found
    )
    return {
        text(name): int(float(score)) for name, score in zip(flat[::2], flat[1::2], strict=True)
    }


def _fields(found: Any) -> dict[str, str]:
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    return {text(name): text(value) for name, value in pairs}


def _message(said: dict[str, Any]) -> tuple[Any, ...]:

    m = json.loads(said["data"])
    gateway = text(said["channel"]).rpartition(":gw:")[2]
    if m["t"] == "superseded":
        return (gateway, "superseded", m["id"], m["sid"])
    parts = ("id", "sid", "version", "status", "previous", "reason", "since")
    return (gateway, m["t"], *(m[part] for part in parts))
