"""Makes a kept store: a real gateway, sweeper and nodes, one in every state, and all they left.

`python -m tests.support.keeping NAME [--code FOLDER]` writes `tests/kept/NAME.json`; with `--code`
the gateway and the sweeper are those of another working copy. docs/upgrades.md says when one is
due.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx

from registry.embedded import EmbeddedStore
from registry.keys import PARTITIONS, Keys
from tests.support.fleet import until
from tests.support.kept import FOLDER, Kept, dump
from tests.support.node import Node
from tests.support.processes import Process, Processes
from tests.support.users import BOTH, as_user, with_users
from tests.support.versions import environment

SECRET = "a secret that is kept with the store"
REQUEST = {"request_id": "kept-request-1", "hold_ms": 600_000, "labels": {"tier": "gold"}}
ILL = {"resource_usage": {"gpu_percent": 101}}
BUSY = {"resource_usage": {"running_jobs": 1}}
_ROOT = Path(__file__).resolve().parents[2]


class _Cast:
    """Nodes by the part they play, and what they must remember."""

    def __init__(self, gateway: Process, sockets: AsyncExitStack, http: httpx.AsyncClient) -> None:
        self.parts: dict[str, Any] = {}
        self._beats: Counter[str] = Counter()
        self._gateway = gateway
        self._sockets = sockets
        self._http = http

    async def enter(
        self, part: str, beats: int = 3, *, judged: bool = True, **changes: Any
    ) -> Node:
        """A node that registered and beat so often; after three it is ready, if it is judged."""
        node = await self._sockets.enter_async_context(Node(self._gateway.ws_url))
        ack = await node.register(heartbeat_ack=True, boot_id=f"boot-{part}", **changes)
        self.parts[part] = {"node_id": ack["node_id"], "node_token": ack["node_token"]}
        await self.beat(node, *[{}] * beats)
        if beats > 2 and judged:
            await node.hear_status("ready")
        return node

    async def beat(self, node: Node, *beats: dict[str, Any]) -> None:
        """So many heartbeats, and waits until the store has them: acknowledgements come before."""
        assert node.node_id is not None
        self._beats[node.node_id] += len(beats)
        for fields in beats:
            await node.beat(**fields)
        async with asyncio.timeout(60):
            while await self._counted(node.node_id) < self._beats[node.node_id]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def _counted(self, node_id: str) -> int:
        return len((await self.ask("GET", f"/v1/nodes/{node_id}"))["verdicts"])

    async def back(self, part: str) -> Node:
        """The same node on another socket, with its token."""
        node = await self._sockets.enter_async_context(Node(self._gateway.ws_url))
        shown = {"boot_id": f"boot-{part}", "attempt": 2, "heartbeat_ack": True}
        ack = await node.register(**self.parts[part], **shown, labels={"region": "eu"})
        assert ack["status"] == "ready", ack
        return node

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """One request of an operator or a scheduler."""
        answer = await self._http.request(method, f"{self._gateway.url}{path}", **body)
        answer.raise_for_status()
        said: dict[str, Any] = answer.json() if answer.content else {}
        return said

    async def drain(self, node: Node) -> None:
        await self.ask("POST", f"/v1/nodes/{node.node_id}/drain", json={"reason": "new driver"})
        await node.hear_status("draining")


async def made(directory: Path, code: Path = _ROOT) -> Kept:
    """A kept store, written by the gateway and the sweeper of a working copy."""
    store = EmbeddedStore.start(directory / "store", extra=with_users(directory / "store"))
    processes = Processes(directory, as_user(store.url, BOTH), secret=[SECRET], log_format="text")
    try:
        gateway = processes.start("gateway", "MUSTER_PORT", {}, environment(code))
        sweeper = processes.start("sweeper", "MUSTER_SWEEPER_PORT", {}, environment(code))
        await gateway.wait_ready()
        await sweeper.wait_ready()
        await _observed(store)
        async with AsyncExitStack() as sockets, httpx.AsyncClient(trust_env=False) as http:
            cast = _Cast(gateway, sockets, http)
            await _play(cast, sweeper)
            gateway.kill()  # now nothing moves any more
            return dump(store.url, _commit(code), cast.parts)
    finally:
        processes.stop()
        store.kill()


async def _observed(store: EmbeddedStore) -> None:
    """Waits until every partition was observed: the play may be over before the first time."""
    swept = [Keys("muster").swept(partition) for partition in range(PARTITIONS)]

    async def all_are() -> bool:
        return int(str(store.command("EXISTS", *swept))) == PARTITIONS

    await until(all_are, "every partition is observed")


async def _play(cast: _Cast, sweeper: Process) -> None:
    await cast.enter("ready", labels={"region": "eu"})
    ready = await cast.back("ready")
    await cast.ask(
        "PATCH",
        f"/v1/nodes/{ready.node_id}/labels",
        json={"labels": {"tier": "gold"}, "reason": "a good card"},
    )
    await cast.beat(ready, {"installed_models": []})
    cast.parts["selection"] = await cast.ask("POST", "/v1/select", json=REQUEST)
    cast.parts["cursor"] = (await cast.ask("GET", "/v1/nodes?snapshot=1"))["events_cursor"]

    await cast.enter("warming", beats=2)
    degraded = await cast.enter("degraded")
    await cast.beat(degraded, *[ILL] * 5)
    await degraded.hear_status("degraded")
    await degraded.say({"type": "job_result", "job_id": "job-1", "success": False})
    gone = await cast.enter("gone")
    await gone.ws.close()
    drained = await cast.enter("drained")
    await cast.beat(drained, BUSY)
    await cast.drain(drained)
    leaving = await cast.enter("leaving")
    await cast.beat(leaving, BUSY)
    await leaving.say({"type": "node_unregister", "reason": "shutdown"})
    await leaving.hear_status("draining")
    left = await cast.enter("left")
    await cast.drain(left)
    await left.say({"type": "node_unregister", "reason": "shutdown"})
    await left.hear_status("offline")
    resumed = await cast.enter("resumed")
    await cast.drain(resumed)
    await cast.ask("POST", f"/v1/nodes/{resumed.node_id}/resume", json={"reason": "done"})
    await resumed.hear_status("ready")
    removed = await cast.enter("removed")
    await cast.ask("DELETE", f"/v1/nodes/{removed.node_id}?reason=sold")
    await removed.hear_status("offline")

    sweeper.pause()
    await cast.enter("unjudged", judged=False)


def _commit(code: Path) -> str:
    said = subprocess.run(
        ["git", "log", "-1", "--format=%h of %cs: %s"],
        cwd=code, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return said.stdout.strip()


def main() -> None:
    """Writes a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.keeping", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--code", type=Path, default=_ROOT)
    given = parser.parse_args()
    path = FOLDER / f"{given.name}.json"
    if path.exists():
        parser.error(f"{path} is kept: what was written is never written again")
    code = given.code.resolve()
    with tempfile.TemporaryDirectory() as directory:
        kept = asyncio.run(made(Path(directory), code))
    kept.save(path)
    print(f"{path}: {len(kept.keys)} keys")


if __name__ == "__main__":
    main()
