"""A Cluster with replicas, and what happens to one: failovers, and slots that move.

Built on the embedded Cluster of primaries. A killed primary is succeeded by its replica within two
or three seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.embedded import EmbeddedCluster, EmbeddedStore, StoreReplyError
from registry.ports import free_port
from tests.support.launching import find_touch, follows, lose_touch, said, wait_until
from tests.support.users import with_users

_NODE_TIMEOUT_MS = 1000


@dataclass(frozen=True)
class Member:
    """One line of CLUSTER NODES."""

    id: str
    port: int
    flags: frozenset[str]
    primary_id: str
    slots: tuple[tuple[int, int], ...]

    def holds(self, slot: int) -> bool:
        return any(low <= slot <= high for low, high in self.slots)


class ReplicatedCluster:
    """`servers` are all of them, primaries first; who is what now, `members` says."""

    def __init__(
        self,
        directory: Path,
        extra: Sequence[str],
        server: Path | str | None,
        kind: type[EmbeddedStore] = EmbeddedStore,
    ) -> None:
        self.servers: list[EmbeddedStore] = []
        self._kind = kind
        self._directory = directory
        self._extra = [
            *("--cluster-node-timeout", str(_NODE_TIMEOUT_MS)),
            *("--repl-diskless-sync-delay", "0", *extra),
        ]
        self._server = server
        self._buses: dict[int, str] = {}

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        primaries: int = 3,
        replicas: int = 1,
        extra: Sequence[str] = (),
        server: Path | str | None = None,
        kind: type[EmbeddedStore] = EmbeddedStore,
    ) -> ReplicatedCluster:
        """Starts all, `replicas` for each primary, and waits until all agree."""
        made = cls(directory, extra, server, kind)
        try:
            found = EmbeddedCluster.start(
                directory, primaries, made._extra, server=server, kind=kind
            )
            for primary in found.stores:
                made._add(primary)
            made._add_replicas(found.stores, replicas)
            made.wait_whole()
        except BaseException:
            made.kill()
            raise
        return made

    @property
    def url(self) -> str:
        """Where clients find the cluster: a member that lives now."""
        return f"redis+cluster://127.0.0.1:{self._living().port}"

    def members(self) -> list[Member]:
        """All members as a living one sees them."""
        found = []
        for line in str(self._living().command("CLUSTER", "NODES")).splitlines():
            id_, address, flags, primary_id, _, _, _, _, *ranges = line.split()
            slots = [r.partition("-") for r in ranges if not r.startswith("[")]
            found.append(
                Member(
                    id_,
                    int(address.split("@")[0].rsplit(":", 1)[1]),
                    frozenset(flags.split(",")),
                    primary_id,
                    tuple((int(low), int(high or low)) for low, _, high in slots),
                )
            )
        return found

    @property
    def primaries(self) -> list[EmbeddedStore]:
        """Those who hold slots now."""
        return [self._server_of(m) for m in self.members() if m.slots]

    def primary_of(self, key: str) -> EmbeddedStore:
        """Who holds the slot of a key; waits while nobody does."""
        slot = self.slot_of(key)
        wait_until(lambda: any(m.holds(slot) for m in self.members()), f"slot {slot} is held")
        return self._server_of(next(m for m in self.members() if m.holds(slot)))

    def replica_of(self, primary: EmbeddedStore) -> EmbeddedStore:
        """A running replica of a primary."""
        id_ = self._id_of(primary)
        mine = [m for m in self.members() if m.primary_id == id_]
        return next(s for m in mine if (s := self._server_of(m)).running)

    def slot_of(self, key: str) -> int:
        """The slot of a key."""
        return int(self._living().command("CLUSTER", "KEYSLOT", key))

    def empty(self) -> None:
        """Forgets everything."""
        for member in self.members():
            if "master" in member.flags and "fail" not in member.flags:
                self._server_of(member).command("FLUSHALL")

    def promote(self, replica: EmbeddedStore) -> None:
        """Makes a replica the primary of its slots, in order and without loss."""
        replica.command("CLUSTER", "FAILOVER")
        self._wait_promoted(replica)

    def take_over(self, replica: EmbeddedStore) -> None:
        """Makes a replica the primary of its slots with what it has, asking nobody."""
        replica.command("CLUSTER", "FAILOVER", "TAKEOVER")
        self._wait_promoted(replica)

    def kill_primary_of(self, key: str) -> EmbeddedStore:
        """Ends who holds the key's slot as a power cut would; its replica, promoted by then."""
        primary = self.primary_of(key)
        replica = self.replica_of(primary)
        primary.kill()
        self._wait_promoted(replica)
        return replica

    def lose_touch(self, key: str) -> EmbeddedStore:
        """The replica for this key's slot, which learns of nothing any more that is written."""
        primary = self.primary_of(key)
        replica = self.replica_of(primary)
        lose_touch(replica, primary)
        return replica

    def find_touch(self, replica: EmbeddedStore) -> None:
        """Ends `lose_touch`."""
        find_touch(replica)

    def add(self) -> EmbeddedStore:
        """A new member that holds no slot yet; waits until all know it."""
        number = len(self.servers)
        newcomer = self._start_member(f"newcomer-{number}")
        wait_until(self._all_met, "the members know each other")
        self.wait_whole()
        return newcomer

    def restart(self, ended: EmbeddedStore) -> EmbeddedStore:
        """Starts a server that has ended again, on its port and data; it finds its place itself."""
        again = self._kind.start(
            ended.data_dir,
            ended.port,
            ["--cluster-enabled", "yes", "--cluster-port", self._buses[ended.port], *self._extra],
            server=self._server,
        )
        self.servers[self.servers.index(ended)] = again
        return again

    # A slot on the move

    def begin_move(self, slot: int, to: EmbeddedStore) -> EmbeddedStore:
        """From now on the slot is on its way to another primary; the one it leaves.

        Until `end_move` keys that are not there any more answer ASK, several keys of which some
        are there TRYAGAIN."""
        leaving = self._server_of(next(m for m in self.members() if m.holds(slot)))
        to.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self._id_of(leaving))
        leaving.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self._id_of(to))
        return leaving

    def move_keys(self, slot: int, leaving: EmbeddedStore, to: EmbeddedStore, most: int) -> int:
        """Moves up to so many keys of the slot; how many there were."""
        keys = leaving.command("CLUSTER", "GETKEYSINSLOT", str(slot), str(most))
        if keys:
            leaving.command(
                "MIGRATE", "127.0.0.1", str(to.port), "", "0", "5000", "KEYS", *map(str, keys)
            )
        return len(keys)

    def end_move(self, slot: int, leaving: EmbeddedStore, to: EmbeddedStore) -> None:
        """Moves what is left and gives the slot to its new primary, which everybody learns."""
        while self.move_keys(slot, leaving, to, 100):
            pass
        id_ = self._id_of(to)
        for server in (to, leaving):
            server.command("CLUSTER", "SETSLOT", str(slot), "NODE", id_)
        wait_until(
            lambda: self._server_of(next(m for m in self.members() if m.holds(slot))) is to,
            f"slot {slot} has moved",
        )

    def move(self, slot: int, to: EmbeddedStore) -> None:
        """Moves a slot, keys and all."""
        self.end_move(slot, self.begin_move(slot, to), to)

    # Bookkeeping

    def wait_whole(self) -> None:
        """Waits until every slot is served and every replica follows its primary."""
        wait_until(self._whole, "the cluster is whole", timeout_s=30)

    def kill(self) -> None:
        """Ends everything as a power cut would."""
        for server in self.servers:
            server.kill()

    def _whole(self) -> bool:
        with suppress(OSError, StoreReplyError, StopIteration):
            living = [s for s in self.servers if s.running]
            for server in living:
                info = str(server.command("CLUSTER", "INFO"))
                if "cluster_state:ok" not in info:
                    return False
                if f"cluster_known_nodes:{len(self.servers)}\r" not in info:
                    return False
            by_id = {m.id: m for m in self.members()}
            for member in by_id.values():
                server = self._server_of(member)
                if not server.running:
                    continue
                # It may have become a replica, and not everybody have heard of it.
                follower = said(server, "replication")["role"] == "slave"
                if follower != ("slave" in member.flags):
                    return False
                if follower:
                    primary = self._server_of(by_id[member.primary_id])
                    if not follows(server, primary):
                        return False
            return True
        return False

    def _add(self, server: EmbeddedStore) -> None:
        self.servers.append(server)
        self._buses[server.port] = str(server.command("CONFIG", "GET", "cluster-port")[1])

    def _add_replicas(self, primaries: list[EmbeddedStore], count: int) -> None:
        replicas = [
            self._start_member(f"replica-{number}") for number in range(len(primaries) * count)
        ]
        wait_until(self._all_met, "the members know each other")
        for number, replica in enumerate(replicas):
            primary = primaries[number % len(primaries)]
            replica.command("CLUSTER", "REPLICATE", self._id_of(primary))

    def _start_member(self, name: str) -> EmbeddedStore:
        member = self._kind.start(
            self._directory / name,
            extra=["--cluster-enabled", "yes", "--cluster-port", str(free_port()), *self._extra],
            server=self._server,
        )
        for known in self.servers:
            member.command("CLUSTER", "MEET", "127.0.0.1", str(known.port), self._buses[known.port])
        self._add(member)
        return member

    def _all_met(self) -> bool:
        ids = [self._id_of(s) for s in self.servers]
        seen = [str(s.command("CLUSTER", "NODES")) for s in self.servers]
        return all(id_ in nodes and "handshake" not in nodes for id_ in ids for nodes in seen)

    def _wait_promoted(self, replica: EmbeddedStore) -> None:
        def promoted() -> bool:
            with suppress(OSError, StoreReplyError):
                mine = next(m for m in self.members() if m.port == replica.port)
                role = said(replica, "replication")["role"]
                state = str(replica.command("CLUSTER", "INFO"))
                return role == "master" and bool(mine.slots) and "cluster_state:ok" in state
            return False

        wait_until(promoted, f"the replica on port {replica.port} is promoted", timeout_s=30)

    def _living(self) -> EmbeddedStore:
        return next(s for s in self.servers if s.running)

    def _server_of(self, member: Member) -> EmbeddedStore:
        return next(s for s in self.servers if s.port == member.port)

    @staticmethod
    def _id_of(server: EmbeddedStore) -> str:
        return str(server.command("CLUSTER", "MYID"))


@pytest.fixture
def replicated_cluster(tmp_path: Path) -> Iterator[ReplicatedCluster]:
    """Three primaries with a replica each, of this test's own, with the shipped users."""
    directory = tmp_path / "replicated-cluster"
    made = ReplicatedCluster.start(directory, extra=with_users(directory))
    yield made
    made.kill()
