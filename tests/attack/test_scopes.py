"""An owner's token, and every way it might see more than its owner's machines."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.api.table import TABLE
from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.support.api import Api, Machines
from tests.support.stores import Backend

TRICKS = (
    "/v1/nodes?label=owner=y",
    "/v1/nodes?label=owner=x&label=owner=y",
    "/v1/nodes?label=owner!=x",
    "/v1/nodes?label=owner%3Dy",
    "/v1/nodes?ids=node-y,node-nobodys",
    "/v1/nodes?q=node",
    "/v1/nodes?gateway=gw-of-y",
    "/v1/nodes?sort=-load&limit=1",
    "/v1/nodes/node-y",
    "/v1/nodes/node-x/../node-y",
    "/v1/nodes/node-x%2F..%2Fnode-y",
    "/v1/nodes/%6eode-y",
    "/v1//nodes/node-y",
    "/v1/nodes/node-y/explain",
    "/v1/nodes/node-y/explain?label=owner=x",
    "/v1/events?since=0&until=now",
    "/v1/events?since=0&until=now&label=owner=y",
    "/v1/events?since=0&until=now&node_id=node-y",
    "/v1/fleet",
    "/v1/me",
    "/v1/doctor",
)
HIDDEN = ("gw-of-y", "nobodys", "203.0.113", '"y"')


@pytest_asyncio.fixture
async def registry(valkey: Backend) -> AsyncIterator[Registry]:
    store = await valkey.connect()
    yield Registry(store, RegistrySettings())
    await store.close()


@pytest_asyncio.fixture
async def api(registry: Registry) -> Api:
    """With a machine of x, one of y, one of nobody's, and one of y that was taken off."""
    machines = Machines(registry)
    for name in ("x", "y", "y-gone"):
        owner = name[0]
        await machines.ready(f"node-{name}", labels={"owner": owner}, gateway=f"gw-of-{owner}")
    await machines.ready("node-nobodys")
    api = Api(registry)
    gone = await api.ask("DELETE", "/v1/nodes/node-y-gone?reason=sold+to+203.0.113.5")
    assert gone.status_code == 204
    return api


@pytest.mark.parametrize("who", ["reader of x", "admin of x"])
async def test_no_way_of_asking_shows_an_owner_what_is_anothers(api: Api, who: str) -> None:
    for url in TRICKS:
        answer = await api.ask("GET", url, who=who)
        told = answer.text.replace("node-y-gone", "").replace("node-y", "") if _echoes(url) else ""
        for word in HIDDEN:
            assert word not in (told or answer.text), url
        if not _echoes(url):
            assert "node-y" not in answer.text, url


def _echoes(url: str) -> bool:
    """Whether a refusal may name the id that was asked for."""
    return "node-y" in url or "%6eode-y" in url


@pytest.mark.parametrize("who", ["reader of x", "admin of x"])
async def test_another_owners_machine_and_one_that_never_was_can_not_be_told_apart(
    api: Api, who: str
) -> None:
    for path in ("/v1/nodes/{}", "/v1/nodes/{}/explain"):
        never = await api.ask("GET", path.format("node-none"), who=who)
        for node_id in ("node-y", "node-nobodys", "node-y-gone"):
            other = await api.ask("GET", path.format(node_id), who=who)
            assert other.status_code == never.status_code == 404
            assert other.text.replace(node_id, "node-none") == never.text


async def test_a_cursor_of_a_list_of_all_opens_nothing_to_an_owner(
    api: Api, registry: Registry
) -> None:
    for n in range(3):
        owner = {"owner": "y"}
        await Machines(registry).ready(f"node-{n}", labels=owner, gateway="gw-of-y")
    for sort in ("", "&sort=load", "&sort=node_id", "&sort=-load"):
        first = await api.ask("GET", f"/v1/nodes?limit=1{sort}")
        if first.status_code != 200:
            continue
        cursor = first.json()["cursor"]
        assert cursor
        answer = await api.ask("GET", f"/v1/nodes?cursor={cursor}{sort}", who="reader of x")
        assert "gw-of-y" not in answer.text
        assert "nobodys" not in answer.text


async def test_every_route_asks_for_a_token_however_its_path_is_written(api: Api) -> None:
    for endpoint in TABLE:
        path = endpoint.path.format(node_id="node-x", hold_id="h~node-x")
        for written in (path, path.replace("/v1/", "/v1/%2e/"), f"{path}/", path.upper()):
            answer = await api.ask(endpoint.method, written, who=None)
            assert answer.status_code in (401, 404), written
            if written == path:
                assert answer.status_code == 401
