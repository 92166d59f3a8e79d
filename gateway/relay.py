"""Messages between processes about this gateway's sockets: registry → hub → frame.

The relay brings changes of status, the news that a session was superseded, and the question
whether a socket lives. Any message may be lost: status is repaired by the node's next beat, a
superseded session by its next beat too, and a question is asked again by who needs the answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any, Protocol

import msgspec

from gateway.admission import Holder
from gateway.clock import monotonic
from gateway.hub import NodeConnectionManager
from registry.errors import StoreError
from registry.logs import log
from registry.model import Change
from registry.registry import Registry
from registry.subscription import Subscription

logger = logging.getLogger("muster.gateway.relay")

_LOOK_S = 0.02
_SLACK_S = 0.5


class Listener(Protocol):
    """A conversation as the relay needs it."""

    @property
    def last_heard(self) -> float: ...
    def relay(self, change: Change) -> None: ...
    def superseded(self, sid: str) -> None: ...
    def ping(self) -> None: ...


class Relay:
    """Listens on this gateway's channels and asks on others'."""

    def __init__(
        self,
        registry: Registry,
        hub: NodeConnectionManager[Any],
        gateway_id: str,
        question_s: float,
    ) -> None:
        self._registry = registry
        self._hub: NodeConnectionManager[Any] = hub
        self._gateway_id = gateway_id
        self._question_s = question_s
        self._questions: dict[str, asyncio.Future[Holder]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    @property
    def healthy(self) -> bool:
        return self._subscription is not None and self._subscription.healthy

    async def run(self) -> None:
        """Listens for ever."""
        channels = self._registry.keys.gateway_channels(self._gateway_id)
        async with self._registry.subscription(channels) as subscription:
            self._subscription = subscription
            async for payload in subscription:
                try:
                    self.handle(msgspec.json.decode(payload))
                except Exception as error:  # noqa: BLE001 - one bad message must not end listening
                    log(logger, logging.ERROR, "relay_failed", exc_info=error)

    def handle(self, message: dict[str, Any]) -> None:
        """Acts on one message; never waits."""
        match message.get("t"):
            case "status":
                self._status(message)
            case "superseded":
                listener: Listener | None = self._hub.get(message["id"], message["sid"])
                if listener is not None:
                    listener.superseded(message["sid"])
            case "ask":
                task = asyncio.create_task(self._answer(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case "answer":
                question = self._questions.get(message["q"])
                if question is not None and not question.done():
                    question.set_result(Holder(message["answer"]))

    async def ask(self, gateway: str, node_id: str, sid: str) -> Holder:
        """Whether the socket of a session lives, asked until there is an answer or the holder's
        presence lapses. Raises StoreUnavailable."""
        if gateway == self._gateway_id:
            return await self.alive(node_id, sid)
        while await self._registry.gateway_present(gateway):
            answer = await self._ask_once(gateway, node_id, sid)
            if answer is not None:
                return answer
        return Holder.ABSENT

    async def alive(self, node_id: str, sid: str) -> Holder:
        """Whether one of our own sockets lives: it must show so after this question."""
        found = self._hub.get(node_id, sid)
        if found is None:
            return Holder.GONE
        listener: Listener = found
        asked = monotonic()
        listener.ping()
        while monotonic() - asked < self._question_s:
            if listener.last_heard > asked:
                return Holder.ALIVE
            if self._hub.get(node_id, sid) is not listener:
                return Holder.GONE
            await asyncio.sleep(_LOOK_S)
        return Holder.ALIVE if listener.last_heard > asked else Holder.NO_PONG

    async def _ask_once(self, gateway: str, node_id: str, sid: str) -> Holder | None:
        q = secrets.token_hex(8)
        question = self._questions[q] = asyncio.get_running_loop().create_future()
        message = {"t": "ask", "id": node_id, "sid": sid, "q": q, "from": self._gateway_id}
        try:
            await self._registry.tell(gateway, node_id, message)
            return await asyncio.wait_for(question, self._question_s + _SLACK_S)
        except TimeoutError:
            return None
        finally:
            del self._questions[q]

    async def _answer(self, message: dict[str, Any]) -> None:
        node_id, q = message["id"], message["q"]
        answer = await self.alive(node_id, message["sid"])
        try:
            await self._registry.tell(
                message["from"], node_id, {"t": "answer", "q": q, "answer": answer.value}
            )
        except StoreError as error:
            log(logger, logging.WARNING, "answer_lost", node_id=node_id, error=str(error))

    def _status(self, message: dict[str, Any]) -> None:
        listener: Listener | None = self._hub.get(message["id"], message["sid"])
        if listener is not None:
            listener.relay(
                Change(
                    node_id=message["id"],
                    sid=message["sid"],
                    version=int(message["version"]),
                    status=message["status"],
                    previous=message["previous"],
                    reason=message["reason"],
                    since=int(message["since"]),
                )
            )
