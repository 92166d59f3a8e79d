"""Registries in one small class: an honest one, and the same with one thing wrong.

They judge by the real rules, so that their evidence is real, and speak just enough of the protocol
for the fleet's machines. What is wrong is one method that a wrong toy overrides.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from registry.model import Decision, Facts, Reason, Status
from registry.window import in_a_row
from sweeper.rules import Limits, judge
from tests.faults.book import Event, now_ms
from tests.faults.eye import Record
from tests.faults.pace import Pace
from tests.faults.proxy import Proxy

_TICK_S = 0.02
_READY = Status.READY


@dataclass(eq=False)
class Known:
    """What a toy knows of one machine."""

    node_id: str
    status: Status = Status.REGISTERING
    reason: str = Reason.REGISTERED
    version: int = 0
    session: int = 0
    sid: str = ""
    since: int = 0
    last_beat: int = 0
    window: str = ""
    ever_ready: bool = False
    leaves: bool = False
    socket: ServerConnection | None = field(default=None, repr=False)


class Toy:
    """An honest one. It is a door for machines and an eye for the checker."""

    def __init__(self, pace: Pace) -> None:
        self.known: dict[str, Known] = {}
        self.proxy = Proxy(0)
        self.timeout_ms = round(pace.timeout_s * 1000)
        self._warmup_ms = round(pace.s(60) * 1000)
        self._grace_ms = round(pace.grace_s * 1000)
        self._events: list[Event] = []
        self._server: Server
        self._ticking: asyncio.Task[None]

    async def start(self) -> None:
        self._server = await serve(self._talk, "127.0.0.1", 0, compression=None)
        self.proxy.target = next(iter(self._server.sockets)).getsockname()[1]
        await self.proxy.start()
        self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        self._ticking.cancel()
        await self.proxy.stop()
        self._server.close()
        await self._server.wait_closed()

    # What a wrong one does otherwise

    def name_for(self, asked: str | None) -> str:
        """The id of a machine that asks for one, or for its own."""
        return asked or f"toy-{secrets.token_hex(4)}"

    def keep(self, known: Known) -> None:
        """Remembers what was acknowledged."""
        self.known[known.node_id] = known

    def live(self, known: Known) -> bool:
        return now_ms() - known.last_beat < self.timeout_ms

    def selectable(self, known: Known) -> bool:
        return known.status is _READY and self.live(known)

    def limits(self) -> Limits:
        return Limits(
            self.timeout_ms, self._warmup_ms, 86_400_000, self._grace_ms, False, 900_000, 60_000
        )

    def decide(self, facts: Facts) -> Decision | None:
        return judge(facts, self.limits(), gateway_present=True)

    def next_version(self, known: Known) -> int:
        return max(known.version + 1, now_ms())

    async def tell(self, known: Known, frame: dict[str, Any]) -> None:
        if known.socket is not None:
            await known.socket.send(json.dumps(frame))

    # Door

    async def _talk(self, socket: ServerConnection) -> None:
        mine: Known | None = None
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "node_register":
                    mine = await self._register(socket, message)
                elif mine is None or mine.sid == "" or mine.socket is not socket:
                    await socket.send(json.dumps(_error("NOT_REGISTERED")))
                elif message["type"] == "node_unregister":
                    mine.leaves = True
                else:
                    await self._beat(mine, message)
        except ConnectionClosed:
            pass

    async def _register(self, socket: ServerConnection, message: dict[str, Any]) -> Known:
        node_id = self.name_for(message["node_id"])
        former = self.known.get(node_id)
        known = former or Known(node_id)
        before = known.status.value if former else ""
        known.status, known.reason, known.window = Status.REGISTERING, Reason.REGISTERED, ""
        known.leaves = False
        known.ever_ready, known.sid, known.socket = False, secrets.token_hex(8), socket
        known.since = known.last_beat = now_ms()
        known.version = self.next_version(known)
        known.session = max(known.session + 1, now_ms())
        self.keep(known)
        self._event("register", known, before, {})
        ack = {"type": "node_register_ack", "node_id": node_id, "status": "registering"}
        await self.tell(known, ack | {"version": known.version, "session": known.session})
        return known

    async def _beat(self, known: Known, message: dict[str, Any]) -> None:
        if known.status is Status.OFFLINE:
            await self.tell(known, _error("NOT_REGISTERED"))
            return
        known.last_beat = now_ms()
        ill = message.get("resource_usage", {}).get("gpu_percent", 0) > 100
        known.window = (("g" if ill else "P") + known.window)[:5]

    # Judge

    async def _tick(self) -> None:
        while True:
            for known in list(self.known.values()):
                facts = self._facts(known)
                decision = self.decide(facts)
                if decision is not None:
                    await self._commit(known, decision)
            await asyncio.sleep(_TICK_S)

    async def _commit(self, known: Known, decision: Decision) -> None:
        before = known.status
        known.status, known.reason, known.since = decision.to, decision.reason, now_ms()
        known.version = self.next_version(known)
        known.ever_ready = known.ever_ready or decision.to is _READY
        if decision.resets_window:
            known.window = ""
        self._event("transition", known, before.value, decision.evidence)
        frame = {
            "type": "node_status", "node_id": known.node_id, "status": known.status.value,
            "previous": before.value, "reason": str(known.reason), "version": known.version,
            "timestamp": known.since,
        }  # fmt: skip
        try:
            await self.tell(known, frame)
        except ConnectionClosed:
            known.socket = None

    def _facts(self, known: Known) -> Facts:
        left = self.timeout_ms - (now_ms() - known.last_beat)
        numbers = {
            name: 0
            for name in Facts.__dataclass_fields__
            if Facts.__dataclass_fields__[name].type == "int"
        }
        texts = dict.fromkeys(("gateway", "digest", "last_failure", "intent"), "")
        last = in_a_row(known.window)[:1]
        told: dict[str, Any] = {
            "node_id": known.node_id, "now": now_ms(), "sid": known.sid, "since": known.since,
            "version": known.version, "status": known.status, "reason": str(known.reason),
            "window": known.window, "ever_ready": known.ever_ready, "was_ready": False,
            "last_beat": known.last_beat, "warmup_at": known.since, "ttl_ms": max(-2, left),
            "leave": "1" if known.leaves else "",
            "leave_kind": "unregister" if known.leaves else "",
            "leave_drain": False, "last_verdict": last, "capabilities": (),
        }  # fmt: skip
        return Facts(**(numbers | texts | told))

    def _event(self, kind: str, known: Known, before: str, evidence: dict[str, Any]) -> None:
        fields = {
            "type": kind, "id": known.node_id, "from": before, "to": known.status.value,
            "reason": str(known.reason), "version": str(known.version), "sid": known.sid,
            "evidence": json.dumps(evidence) if evidence else "",
        }  # fmt: skip
        at = now_ms()
        self._events.append(Event(f"{at}-{len(self._events)}", 0, at, at, fields))

    # Eye and prober

    async def records(self, ids: Iterable[str]) -> dict[str, Record]:
        found = (self.known.get(i) for i in ids)
        return {
            k.node_id: Record(k.status, str(k.reason), k.version, k.session, self.live(k))
            for k in found
            if k is not None
        }

    async def events(self, ids: Iterable[str], *, all_over: bool) -> list[Event]:
        return list(self._events)

    async def ask(self) -> frozenset[str]:
        return frozenset(k.node_id for k in self.known.values() if self.selectable(k))


def _error(code: str) -> dict[str, Any]:
    return {"type": "node_error", "node_id": None, "code": code, "details": None}


# Wrong ones -------------------------------------------------------------------------------------


class NeverExpires(Toy):
    """Who was ready once is ready for ever."""

    def live(self, known: Known) -> bool:
        return True

    def decide(self, facts: Facts) -> Decision | None:
        decision = super().decide(facts)
        silent = decision is not None and decision.reason is Reason.HEARTBEAT_TIMEOUT
        return None if silent else decision


class Forgets(Toy):
    """Acknowledges every third registration and does not write it down."""

    def __init__(self, pace: Pace) -> None:
        super().__init__(pace)
        self._count = 0

    def keep(self, known: Known) -> None:
        self._count += 1
        if self._count % 3:
            super().keep(known)


class Hasty(Toy):
    """Calls those offline who were silent for a fifth of the time-out, and shows the evidence."""

    def limits(self) -> Limits:
        return replace(super().limits(), heartbeat_timeout_ms=self.timeout_ms // 5)

    def _facts(self, known: Known) -> Facts:
        facts = super()._facts(known)
        return replace(facts, ttl_ms=max(-2, facts.ttl_ms - self.timeout_ms * 4 // 5))


class Mute(Toy):
    """Decides and tells nobody."""

    async def tell(self, known: Known, frame: dict[str, Any]) -> None:
        if frame["type"] != "node_status":
            await super().tell(known, frame)


class Stutters(Toy):
    """Gives two changes one version."""

    def next_version(self, known: Known) -> int:
        return known.version or now_ms()


class Guesses(Toy):
    """Calls ready who beat once."""

    def decide(self, facts: Facts) -> Decision | None:
        decision = super().decide(facts)
        if decision is None and facts.status is Status.REGISTERING and facts.window:
            evidence = {
                "facts": _plain(facts),
                "limits": asdict(self.limits()),
                "gateway_present": True,
            }
            return Decision(_READY, Reason.HEALTHY, resets_window=True, evidence=evidence)
        return decision


class SelectsAnybody(Toy):
    """Gives work to whoever is live, ill or not."""

    def selectable(self, known: Known) -> bool:
        return self.live(known)


class Revives(Toy):
    """Takes back who took itself off, for a second thought."""

    async def _commit(self, known: Known, decision: Decision) -> None:
        await super()._commit(known, decision)
        if decision.reason is Reason.UNREGISTERED:
            self._thinking = asyncio.create_task(self._thinks_again(known))

    async def _thinks_again(self, known: Known) -> None:
        await asyncio.sleep(self.timeout_ms / 1000 / 2)
        before, known.leaves = known.status.value, False
        known.status, known.reason, known.since = Status.REGISTERING, Reason.REGISTERED, now_ms()
        known.version = self.next_version(known)
        self._event("register", known, before, {})


class Renames(Toy):
    """Gives a machine a new id whenever it comes back."""

    def name_for(self, asked: str | None) -> str:
        return super().name_for(None)


class BlamesThePlatform(Hasty):
    """Calls machines offline early and says that a gateway was gone."""

    def decide(self, facts: Facts) -> Decision | None:
        decision = super().decide(facts)
        if decision is not None and decision.reason is Reason.HEARTBEAT_TIMEOUT:
            decision.evidence["blame"] = "platform"
        return decision


def _plain(facts: Facts) -> dict[str, Any]:
    names = [n for n in Facts.__dataclass_fields__ if n != "capabilities"]
    return {n: getattr(facts, n) for n in names} | {"status": facts.status.value}
