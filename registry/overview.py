"""The fleet in numbers: by status, by what nodes can do, by card and program; and how well it is
watched.

Statuses are counted by the scripts that change them and are exact. The rest is counted by looking
at nodes: all of them up to `overview_most`, a random sample beyond, which is said.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from registry.base import Base, ms, number, text
from registry.events import EventType
from registry.keys import PARTITIONS
from registry.listing import Filter
from registry.looks import Looks
from registry.model import Status
from registry.settings import RegistrySettings
from registry.store import Store
from registry.surveying import Surveying
from registry.tallies import Tallies, Tally, names


class Watch(Struct, frozen=True):
    """How well the fleet is watched: how many partitions a sweeper looked at lately, how long ago
    the one looked at longest ago was (ms; None if never), and the most unobserved time of any
    partition (ms, summed since the store was filled)."""

    partitions: int
    watched: int
    stalest_ms: int | None
    unobserved_ms: int


class MassExpiry(Struct, frozen=True):
    """Much of the fleet went silent at once: so many as one sweeper saw in its partitions."""

    at: int
    lost: int
    living: int


class Braking(Struct, frozen=True):
    """Sweepers mark silent nodes slowly, since when and until when at most, ms; `waiting` of them
    are not called offline yet. None of them is selectable."""

    since: int
    until: int
    waiting: int


class _OwnBrake(Struct, frozen=True):
    """What one sweeper says of its partitions; holds until `fresh_until`, ms."""

    since: int
    until: int
    waiting: int
    fresh_until: int


class Overview(Struct, frozen=True):
    """The fleet at `now` (ms). Where `sampled`, the tallies are of `examined` nodes only."""

    now: int
    total: int
    status: dict[str, int]
    selectable: int
    examined: int
    sampled: bool
    kinds: dict[str, Tally]
    languages: dict[str, Tally]
    gpus: dict[str, Tally]
    program_versions: dict[str, Tally]
    platforms: dict[str, Tally]
    gateways: int
    sweepers: int
    watch: Watch
    mass_expiry: MassExpiry | None
    brake: Braking | None


class Overseeing(Surveying):
    """Counts; reads only."""

    def __init__(self, store: Store, settings: RegistrySettings) -> None:
        super().__init__(store, settings)
        self._overviews: Looks[Overview] = Looks(at_once=1)

    async def overview(self, scope: Filter | None = None) -> Overview:
        """The fleet, or with `scope` those of its nodes that the asker may know of. Who asks at
        the same time shares one look."""
        return await self._overviews.share(scope, lambda: self._overview(scope))

    async def _overview(self, scope: Filter | None) -> Overview:
        await self.synchronise()
        (seen, exact), alive, watch = await asyncio.gather(
            self._looked_at(scope), self.alive(), self.watched()
        )
        mass, brakes = await self.store.commands(
            [("GET", self.keys.mass_expiry()), ("HVALS", self.keys.brakes())]
        )
        statuses = Counter({status.value: 0 for status in Status})
        if scope is None:
            statuses.update(await self._statuses())
        else:
            statuses.update(seen.statuses)
        kinds, languages, gpus, versions, platforms = seen.groups()
        return Overview(
            now=self.clock.now_ms(),
            total=sum(statuses.values()),
            status=dict(statuses),
            selectable=seen.selectable,
            examined=seen.examined,
            sampled=not exact,
            kinds=kinds,
            languages=languages,
            gpus=gpus,
            program_versions=versions,
            platforms=platforms,
            gateways=alive[0],
            sweepers=alive[1],
            watch=watch,
            mass_expiry=msgspec.json.decode(mass, type=MassExpiry) if mass else None,
            brake=_together(brakes, self.clock.now_ms()),
        )

    async def _looked_at(self, scope: Filter | None) -> tuple[Tallies, bool]:
        """The nodes that are looked at, counted, and whether they are all there are."""
        most = self.settings.overview_most
        if scope is None:
            return await self.tallied(most)
        survey, seen = await self.survey(most, scope=scope), Tallies()
        timeout = ms(self.settings.heartbeat_timeout_s)
        for s in survey.subjects:
            ready = s.ready and s.live(timeout)
            seen.add(s.status, ready, names(s.capabilities, s.packed_registration))
        return seen, survey.exact

    async def _statuses(self) -> dict[str, int]:
        every = [status.value for status in Status]
        replies = await self.store.commands(
            [("HMGET", self.keys.counts(p), *every) for p in range(PARTITIONS)]
        )
        return {
            status: max(0, sum(number(reply[place]) for reply in replies))
            for place, status in enumerate(every)
        }

    async def alive(self) -> tuple[int, int]:
        """How many gateways and sweepers said lately that they live."""
        now = self.clock.now_ms()
        since = now - ms(self.settings.presence_ttl_s)
        gateways, sweepers = await self.store.commands(
            [
                ("ZCOUNT", self.keys.gateways(), since, "+inf"),
                ("ZCOUNT", self.keys.sweepers(), since, "+inf"),
            ]
        )
        return int(gateways), int(sweepers)

    async def watched(self) -> Watch:
        """How well the partitions are looked at."""
        replies = await self.store.commands(
            [
                command
                for p in range(PARTITIONS)
                for command in (("GET", self.keys.swept(p)), ("GET", self.keys.unobserved(p)))
            ]
        )
        now = self.clock.now_ms()
        swept = [number(text(reply).split(" ")[0]) for reply in replies[::2] if reply]
        ages = [max(0, now - at) for at in swept]
        fresh = ms(self.settings.unobserved_gap_s)
        return Watch(
            partitions=PARTITIONS,
            watched=sum(age <= fresh for age in ages),
            stalest_ms=max(ages) if len(ages) == PARTITIONS else None,
            unobserved_ms=max((number(reply) for reply in replies[1::2]), default=0),
        )


class Alarms(Base):
    """What sweepers tell of the fleet as a whole, and operators answer."""

    async def note_mass_expiry(self, lost: int, living: int, keep_s: float) -> None:
        """Notes, for `keep_s`, that much of the fleet fell silent at once."""
        seen = MassExpiry(self.clock.now_ms(), lost, living)
        await self.store.commands(
            [("SET", self.keys.mass_expiry(), msgspec.json.encode(seen), "PX", ms(keep_s))]
        )

    async def note_brake(
        self, owner: str, since: int, until: int, waiting: int, keep_s: float
    ) -> None:
        """Notes, for `keep_s`, that a sweeper marks silent nodes slowly."""
        told = _OwnBrake(since, until, waiting, self.clock.now_ms() + ms(keep_s))
        key = self.keys.brakes()
        await self.store.commands(
            [
                ("HSET", key, owner, msgspec.json.encode(told)),
                ("PEXPIRE", key, ms(self.settings.offline_brake_most_s + keep_s)),
            ]
        )

    async def forget_brake(self, owner: str) -> None:
        """Notes that a sweeper's brake has let go."""
        await self.store.commands([("HDEL", self.keys.brakes(), owner)])

    async def release_brake(self, who: str, why: str) -> bool:
        """Lets go of the brake: whoever is silent is called so at once. Whether it held."""
        now = await self.synchronise()
        keep_ms = ms(self.settings.offline_brake_most_s)
        event = ("type", EventType.OPERATOR_RELEASE_BRAKE, "who", who, "why", why, "at", str(now))
        held, _ = await self.store.commands(
            [
                ("HLEN", self.keys.brakes()),
                ("SET", self.keys.brake_released(), now, "PX", keep_ms),
            ]
        )
        await self.add_event(0, event)
        return int(held) > 0

    async def brake_released(self) -> int:
        """When an operator let go of the brake last, ms; 0 if not lately."""
        return number((await self.store.commands([("GET", self.keys.brake_released())]))[0])


def _together(brakes: Iterable[bytes], now: int) -> Braking | None:
    """All sweepers' brakes as one."""
    told = [msgspec.json.decode(brake, type=_OwnBrake) for brake in brakes]
    held = [brake for brake in told if brake.fresh_until > now]
    if not held:
        return None
    since, until = min(b.since for b in held), max(b.until for b in held)
    return Braking(since, until, sum(b.waiting for b in held))
