"""The nodes of a soak: simulated ones, in groups to which different things happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from muster.simulate.books import Book, Spread, summed
from muster.simulate.order import Order, OrderError, Server
from muster.simulate.run import Worker
from muster.simulate.scenarios import LOST_REGION, SCENARIOS, Fault, struck
from tests.soak.sample import Waits

LABEL, VISITOR = "soak", "visitor"


@dataclass(frozen=True)
class Group:
    """Nodes in a process of their own. `part` of the fleet; `share` of the group is struck;
    `stays`: on the gateways that nothing is done to."""

    name: str
    scenario: str
    part: float
    share: float | None
    stays: bool


GROUPS = (
    Group("silenced", "regional-loss", 0.35, 1 / 30, stays=True),
    Group("ill", "gpu-loss", 0.35, 1 / 30, stays=True),
    Group("moving", "steady", 0.3, None, stays=False),
)
"""So one of a hundred falls silent now and then, and another's GPU is lost."""


class Fleet:
    """All groups. Made by `start`."""

    def __init__(self, orders: dict[str, Order]) -> None:
        self.orders = orders
        self.nodes = sum(order.nodes for order in orders.values())
        self.workers: dict[str, Worker] = {}
        self._told = Book()

    @classmethod
    def of(cls, nodes: int, ports: Sequence[int], staying: int, per_s: float) -> Fleet:
        """So many over gateways at these ports, connecting at so many a second."""
        servers = [Server.of(f"http://127.0.0.1:{port}") for port in ports]
        orders: dict[str, Order] = {}
        left = nodes
        for place, group in enumerate(GROUPS):
            count = left if place == len(GROUPS) - 1 else round(nodes * group.part)
            left -= count
            chosen = servers[:staying] if group.stays else servers[staying:]
            orders[group.name] = Order(
                servers=tuple(chosen), scenario=group.scenario, nodes=count, process=0,
                processes=1, seed=1, per_s=per_s * count / nodes, labels={LABEL: group.name},
                acks=0.1, share=group.share,
            )  # fmt: skip
        return cls(orders)

    async def start(self) -> None:
        """Starts the processes; their nodes begin to connect."""
        for name, order in self.orders.items():
            self.workers[name] = await Worker.start(order)

    async def end(self) -> None:
        """Ends them as a power cut would: leaving is not what is measured."""
        for worker in self.workers.values():
            await worker.kill()

    def say(self, group: str, word: str) -> None:
        """`strike` or `heal`, to one group."""
        self.workers[group].say(word)

    def struck(self, group: str) -> int:
        """How many of a group are struck."""
        order = self.orders[group]
        return len(struck(order.scenario_as_asked, order.nodes, order.seed))

    @property
    def book(self) -> Book:
        """What all saw. Raises OrderError if a process died: nobody would know of its nodes."""
        dead = [n for n, w in self.workers.items() if w.process.returncode is not None]
        if dead:
            raise OrderError(f"the processes of these nodes ended: {', '.join(dead)}")
        return self.seen

    @property
    def seen(self) -> Book:
        """What all saw until now or until they died."""
        return summed(worker.book for worker in self.workers.values())

    def waits(self) -> tuple[Waits, int]:
        """From a beat to its ack since this was asked last, and how many beats were sent."""
        book, before = self.book, self._told
        self._told = book
        late = book.spread("beat to its ack")
        fresh = Spread(late.places - before.spread("beat to its ack").places, late.greatest)
        waits = Waits(fresh.count, fresh.quantile(0.5), fresh.quantile(0.99))
        return waits, book.counts["beats"] - before.counts["beats"]


def may_fall_silent(labels: dict[str, str]) -> bool:
    """Whether a node with these labels is one of those that are silenced."""
    return labels.get(LABEL) == "silenced" and labels.get("region") == LOST_REGION


def faults() -> Counter[Fault]:
    """How many groups meet each fault."""
    return Counter(SCENARIOS[group.scenario].fault for group in GROUPS)
