"""The nodes of one process: started at a pace, struck and healed, ended."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter

from muster.simulate.books import Book
from muster.simulate.node import Node
from muster.simulate.order import Order
from muster.simulate.scenarios import Fault, region, struck

_LEAVING_PER_S = 1000


class Herd:
    """All nodes of a process and their one book."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.book = Book()
        self.interval_s, self.timeout_s = 15.0, 45.0
        self.tls = ssl.create_default_context() if any(s.tls for s in order.servers) else None
        self._seen: dict[str, set[int]] = {}
        scenario = order.scenario_as_asked
        hit = struck(scenario, order.nodes, order.seed)
        every = round(1 / order.acks) if order.acks else 0
        self.nodes = [
            Node(
                number,
                self,
                {"region": region(scenario, number), **order.labels},
                scenario.fault if number in hit else Fault.NONE,
                acks=bool(every) and number // order.processes % every == 0,
            )
            for number in range(order.process, order.nodes, order.processes)
        ]

    def start(self) -> None:
        """Lets all connect, at the order's pace."""
        loop = asyncio.get_running_loop()
        for place, node in enumerate(self.nodes):
            loop.call_later(place / self.order.per_s if self.order.per_s else 0.0, node.connect)

    def strike(self) -> None:
        """The fault begins."""
        for node in self.nodes:
            if node.struck is not Fault.NONE:
                node.strike()

    def heal(self) -> None:
        """The fault ends."""
        for node in self.nodes:
            node.heal()

    async def leave(self, *, unregister: bool) -> None:
        """All take their leave, at a pace at which nobody is overrun."""
        for place, node in enumerate(self.nodes):
            node.leave(unregister=unregister)
            if place % 100 == 99:
                await asyncio.sleep(100 / _LEAVING_PER_S)
        await asyncio.sleep(0.7 if unregister else 0.1)

    def stand(self) -> Book:
        """The book, with how things stand now."""
        now: Counter[str] = Counter()
        for node in self.nodes:
            now["nodes"] += 1
            now["connected"] += node.connected
            now["struck"] += node.struck is not Fault.NONE
            if node.registered:
                now["registered"] += 1
                now[node.status] += 1
        for what, numbers in self._seen.items():
            now[f"struck and {what}"] = len(numbers)
        self.book.now = now
        return self.book

    # What nodes ask

    def source(self, number: int) -> tuple[str, int] | None:
        """The address a node connects from: a port number lasts for 28 000 sockets of one."""
        if self.order.sources <= 1:
            return None
        return f"127.0.0.{number % self.order.sources + 1}", 0

    def told(self, interval_ms: int, timeout_ms: int) -> None:
        """What an ack said of pace and patience."""
        self.interval_s, self.timeout_s = interval_ms / 1000.0, timeout_ms / 1000.0
        self.book.interval_ms = max(self.book.interval_ms, interval_ms)
        self.book.timeout_ms = max(self.book.timeout_ms, timeout_ms)

    def seen(self, what: str, number: int) -> None:
        """A struck node saw what its fault has to lead to."""
        self._seen.setdefault(what, set()).add(number)

    def first_error(self, text: str) -> None:
        """The first thing that went wrong is kept in words."""
        self.book.first_error = self.book.first_error or text
