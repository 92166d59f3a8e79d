"""The faults, each a small value: `begin` does it, `end` undoes it, `lasts_s` lies between, given
as at true speed. Some are over as soon as they happened: then `end` has nothing to do.

`touches` names what a fault needs for itself: two that touch the same do not overlap in a sequence.
A store that forgets may forget what an operator said before anybody was told: such faults touch
operators, too, and `LastSecondLost` tries by itself what comes back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from registry.embedded import EmbeddedStore
from tests.faults.book import now_ms
from tests.faults.stores import BehindSentinel, Clustered, Standalone
from tests.faults.succession import HEARD_OF_S, REPLICATION_LAG_MS
from tests.faults.world import Part, World
from tests.support.clusters import ReplicatedCluster
from tests.support.launching import said
from tests.support.users import SWEEPER
from tests.support.versions import environment


class Fault(Protocol):
    """What can be done to a world."""

    @property
    def lasts_s(self) -> float: ...
    @property
    def touches(self) -> frozenset[str]: ...
    async def begin(self, world: World) -> None: ...
    async def end(self, world: World) -> None: ...


def _sentinel(world: World) -> BehindSentinel:
    assert isinstance(world.store, BehindSentinel), "this fault needs a store behind Sentinel"
    return world.store


def _cluster(world: World) -> Clustered:
    assert isinstance(world.store, Clustered), "this fault needs a Cluster"
    return world.store


def _standalone(world: World) -> Standalone:
    assert isinstance(world.store, Standalone), "this fault is of a single server"
    return world.store


@dataclass(frozen=True)
class _Base:
    lasts_s: float = 0.0
    touches: ClassVar[frozenset[str]] = frozenset()

    async def end(self, world: World) -> None:
        """Nothing to undo."""


@dataclass(frozen=True)
class StoreRestarted(_Base):
    """The store ends, in order or `killed`, and comes back, with its data or `empty`."""

    empty: bool = False
    killed: bool = False

    @property
    def touches(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"store", "operators"} if self.empty else {"store"})

    async def begin(self, world: World) -> None:
        store = _standalone(world)
        await world.aside(lambda: store.restart(empty=self.empty, killed=self.killed))
        if self.empty:
            world.book.store_lost(0)


@dataclass(frozen=True)
class StoreUnreachable(_Base):
    """No process reaches the store: packets are dropped, or connections `refused`."""

    lasts_s: float = 60.0
    refused: bool = False
    touches: ClassVar[frozenset[str]] = frozenset({"store"})

    async def begin(self, world: World) -> None:
        for part in world.parts:
            if self.refused:
                part.store.shut()
            else:
                part.store.jam()

    async def end(self, world: World) -> None:
        for part in world.parts:
            await part.store.unshut()
            part.store.unjam()


@dataclass(frozen=True)
class OneGatewayCutOff(_Base):
    """One gateway alone does not reach the store; its machines do not know."""

    lasts_s: float = 150.0
    door: int = 0
    touches: ClassVar[frozenset[str]] = frozenset({"gateways"})

    async def begin(self, world: World) -> None:
        world.book.blame(self.door)
        world.gateways[self.door].store.jam()

    async def end(self, world: World) -> None:
        world.gateways[self.door].store.unjam()
        world.book.absolve(self.door)


@dataclass(frozen=True)
class StorePaused(_Base):
    """The store stands still (SIGSTOP) and goes on."""

    lasts_s: float = 60.0
    touches: ClassVar[frozenset[str]] = frozenset({"store"})

    async def begin(self, world: World) -> None:
        _standalone(world).server.pause()

    async def end(self, world: World) -> None:
        _standalone(world).server.resume()


@dataclass(frozen=True)
class GatewayKilled(_Base):
    """A gateway dies with all its machines, and another takes its place after a while."""

    lasts_s: float = 30.0
    door: int = 0
    touches: ClassVar[frozenset[str]] = frozenset({"gateways"})

    async def begin(self, world: World) -> None:
        world.book.blame(self.door)
        world.gateways[self.door].process.kill()

    async def end(self, world: World) -> None:
        gateway = world.gateways[self.door]
        gateway.launch()
        await gateway.process.wait_ready()
        world.book.absolve(self.door)


@dataclass(frozen=True)
class GatewayPaused(_Base):
    """A gateway stands still (SIGSTOP) and goes on with what lay in its sockets."""

    lasts_s: float = 60.0
    door: int = 0
    touches: ClassVar[frozenset[str]] = frozenset({"gateways"})

    async def begin(self, world: World) -> None:
        world.book.blame(self.door)
        world.gateways[self.door].process.pause()

    async def end(self, world: World) -> None:
        gateway = world.gateways[self.door]
        gateway.process.resume()
        # It is back only when all its machines had time to show life anew.
        await gateway.process.wait_ready(20 + world.pace.timeout_s)
        world.book.absolve(self.door)


@dataclass(frozen=True)
class GatewaysRolled(_Base):
    """Every gateway in turn is told to stop, and another takes its place; so many `rounds`."""

    rounds: int = 1
    touches: ClassVar[frozenset[str]] = frozenset({"gateways"})

    async def begin(self, world: World) -> None:
        for gateway in world.gateways * self.rounds:
            former = gateway.process
            former.terminate()
            gateway.launch()
            await gateway.process.wait_ready()
            await world.aside(former.stop)
            status = former.child.process.returncode
            assert status == 0, f"{former.name} drained and ended in order, not with {status}"


@dataclass(frozen=True)
class Versions(_Base):
    """One gateway and one sweeper are replaced by those of another version of the `code` (None:
    this one), and after a while all others too."""

    lasts_s: float = 90.0
    code: Path | None = None
    touches: ClassVar[frozenset[str]] = frozenset({"gateways", "sweepers"})

    async def begin(self, world: World) -> None:
        await self._replace(world, world.gateways[0])
        await self._replace(world, world.sweepers[0])
        await world.wait(self.lasts_s)
        for part in (*world.sweepers[1:], *world.gateways[1:]):
            await self._replace(world, part)

    async def _replace(self, world: World, part: Part) -> None:
        former = part.process
        former.terminate()
        part.environment = environment(self.code) if self.code else {}
        part.launch()
        await part.process.wait_ready()
        await world.aside(former.stop)


@dataclass(frozen=True)
class Newcomers(_Base):
    """New machines register, one after the other: every other one knows the document alone."""

    lasts_s: float = 60.0
    count: int = 12

    async def begin(self, world: World) -> None:
        for number in range(self.count):
            world.add(plain=number % 2 == 1).start()
            await world.wait(self.lasts_s / self.count)


@dataclass(frozen=True)
class Drained(_Base):
    """An operator drains some machines, and takes that back in the end."""

    lasts_s: float = 60.0
    count: int = 3
    touches: ClassVar[frozenset[str]] = frozenset({"operators"})

    async def begin(self, world: World) -> None:
        for machine in world.drawn(self.count):
            await world.drain(machine)

    async def end(self, world: World) -> None:
        for machine in world.drained:
            await world.resume(machine)


@dataclass(frozen=True)
class Leaving(_Base):
    """Some machines take themselves off."""

    count: int = 2

    async def begin(self, world: World) -> None:
        for machine in world.drawn(self.count):
            world.book.note(f"{machine} leaves")
            machine.leave()


@dataclass(frozen=True)
class SweeperKilled(_Base):
    """A sweeper dies while there is much to judge; another takes its place after a while."""

    lasts_s: float = 30.0
    touches: ClassVar[frozenset[str]] = frozenset({"sweepers"})

    async def begin(self, world: World) -> None:
        for machine in world.living:
            machine.reconnect()
        await asyncio.sleep(0.05)
        world.sweepers[0].process.kill()

    async def end(self, world: World) -> None:
        world.sweepers[0].launch()
        await world.sweepers[0].process.wait_ready()


@dataclass(frozen=True)
class SweepersPaused(_Base):
    """All sweepers stand still past their leases, and go on with what they had judged."""

    lasts_s: float = 60.0
    touches: ClassVar[frozenset[str]] = frozenset({"sweepers"})

    async def begin(self, world: World) -> None:
        for sweeper in world.sweepers:
            sweeper.process.pause()

    async def end(self, world: World) -> None:
        for sweeper in world.sweepers:
            sweeper.process.resume()


@dataclass(frozen=True)
class WritesRefused(_Base):
    """The store answers reads and refuses writes: no memory, or too few `replicas`."""

    lasts_s: float = 60.0
    replicas: bool = False
    touches: ClassVar[frozenset[str]] = frozenset({"store"})

    async def begin(self, world: World) -> None:
        name, value = ("min-replicas-to-write", "1") if self.replicas else ("maxmemory", "1")
        await self._set(world, name, value)

    async def end(self, world: World) -> None:
        await self._set(world, "min-replicas-to-write" if self.replicas else "maxmemory", "0")

    async def _set(self, world: World, name: str, value: str) -> None:
        server = _standalone(world).server
        await world.aside(lambda: server.command("CONFIG", "SET", name, value))


@dataclass(frozen=True)
class PrimaryKilled(_Base):
    """Behind Sentinel: the primary dies, a replica is promoted, and the dead one comes back."""

    lasts_s: float = 60.0
    touches: ClassVar[frozenset[str]] = frozenset({"store", "operators"})

    async def begin(self, world: World) -> None:
        store = _sentinel(world).store
        began = now_ms() - REPLICATION_LAG_MS
        former = store.primary
        await world.aside(former.kill)
        await world.aside(lambda: store.wait_for_successor(former))
        world.book.store_lost(began)
        await world.aside(lambda: store.restart(former))


@dataclass(frozen=True)
class LastSecondLost(_Base):
    """Behind Sentinel: replicas lost touch a while before the primary dies; whoever is promoted
    does not know what was written since: a machine that came, a drain that was acknowledged."""

    untold_s: float = 10.0
    touches: ClassVar[frozenset[str]] = frozenset({"store"})

    async def begin(self, world: World) -> None:
        store = _sentinel(world).store
        drained = next(m for m in world.living if m.page.fit)
        began = now_ms()
        await world.aside(store.lose_touch)
        newcomer = world.add(plain=False)
        newcomer.start()
        await world.drain(drained)
        await world.told(drained, "draining")
        await world.told(newcomer, "registering")
        await world.wait(self.untold_s)
        former = store.primary
        await world.aside(former.kill)
        await world.aside(lambda: store.wait_for_successor(former))
        world.book.store_lost(began)
        await world.aside(store.find_touch)
        await world.aside(lambda: store.restart(former))


@dataclass(frozen=True)
class Deposed(_Base):
    """Behind Sentinel: another primary is named while the former one lives on, and believes in a
    replica that hangs: for as long it takes writes. Sweepers lose it at once, gateways do not, and
    machines register."""

    lasts_s: float = 100.0
    count: int = 8
    touches: ClassVar[frozenset[str]] = frozenset({"store", "operators"})

    async def begin(self, world: World) -> None:
        store = _sentinel(world).store
        began = now_ms() - REPLICATION_LAG_MS
        former, believed = store.primary, store.replicas[-1]
        believed.pause()
        await world.aside(lambda: store.miss(believed))
        await world.aside(store.promote)
        await world.aside(lambda: former.command("CLIENT", "KILL", "USER", SWEEPER))
        await asyncio.sleep(HEARD_OF_S)
        world.book.store_lost(began)
        for number in range(self.count):
            world.add(plain=number % 2 == 1).start()
            await world.wait(5)
            if number == 0:
                assert said(former, "replication")["role"] == "master", "it lives on as a primary"

    async def end(self, world: World) -> None:
        for server in _sentinel(world).store.servers:
            server.resume()


@dataclass(frozen=True)
class ClusterPrimaryKilled(_Base):
    """On a Cluster: the primary of a third of all slots dies; its replica takes its place, and the
    dead one comes back."""

    lasts_s: float = 60.0
    touches: ClassVar[frozenset[str]] = frozenset({"store", "operators"})

    async def begin(self, world: World) -> None:
        cluster = _cluster(world).store
        key = world.registry.keys.node(world.living[0].page.node_id)
        began = now_ms() - REPLICATION_LAG_MS
        former = cluster.primary_of(key)
        await world.aside(lambda: cluster.kill_primary_of(key))
        world.book.store_lost(began)
        await world.aside(lambda: cluster.restart(former))


@dataclass(frozen=True)
class SlotsMoving(_Base):
    """On a Cluster: slots with machines are on their way to another primary, half of their keys
    moved: what needs keys of both sides is refused for as long."""

    lasts_s: float = 40.0
    slots: int = 4
    touches: ClassVar[frozenset[str]] = frozenset({"store"})

    async def begin(self, world: World) -> None:
        cluster = _cluster(world).store
        keys = [world.registry.keys.node(m.page.node_id) for m in world.living]
        slots = list(dict.fromkeys(cluster.slot_of(key) for key in keys))[: self.slots]
        moves = [(slot, *await asyncio.to_thread(self._begin, cluster, slot)) for slot in slots]
        await world.wait(self.lasts_s)
        for move in moves:
            await asyncio.to_thread(cluster.end_move, *move)

    @staticmethod
    def _begin(cluster: ReplicatedCluster, slot: int) -> tuple[EmbeddedStore, EmbeddedStore]:
        """Begins to move a slot and moves half of its keys; from where and to where."""
        port = next(m.port for m in cluster.members() if m.slots and not m.holds(slot))
        to = next(s for s in cluster.servers if s.port == port)
        leaving = cluster.begin_move(slot, to)
        cluster.move_keys(slot, leaving, to, 8)
        return leaving, to


@dataclass(frozen=True)
class HalfOpen(_Base):
    """Packets of some machines are dropped, without a FIN: for a while, or on that connection
    `for_ever`."""

    lasts_s: float = 30.0
    share: float = 0.5
    for_ever: bool = False
    touches: ClassVar[frozenset[str]] = frozenset({"machines"})

    async def begin(self, world: World) -> None:
        for place, machine in enumerate(world.living):
            if place < self.share * len(world.machines):
                machine.isolate(for_ever=self.for_ever)

    async def end(self, world: World) -> None:
        for machine in world.machines:
            machine.rejoin()


@dataclass(frozen=True)
class SlowNetwork(_Base):
    """Whatever machines and gateways say to each other comes late."""

    lasts_s: float = 60.0
    delay_s: float = 0.15
    touches: ClassVar[frozenset[str]] = frozenset({"machines"})

    async def begin(self, world: World) -> None:
        for gateway in world.gateways:
            gateway.proxy.delay_s = self.delay_s

    async def end(self, world: World) -> None:
        for gateway in world.gateways:
            gateway.proxy.delay_s = 0.0


@dataclass(frozen=True)
class EverybodyReconnects(_Base):
    """All sockets are cut at once."""

    touches: ClassVar[frozenset[str]] = frozenset({"machines"})

    async def begin(self, world: World) -> None:
        for gateway in world.gateways:
            gateway.proxy.reset()


@dataclass(frozen=True)
class SlowReaders(_Base):
    """Some machines send and do not read, while there is much to tell them."""

    lasts_s: float = 40.0
    touches: ClassVar[frozenset[str]] = frozenset({"machines"})

    async def begin(self, world: World) -> None:
        for machine in world.living[::3]:
            machine.stop_reading()

    async def end(self, world: World) -> None:
        for machine in world.machines:
            machine.read_again()


@dataclass(frozen=True)
class ClonedIdentity(_Base):
    """The disk of one machine is copied into another; both run."""

    lasts_s: float = 120.0
    touches: ClassVar[frozenset[str]] = frozenset({"machines"})

    async def begin(self, world: World) -> None:
        original = next(m for m in world.living if not m.plain)
        world.clone(original).start()


@dataclass(frozen=True)
class Repeated(_Base):
    """Another fault again and again, `every_s` from beginning to beginning."""

    lasts_s: float = 600.0
    of: Fault = StorePaused(12.0)
    every_s: float = 40.0

    @property
    def touches(self) -> frozenset[str]:  # type: ignore[override]
        return self.of.touches

    async def begin(self, world: World) -> None:
        began = now_ms()
        for number in range(round(self.lasts_s / self.every_s)):
            await self.of.begin(world)
            await world.wait(self.of.lasts_s)
            await self.of.end(world)
            due = began + world.pace.s(self.every_s) * 1000 * (number + 1)
            await asyncio.sleep(max(0.0, (due - now_ms()) / 1000))


@dataclass(frozen=True)
class Together(_Base):
    """Several faults, each beginning at its own time (s, true speed) after the first."""

    of: tuple[tuple[float, Fault], ...] = ()

    @property
    def touches(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset().union(*(fault.touches for _, fault in self.of))

    async def begin(self, world: World) -> None:
        await asyncio.gather(*(self._one(world, after_s, fault) for after_s, fault in self.of))

    async def _one(self, world: World, after_s: float, fault: Fault) -> None:
        await world.wait(after_s)
        await fault.begin(world)
        await world.wait(fault.lasts_s)
        await fault.end(world)
