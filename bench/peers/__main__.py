"""`python -m bench.peers`: ours, a plain registry and etcd at the same work, one after the other.

Each gets the same number of machines, each with a connection of its own, and the same heartbeats at
the same pace. Counted is the processor time of every server it takes: gateway and store of ours,
server and store of the plain one, etcd. What each does for it differs, and is said in the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Processor, Report, step
from bench.gateway import NotMeasuredError, Sockets, counted, served
from bench.nodes import node_name
from bench.peers.plot import drawn
from bench.store import connected, make_ready
from registry.embedded import EmbeddedStore
from registry.ports import free_ports

_HERE = Path(__file__).resolve().parent
_PYTHON = _HERE.parents[1] / ".venv-peers" / "bin" / "python"
_WARM = 100
_SETTLE_S = 0.5
_ROUNDS_TO_READY = 3
_BEHIND_S = 60.0


@dataclass(frozen=True)
class Work:
    """Machines, heartbeats of each a repeat, repeats, heartbeats a second of all."""

    machines: int
    rounds: int
    repeats: int
    per_s: float


@dataclass
class Peer:
    """What one of them was measured to take, µs of processor time by server."""

    name: str
    does: str
    per_beat: list[dict[str, float]] = field(default_factory=list)
    per_registration: dict[str, float] = field(default_factory=dict)

    @property
    def beat_us(self) -> float:
        return statistics.median(sum(sample.values()) for sample in self.per_beat)

    @property
    def registration_us(self) -> float:
        return sum(self.per_registration.values())

    def parts(self) -> dict[str, float]:
        """The median of each server's share of a heartbeat."""
        return {
            kind: statistics.median(sample[kind] for sample in self.per_beat)
            for kind in self.per_beat[0]
        }

    def as_dict(self) -> dict[str, object]:
        """For machines."""
        return {
            "name": self.name, "does": self.does,
            "us_per_heartbeat": round(self.beat_us, 1),
            "us_per_heartbeat_by_server": {k: round(v, 1) for k, v in self.parts().items()},
            "us_per_heartbeat_samples": [round(sum(s.values()), 1) for s in self.per_beat],
            "us_per_registration": round(self.registration_us, 1),
            "us_per_registration_by_server":
                {k: round(v, 1) for k, v in self.per_registration.items()},
        }  # fmt: skip


def _driven(
    sockets: Sockets,
    servers: dict[str, int],
    work: Work,
    peer: Peer,
    *,
    between: Callable[[], None] = lambda: None,
    taken: Callable[[], int] | None = None,
) -> None:
    """Opens the machines and lets them beat; `between` runs once they have beaten a few times.
    `taken` says how many heartbeats a server that may fall behind has taken."""
    processors = {kind: Processor(pid) for kind, pid in servers.items()}

    def used() -> dict[str, float]:
        return {kind: p.used_us() for kind, p in processors.items()}

    def spent(before: dict[str, float], number: int) -> dict[str, float]:
        return {kind: (us - before[kind]) / number for kind, us in used().items()}

    with step(f"{peer.name}: {work.machines} connect and register"):
        sockets.do(f"open 0 {_WARM}")
        time.sleep(_SETTLE_S)
        before = used()
        sockets.do(f"open {_WARM} {work.machines - _WARM}")
        time.sleep(_SETTLE_S)
        peer.per_registration = spent(before, work.machines - _WARM)

    def beat(rounds: int) -> None:
        sent[0] += work.machines * rounds
        sockets.do(f"beat {work.machines} {rounds} {work.per_s}")
        time.sleep(_SETTLE_S)
        deadline = time.monotonic() + _BEHIND_S
        while taken is not None and taken() < sent[0]:
            if time.monotonic() > deadline:
                raise NotMeasuredError(f"{peer.name} took {taken()} of {sent[0]} heartbeats")
            time.sleep(_SETTLE_S)

    sent = [0]
    beat(_ROUNDS_TO_READY)
    between()
    time.sleep(_SETTLE_S)
    number = work.machines * work.rounds
    with step(f"{peer.name}: {work.repeats} times {number} heartbeats at {work.per_s:g} a s"):
        for _ in range(work.repeats):
            before = used()
            beat(work.rounds)
            peer.per_beat.append(spent(before, number))


def ours(directory: Path, work: Work) -> Peer:
    """A gateway and its store."""
    peer = Peer(
        "Muster",
        "validated, judged, fenced by session and version, batched; state, history, alarms and "
        "indexes written; missed changes told",
    )
    store = EmbeddedStore.start(directory / "ours")
    try:
        port = free_ports(1)[0]
        with served("gateway", ["gateway"], port, directory / "gateway.log", store.url) as child:
            sockets = Sockets(port)
            try:
                _driven(
                    sockets, {"gateway": child.process.pid, "store": store.pid}, work, peer,
                    between=lambda: asyncio.run(_ready(store.url, work.machines)),
                    taken=lambda: sum(counted(port).values()),
                )  # fmt: skip
            finally:
                sockets.end()
    finally:
        store.kill()
    return peer


async def _ready(url: str, machines: int) -> None:
    registry = await connected(url)
    await make_ready(registry, [node_name(n) for n in range(machines)])
    await registry.store.close()


def plain(directory: Path, work: Work) -> Peer:
    """FastAPI and redis-py, written in a day."""
    peer = Peer(
        "FastAPI + redis-py",
        "validated; a hash, a list of twenty and an expiring key written; nothing judged or told",
    )
    store = EmbeddedStore.start(directory / "plain")
    try:
        port = free_ports(1)[0]
        script = str(_HERE / "plain.py")
        with _running([str(_PYTHON), script, str(port)], directory / "plain.log", port,
                      {"PEER_REDIS_URL": store.url}) as pid:  # fmt: skip
            sockets = Sockets(port)
            try:
                servers = {"server": pid, "store": store.pid}
                _driven(sockets, servers, work, peer, taken=lambda: _taken(port))
            finally:
                sockets.end()
    finally:
        store.kill()
    return peer


def _taken(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
        return int(json.load(page)["beats"])


def etcd(directory: Path, work: Work) -> Peer:
    """Debian's etcd: a lease each, kept alive over a gRPC stream each."""
    peer = Peer("etcd lease", "a lease prolonged in memory; no state written, nothing judged")
    binary = shutil.which("etcd")
    if binary is None:
        raise NotMeasuredError("no etcd on PATH (Debian: etcd-server)")
    ports = free_ports(2)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    command = [
        binary, "--data-dir", str(directory / "etcd"), "--listen-client-urls", urls[0],
        "--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1],
        "--initial-advertise-peer-urls", urls[1], "--initial-cluster", f"default={urls[1]}",
        "--log-level", "error",
    ]  # fmt: skip
    with _running(command, directory / "etcd.log", ports[0], path="/health") as pid:
        leases = Sockets(ports[0], [str(_PYTHON), str(_HERE / "leases.py")])
        try:
            _driven(leases, {"etcd": pid}, work, peer)
        finally:
            leases.end()
    return peer


@contextmanager
def _running(
    command: Sequence[str], log: Path, port: int, more: Mapping[str, str] = {}, path: str = "/"
) -> Iterator[int]:
    """A server that answers; its process id."""
    with ExitStack() as ending:
        file = ending.enter_context(log.open("wb"))
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=dict(os.environ) | dict(more),
        )
        ending.callback(process.wait)
        ending.callback(process.kill)
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    last = log.read_text(errors="replace")[-500:]
                    raise NotMeasuredError(f"{command[0]} did not start: {last}") from None
                time.sleep(0.1)
        yield process.pid


def as_text(peers: Sequence[Peer], header: Report, work: Work) -> str:
    """For people."""
    heads = ("µs of processor time", "a heartbeat", "of it", "connect + registration")
    lines = [f"{heads[0]:<36}  {heads[1]:>11}   {heads[2]:<30} {heads[3]:>22}"]
    for peer in peers:
        parts = ", ".join(f"{kind} {us:.1f}" for kind, us in peer.parts().items())
        lines.append(
            f"{peer.name:<36}  {peer.beat_us:>11.1f}   {parts:<30} {peer.registration_us:>22.0f}"
        )
    lines.append("")
    base = peers[0]
    lines += [
        f"{base.name} / {peer.name}: {base.beat_us / peer.beat_us:.2f} a heartbeat, "
        f"{base.registration_us / peer.registration_us:.2f} a registration"
        for peer in peers[1:]
    ]
    lines += ["", *(f"{peer.name}: {peer.does}." for peer in peers), ""]
    lines.append(
        f"{header.when}, one run on {header.machine}, {header.duration_s:.0f} s, load average "
        f"{header.busy:.1f} before it; {work.machines} connections, {work.repeats} x "
        f"{work.machines * work.rounds} heartbeats at {work.per_s:g} a second each; medians."
    )
    return "\n".join(lines) + "\n"


def main() -> int:
    """0: all were measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--quick", action="store_true", help="shorter; nothing is kept")
    parser.add_argument(
        "--keep", type=Path, default=_HERE, metavar="DIR",
        help="where last.json, last.txt and last.svg are written",
    )  # fmt: skip
    options = parser.parse_args()
    if not _PYTHON.exists():
        parser.error("the peers' own packages are missing: make bench-peers installs them")
    work = Work(500, 4, 2, 2000.0) if options.quick else Work(500, 24, 5, 2000.0)
    report = Report(quick=options.quick)
    begun = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="muster-peers-") as name:
            peers = [measure(Path(name), work) for measure in (ours, plain, etcd)]
    except NotMeasuredError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    report.duration_s = time.monotonic() - begun
    text = as_text(peers, report, work)
    found = {
        "when": report.when, "machine": report.machine, "duration_s": round(report.duration_s, 1),
        "load_average_before": round(report.busy, 2), "connections": work.machines,
        "heartbeats_per_s": work.per_s, "peers": [peer.as_dict() for peer in peers],
    }  # fmt: skip
    as_json = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if not options.quick:
        (options.keep / "last.json").write_text(as_json)
        (options.keep / "last.txt").write_text(text)
        (options.keep / "last.svg").write_text(drawn(found))
    sys.stdout.write(as_json if options.json else text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
