"""What a process leaves behind at a store when it ends in order: nothing."""

from __future__ import annotations

from pathlib import Path

from registry.embedded import EmbeddedStore
from registry.store import Store
from tests.support.fleet import until
from tests.support.sentinels import SentinelStore


def of_ours(server: EmbeddedStore) -> int:
    """How many connections a server has that nobody gave a name, as Sentinels do theirs; the one
    that asks is left out."""
    listed = str(server.command("CLIENT", "LIST")).splitlines()
    return sum(" name= " in line and "cmd=client" not in line for line in listed)


async def test_closing_leaves_no_connection_to_a_sentinel(tmp_path: Path) -> None:
    made = SentinelStore.start(tmp_path, replicas=0, sentinels=1)
    try:
        store = await Store.connect(made.url)
        await store.ping()
        everybody = (*made.sentinels, *made.servers)
        assert all(of_ours(server) for server in everybody)
        await store.close()

        async def gone() -> bool:
            return not any(of_ours(server) for server in everybody)

        await until(gone, "no connection is left")
    finally:
        made.kill()
