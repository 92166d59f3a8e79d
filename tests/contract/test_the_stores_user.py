"""As whom a store knows us."""

from __future__ import annotations

from registry.store import Store
from tests.support.stores import Backend


async def test_a_store_tells_its_user(store: Store) -> None:
    assert await store.user() == "default"


async def test_a_user_who_may_not_ask_is_nobody(valkey: Backend) -> None:
    (server,) = valkey.servers
    server.command("ACL", "SETUSER", "modest", "on", ">secret", "~*", "&*", "+@all", "-acl")
    assert valkey.url is not None
    url = valkey.url.replace("redis://", "redis://modest:secret@")
    store = await Store.connect(url)
    try:
        assert await store.user() == ""
    finally:
        await store.close()
        server.command("ACL", "DELUSER", "modest")
