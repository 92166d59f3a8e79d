"""Who is let in, before anything is made for them: how many connections, how many node sockets.

Four limits, in this order: connections of any kind (the process's descriptors), node sockets,
node sockets of one address, and those that did not register yet. Beyond one of them an upgrade is
answered 503 with `Retry-After`, drawn anew each time so that those sent away do not come back
together, and no WebSocket is made.

Before a newcomer is refused because the gateway is full, the oldest socket that never registered
gives its place, once it had its time (`sockets_chance_s`). Nobody who registered is ever sent away
for somebody else, nor whose message is being handled just now.

The defaults punish no fleet: there is no limit per address, as thousands of machines may share
one, and node sockets are bounded by what the process can hold, with a tenth left for the API.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol

from gateway.addresses import neighbourhood
from gateway.descriptors import SPARE, most
from gateway.limits import Limit
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from registry.logs import log

logger = logging.getLogger("muster.gateway")

TELL_EVERY_S = 60.0
_FOR_REQUESTS = (64, 1000)


_FULL = (Limit.SOCKETS, Limit.UNREGISTERED)


class Guest(Protocol):
    """The conversation over a socket inside."""

    @property
    def registered(self) -> bool: ...

    @property
    def busy(self) -> bool:
        """Whether a message of it is being handled."""

    def give_way(self) -> None:
        """Ends the socket, as its place is needed."""


class Door:
    """Counts who is inside. `registered` says how many node sockets hold a session now."""

    def __init__(
        self,
        settings: GatewaySettings,
        metrics: Metrics,
        registered: Callable[[], int],
        now: Callable[[], float],
        descriptors: int | None = None,
    ) -> None:
        held = most() if descriptors is None else descriptors
        self.connections_most = max(1, held - min(SPARE, held // 4))
        least, largest = _FOR_REQUESTS
        kept = min(largest, max(least, held // 10), self.connections_most // 2)
        self.sockets_most = settings.sockets_most or self.connections_most - kept
        self.head_timeout_s = settings.head_timeout_s
        self.messages = (settings.messages_burst, settings.messages_per_s)
        self._per_address = settings.sockets_per_address
        self._unregistered_most = settings.sockets_unregistered
        self._registered = registered
        self._metrics = metrics
        self._now = now
        self._chance_s = settings.sockets_chance_s
        self._inside: dict[Hashable, str] = {}
        self._waiting: OrderedDict[Hashable, tuple[float, Guest]] = OrderedDict()
        self._of_address: Counter[str] = Counter()
        self._told: dict[Limit, float] = {}
        metrics.sockets_most.set(self.sockets_most)

    def __len__(self) -> int:
        return len(self._inside)

    def refusal(self, address: str, connections: int) -> Limit | None:
        """The limit that keeps a node at this address out, while there are so many connections."""
        found = self._reached(address, connections)
        if found in _FULL and self._make_room():
            found = self._reached(address, connections)
        if found is not None:
            self.turned_away(found)
        return found

    def turned_away(self, limit: Limit) -> None:
        """Counts one, and tells of it in the log once a minute."""
        self._metrics.shed.labels(limit.value).inc()
        now = self._now()
        if now - self._told.get(limit, -TELL_EVERY_S) >= TELL_EVERY_S:
            self._told[limit] = now
            log(logger, logging.WARNING, "turned_away", limit=limit.value, sockets=len(self))

    def enter(self, key: Hashable, address: str) -> None:
        """A node socket is made; `key` stands for it until `leave`."""
        place = neighbourhood(address) if self._per_address else ""
        self._inside[key] = place
        if place:
            self._of_address[place] += 1

    def meet(self, key: Hashable, guest: Guest) -> None:
        """The socket that `key` stands for may be spoken to; it has not registered yet."""
        if key in self._inside:
            self._waiting[key] = (self._now(), guest)

    def leave(self, key: Hashable) -> None:
        """The socket is gone; once is enough, more does no harm."""
        self._waiting.pop(key, None)
        place = self._inside.pop(key, "")
        if place:
            self._of_address[place] -= 1
            if not self._of_address[place]:
                del self._of_address[place]

    def _reached(self, address: str, connections: int) -> Limit | None:
        if connections > self.connections_most:
            return Limit.CONNECTIONS
        if len(self._inside) >= self.sockets_most:
            return Limit.SOCKETS
        if self._per_address and self._of_address[neighbourhood(address)] >= self._per_address:
            return Limit.ADDRESS
        waiting = len(self._inside) - self._registered()
        if self._unregistered_most and waiting >= self._unregistered_most:
            return Limit.UNREGISTERED
        return None

    def _make_room(self) -> bool:
        """Sends away the oldest that had its time and never registered; whether there was one.

        Who registered is forgotten here only when their turn comes, so each costs one look.
        """
        now = self._now()
        while self._waiting:
            key, (since, guest) = next(iter(self._waiting.items()))
            if guest.registered:
                del self._waiting[key]
            elif now - since < self._chance_s:
                return False
            elif guest.busy:
                self._waiting[key] = (now, guest)
                self._waiting.move_to_end(key)
            else:
                self.leave(key)
                guest.give_way()
                return True
        return False
