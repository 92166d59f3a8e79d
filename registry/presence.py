"""Which gateways and sweepers are alive."""

from __future__ import annotations

from registry.base import Base, ms, text
from registry.errors import StoreUnavailable

_FORGET_MS = 3_600_000


class Presence(Base):
    """Rolls of living processes, by the store's clock."""

    async def announce(self, gateway_id: str, info: dict[str, str]) -> None:
        """Says that a gateway lives, for `presence_ttl_s`. Raises StoreUnavailable, also when the
        store ran it too late to be true."""
        packed, most = await self.packed_at(), ms(self.settings.max_lag_s)
        fields = [part for pair in (info or {"id": gateway_id}).items() for part in pair]
        await self.store.call(
            "announce",
            [self.keys.gateway(gateway_id)],
            [ms(self.settings.presence_ttl_s), *fields],
            urgent=True,
        )
        sent = self.clock.monotonic()
        reply = await self.store.call(
            "present", [self.keys.gateways()], [gateway_id, _FORGET_MS, packed, most], urgent=True
        )
        self.clock.observe(int(reply[0]), sent)
        if abs(int(reply[0]) - packed) > most:
            raise StoreUnavailable("the store runs scripts later than it may")

    async def withdraw(self, gateway_id: str) -> None:
        """Takes a gateway off the roll at once."""
        await self.store.commands(
            [
                ("ZREM", self.keys.gateways(), gateway_id),
                ("DEL", self.keys.gateway(gateway_id)),
            ]
        )

    async def gateways(self) -> dict[str, int]:
        """Living gateways and when they last said so, ms."""
        return await self._living(self.keys.gateways(), "", ms(self.settings.presence_ttl_s))

    async def gateway_present(self, gateway_id: str) -> bool:
        """Whether the gateway said that it lives within `presence_ttl_s`."""
        return gateway_id in await self.gateways()

    async def announce_sweeper(self, owner: str, ttl_s: float | None = None) -> list[str]:
        """Says that a sweeper lives and returns all that do, sorted."""
        within = ms(ttl_s if ttl_s is not None else self.settings.presence_ttl_s)
        return sorted(await self._living(self.keys.sweepers(), owner, within))

    async def withdraw_sweeper(self, owner: str) -> None:
        """Takes a sweeper off the roll at once."""
        await self.store.commands([("ZREM", self.keys.sweepers(), owner)])

    async def _living(self, key: str, who: str, within: int) -> dict[str, int]:
        sent = self.clock.monotonic()
        reply = await self.store.call("present", [key], [who, _FORGET_MS, "", 0])
        now = int(reply[0])
        self.clock.observe(now, sent)
        seen = {text(reply[i]): int(float(reply[i + 1])) for i in range(1, len(reply), 2)}
        return {name: at for name, at in seen.items() if now - at < within}
