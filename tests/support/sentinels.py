"""A store behind Sentinel: real servers, one primary and its replicas, watched by real sentinels.

The sentinels know each other and the replicas from the start, so that a failover can begin at once;
one takes two to four seconds. A primary that a busy machine keeps from answering for as long as its
sentinels have patience is replaced, too: a test that can't have that gives them more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from registry.embedded import EmbeddedStore, StoreReplyError
from registry.ports import free_port
from tests.support.launching import (
    caught_up,
    find_touch,
    follows,
    launcher,
    lose_touch,
    said,
    wait_until,
)

SERVICE = "muster"
_FAILOVER_TIMEOUT_MS = 3000


class SentinelStore:
    """`servers[0]` began as the primary; `primary` is whoever the sentinels now say it is."""

    def __init__(
        self,
        directory: Path,
        extra: Sequence[str],
        server: Path | str | None,
        patience_s: float,
    ) -> None:
        self.servers: list[EmbeddedStore] = []
        self.sentinels: list[EmbeddedStore] = []
        self._directory = directory
        self._patience_s = patience_s
        self._extra = ["--repl-diskless-sync-delay", "0", *extra]
        self._server = server
        self._launchers: dict[int, Path] = {}

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        extra: Sequence[str] = (),
        server: Path | str | None = None,
        clock_offsets_s: Mapping[int, float] | None = None,
        patience_s: float = 1.0,
    ) -> SentinelStore:
        """Starts all and waits until a failover could begin.

        `extra` are arguments of every store server. `clock_offsets_s` gives server n (0 is the
        primary) a clock that is so far off; among replicas such a one is promoted first. For
        `patience_s` the sentinels wait for the answer of a primary."""
        made = cls(directory, extra, server, patience_s)
        offsets = clock_offsets_s or {}
        try:
            for number in range(1 + replicas):
                made._add(number, offsets.get(number, 0.0))
            made._watch(sentinels)
            made.wait_whole()
        except BaseException:
            made.kill()
            raise
        return made

    @property
    def url(self) -> str:
        """Where clients find the sentinels."""
        hosts = ",".join(f"127.0.0.1:{s.port}" for s in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    @property
    def primary(self) -> EmbeddedStore:
        """Whom the sentinels call primary."""
        for sentinel in self.sentinels:
            with suppress(OSError, StoreReplyError):
                _, port = sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(s for s in self.servers if s.port == int(port))
        raise AssertionError("no sentinel answers")

    def epoch(self) -> int:
        """The newest configuration that any sentinel knows; every failover makes a newer one."""
        known = [0]
        for sentinel in self.sentinels:
            with suppress(OSError, StoreReplyError):
                row = sentinel.command("SENTINEL", "MASTER", SERVICE)
                known.append(int(dict(zip(row[::2], row[1::2], strict=True))["config-epoch"]))
        return max(known)

    @property
    def replicas(self) -> list[EmbeddedStore]:
        """Everybody running who is not the primary."""
        primary = self.primary
        return [s for s in self.servers if s.running and s is not primary]

    def empty(self) -> None:
        """Forgets everything, everywhere."""
        self.primary.command("FLUSHALL")
        self.catch_up()

    def catch_up(self) -> None:
        """Waits until every replica has what the primary has."""
        primary = self.primary
        wait_until(lambda: all(caught_up(r, primary) for r in self.replicas), "replicas catch up")

    def promote(self) -> EmbeddedStore:
        """Has a replica promoted while the primary lives, which becomes a replica; the new one."""
        former = self.primary
        self.sentinels[0].command("SENTINEL", "FAILOVER", SERVICE)
        return self.wait_for_successor(former)

    def kill_primary(self) -> EmbeddedStore:
        """Ends the primary as a power cut would; it. `wait_for_successor` waits for the rest."""
        former = self.primary
        former.kill()
        return former

    def wait_for_successor(self, former: EmbeddedStore) -> EmbeddedStore:
        """The new primary, once all sentinels agree on it and it takes writes."""

        def succeeded() -> bool:
            with suppress(OSError, StoreReplyError):
                return all(_primary_port(s) != former.port for s in self.sentinels) and (
                    said(self.primary, "replication")["role"] == "master"
                )
            return False

        wait_until(succeeded, "a replica is promoted", timeout_s=30)
        return self.primary

    def miss(self, replica: EmbeddedStore) -> None:
        """Waits until no sentinel sees a replica, which must have been paused or ended."""

        def missed() -> bool:
            return all(_flags(s, replica.port) >= {"s_down"} for s in self.sentinels)

        wait_until(missed, "the sentinels miss a replica")

    def lose_touch(self) -> None:
        """From now on no replica learns of what is written; one promoted later has lost it."""
        primary = self.primary
        for replica in self.replicas:
            lose_touch(replica, primary)

    def find_touch(self) -> None:
        """Ends `lose_touch`."""
        for replica in self.replicas:
            find_touch(replica)

    def restart(self, ended: EmbeddedStore) -> EmbeddedStore:
        """Starts a server that has ended again, on its port and data, as a replica."""
        place = self.servers.index(ended)
        again = EmbeddedStore.start(
            ended.data_dir,
            ended.port,
            [*self._extra, "--replicaof", "127.0.0.1", str(self.primary.port)],
            server=self._launchers[place],
        )
        self.servers[place] = again
        return again

    def wait_whole(self) -> None:
        """Waits until every replica follows the primary and every sentinel sees all that, which
        after a failover may take them 20 s."""
        primary = self.primary
        wait_until(lambda: all(follows(r, primary) for r in self.replicas), "replicas are in touch")
        wait_until(
            lambda: all(self._sees_all(sentinel, primary) for sentinel in self.sentinels),
            "the sentinels see everybody",
            timeout_s=60,
        )

    def kill(self) -> None:
        """Ends everything as a power cut would."""
        for server in (*self.sentinels, *self.servers):
            server.kill()

    def _add(self, number: int, clock_offset_s: float) -> None:
        directory = self._directory / f"server-{number}"
        self._launchers[number] = launcher(
            directory / "launcher", clock_offset_s=clock_offset_s, server=self._server
        )
        extra = list(self._extra)
        if number:
            priority = "1" if clock_offset_s else "100"
            extra += ["--replicaof", "127.0.0.1", str(self.servers[0].port)]
            extra += ["--replica-priority", priority]
        self.servers.append(
            EmbeddedStore.start(directory, extra=extra, server=self._launchers[number])
        )

    def _watch(self, count: int) -> None:
        named = [(free_port(), f"{number:040x}") for number in range(1, count + 1)]
        for number, (port, id_) in enumerate(named):
            directory = self._directory / f"sentinel-{number}"
            directory.mkdir(parents=True)
            config = directory / "sentinel.conf"
            others = [(p, i) for p, i in named if i != id_]
            config.write_text(self._config(id_, others, quorum=count // 2 + 1))
            binary = launcher(
                directory / "launcher", str(config), "--sentinel", server=self._server
            )
            self.sentinels.append(EmbeddedStore.start(directory, port, server=binary))

    def _config(self, id_: str, others: list[tuple[int, str]], quorum: int) -> str:
        primary, *replicas = self.servers
        lines = [
            f"sentinel myid {id_}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {round(self._patience_s * 1000)}",
            f"sentinel failover-timeout {SERVICE} {_FAILOVER_TIMEOUT_MS}",
            *(f"sentinel known-replica {SERVICE} 127.0.0.1 {r.port}" for r in replicas),
            *(f"sentinel known-sentinel {SERVICE} 127.0.0.1 {port} {i}" for port, i in others),
        ]
        return "\n".join(lines) + "\n"

    def _sees_all(self, sentinel: EmbeddedStore, primary: EmbeddedStore) -> bool:
        with suppress(OSError, StoreReplyError):
            sentinel.command("SENTINEL", "CKQUORUM", SERVICE)
            rows = sentinel.command("SENTINEL", "REPLICAS", SERVICE)
            found = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
            in_touch = [
                int(row["port"])
                for row in found
                if row["flags"] == "slave"
                and row["master-link-status"] == "ok"
                and row["master-port"] == str(primary.port)
            ]
            return sorted(in_touch) == sorted(r.port for r in self.replicas)
        return False


def _flags(sentinel: EmbeddedStore, port: int) -> set[str]:
    """What a sentinel thinks of the replica on a port."""
    rows = sentinel.command("SENTINEL", "REPLICAS", SERVICE)
    found = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
    return {flag for row in found if row["port"] == str(port) for flag in row["flags"].split(",")}


def _primary_port(sentinel: EmbeddedStore) -> int:
    return int(sentinel.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])


@pytest.fixture
def sentinel_store(tmp_path: Path) -> Iterator[SentinelStore]:
    """A primary, two replicas and three sentinels of this test's own."""
    made = SentinelStore.start(tmp_path / "sentinel-store")
    yield made
    made.kill()
