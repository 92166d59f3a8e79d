"""Between a process and the store: every call that changes something waits here until it is let
through, and may be lost, answered to nobody, executed twice, or late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from registry.errors import StoreUnavailable
from registry.store import Args, Store
from tests.model.book import READS, Book, Call
from tests.model.clock import Clock, estimating


class Fate(Enum):
    """What becomes of one call."""

    DONE = "executed and answered"
    TWICE = "executed, not answered, sent again by the client, executed again"
    LOST = "never executed"
    UNANSWERED = "executed; the answer is lost"
    LATE = "not executed now, but when a later step says so; its sender has given up"


ALL = 1000


class Wire(Store):
    """One process's connection. `through` is how many calls pass before the next one waits."""

    def __init__(self, store: Store, who: str, clock: Clock, book: Book) -> None:
        super().__init__(store.client, single=True, genuine=store.genuine)
        self.clock = estimating(clock)
        self.who = who
        self.through = 0
        self.waiting: asyncio.Future[Fate] | None = None
        self.still = asyncio.Event()
        self.present: Callable[[str], bool] = lambda gateway: True
        self.late: list[Call] = []
        self.sent: list[Call] = []
        self._now: Callable[[], int] = lambda: clock.now
        self._book = book

    async def call(
        self, name: str, keys: Sequence[str], args: Args, *, urgent: bool = False
    ) -> Any:
        args = args() if callable(args) else args
        if name in READS:
            if name == "facts":
                for id_ in args:
                    self._book.judge(self.who, id_, self.present)
            return await super().call(name, keys, args)
        call = Call(name, list(keys), [sent(a) for a in args], self.who, self._now())
        if name in ("transition", "arm", "expire"):
            judged = self._book.judged.pop((self.who, call.args[0]), (None, False))
            call.judged, call.by_time = judged
        fate = await self._turn()
        if fate in (Fate.LOST, Fate.LATE):
            if fate is Fate.LATE:
                self.late.append(call)
            raise StoreUnavailable("no answer")
        reply = await self.execute(call)
        if fate is Fate.TWICE:
            reply = await self.execute(call)
        if fate is Fate.UNANSWERED:
            raise StoreUnavailable("no answer")
        return reply

    async def execute(self, call: Call) -> Any:
        """The store runs it, whoever still waits for it."""
        reply = await super().call(call.name, call.keys, call.args)
        self.sent.append(call)
        self._book.executed(call, plain(reply))
        return reply

    async def call_many(
        self,
        name: str,
        calls: Sequence[tuple[Sequence[str], Sequence[Any]]],
        *,
        urgent: bool = False,
    ) -> list[Any]:
        return [await self.call(name, *each) for each in calls]

    async def call_some(
        self,
        name: str,
        calls: Sequence[tuple[Sequence[str], Sequence[Any]]],
        *,
        urgent: bool = False,
    ) -> list[Any]:
        return await self.call_many(name, calls)

    async def _turn(self) -> Fate:
        if self.through:
            self.through -= 1
            return Fate.DONE
        self.waiting = asyncio.get_running_loop().create_future()
        self.still.set()
        return await self.waiting


def sent(argument: Any) -> str:
    """An argument as it goes to the store."""
    return argument.decode("latin-1") if isinstance(argument, bytes) else str(argument)


def plain(reply: Any) -> Any:
    """A reply as it is compared: text for bytes."""
    if isinstance(reply, list):
        return [plain(part) for part in reply]
    return reply.decode() if isinstance(reply, bytes) else reply
