"""Commands written out by hiredis are, byte for byte, those of the client library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Connection
from redis.exceptions import DataError

from registry.model import Status
from registry.opening import PLAIN, opened
from registry.packing import packing

ARGUMENTS = st.text(max_size=20) | st.binary() | st.integers() | st.floats() | st.just(Status.READY)
NAMES = st.sampled_from(["EVALSHA", "CONFIG GET", "CLIENT  NO-EVICT"])


@given(NAMES, st.lists(ARGUMENTS, max_size=8))
def test_the_bytes_are_those_of_the_client_library(name: str, arguments: list[Any]) -> None:
    ours = packing(Connection)().pack_command(name, *arguments)
    assert b"".join(ours) == b"".join(Connection().pack_command(name, *arguments))


@pytest.mark.parametrize("wrong", [None, [1], {}, 1j], ids=repr)
def test_what_is_no_argument_is_refused_as_the_client_library_refuses_it(wrong: Any) -> None:
    with pytest.raises(DataError):
        packing(Connection)().pack_command("SET", "key", wrong)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "rediss://h", "redis+sentinel://h/main", "rediss+sentinel://h/main",
        "redis+cluster://h", "rediss+cluster://h", "unix:///run/store.sock",
    ],
)  # fmt: skip
def test_every_kind_of_connection_has_its_commands_written_so(url: str) -> None:
    client = opened(url, PLAIN, 1.0).client
    if url.startswith(("redis+cluster", "rediss+cluster")):
        kinds = [node.connection_class for node in client.nodes_manager.startup_nodes.values()]
        kinds.append(client.get_connection_kwargs()["connection_class"])
    else:
        kinds = [client.connection_pool.connection_class]
    assert {kind.__name__ for kind in kinds} == {"Packing"}
