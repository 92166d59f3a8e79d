"""What every part of the registry shares: the store, key names, settings, and small decoders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from registry.clock import StoreClock
from registry.keys import Keys, partition_of
from registry.settings import RegistrySettings
from registry.store import Store
from registry.subscription import Subscription


def text(value: Any) -> str:
    """A store reply as text; '' for a missing one."""
    if value is None:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)


def number(value: Any) -> int:
    """A store reply as a whole number; 0 for a missing one."""
    return int(float(value)) if value not in (None, b"", "") else 0


def ms(seconds: float) -> int:
    """Seconds as whole milliseconds."""
    return round(seconds * 1000)


def lines(value: Any) -> tuple[str, ...]:
    """The lines of a stored list."""
    return tuple(part for part in text(value).split("\n") if part)


class Base:
    """The store under one prefix with one set of numbers."""

    def __init__(self, store: Store, settings: RegistrySettings) -> None:
        self.store = store
        self.settings = settings
        self.keys = Keys(settings.redis_prefix)
        # Looks over the whole fleet: two at a time, whoever asks for them.
        self.walks = asyncio.Semaphore(2)

    @property
    def clock(self) -> StoreClock:
        return self.store.clock

    @property
    def limits(self) -> str:
        """The numbers `alarm` needs, as scripts take them."""
        s = self.settings
        return f"{ms(s.heartbeat_timeout_s)} {ms(s.warmup_timeout_s)} {ms(s.retention_s)}"

    def ready_sets(self, node_id: str, capabilities: tuple[str, ...]) -> list[str]:
        partition = partition_of(node_id)
        return [self.keys.ready(partition, c) for c in capabilities]

    async def add_event(
        self, partition: int, said: Sequence[str], capabilities: tuple[str, ...] = ()
    ) -> None:
        """Adds an event that comes with no change of a record: names and values in turn, and the
        capabilities of the node it is about."""
        kept = self.settings.events_per_partition
        args = [kept, "\n".join(capabilities), *said]
        await self.store.call("note", [self.keys.events(partition)], args)

    def subscription(self, channels: list[str], *, watchdog_s: float = 2.0) -> Subscription:
        return Subscription(self.store, channels, watchdog_s=watchdog_s)

    async def synchronise(self) -> int:
        """Asks the store for its time and returns it, ms."""
        sent = self.clock.monotonic()
        now = int(await self.store.call("now", [self.keys.gateways()], []))
        self.clock.observe(now, sent)
        return now

    async def packed_at(self) -> int:
        """The store's time as estimated now; asks first if it was never told."""
        if not self.clock.known:
            await self.synchronise()
        return self.clock.now_ms()
