"""The client against real gateways that die, hang, refuse and cut connections off."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import trustme

from muster.client import (
    AsyncClient,
    Event,
    Gap,
    InvalidParameterError,
    NoAvailableNodeError,
    Not,
    NotAllowedError,
    NotFoundError,
    Snapshot,
    UnavailableError,
    UnexpectedAnswerError,
    UnreachableError,
)
from muster.wire.bearer import Entry, Role, digest, new_token
from tests.integration.conftest import System
from tests.support.blocking import Blocking
from tests.support.cutting import Cutting
from tests.support.fleet import until
from tests.support.moving import Movers, happened
from tests.support.node import Node

QUIET: dict[str, Any] = {
    "heartbeat_interval_s": 15.0, "heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0,
}  # fmt: skip
"""Nothing happens to machines by itself."""

NMT: dict[str, Any] = {"kind": "nmt", "src_lang": "zh", "tgt_lang": "en"}
Make = Callable[..., Any]


@pytest.fixture(params=[AsyncClient, Blocking], ids=["async", "sync"])
def client(request: pytest.FixtureRequest) -> Make:
    """Makes a client of either kind."""
    make: Make = request.param
    return make


@asynccontextmanager
async def machines(system: System, *ids: str, **changes: Any) -> AsyncIterator[list[Node]]:
    """Ready machines with one place each."""
    async with asyncio.timeout(60):
        nodes = [await Node(system.ws).__aenter__() for _ in ids]
        try:
            for node, node_id in zip(nodes, ids, strict=True):
                await node.become_ready(node_id=node_id, **changes)
            yield nodes
        finally:
            for node in nodes:
                await node.__aexit__(None, None, None)


def always(bite: int | None) -> Iterator[int | None]:
    return repeat(bite)


def first(*bites: int) -> Iterator[int | None]:
    """These connections are cut, later ones not."""
    return chain(bites, repeat(None))


async def taken(muster: Any) -> int:
    """How many places are held in the whole fleet."""
    return sum([node.holds async for node in muster.nodes()])


# Looking


async def test_it_looks_at_the_fleet(system: System, client: Make) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    ids = [f"node-{n}" for n in range(5)]
    async with machines(system, *ids, labels={"region": "eu"}), client(system.http) as muster:
        assert sorted([node.node_id async for node in muster.nodes(status="ready")]) == ids
        some = [node.node_id async for node in muster.nodes(sort="-node_id", limit=2)]
        assert some == ["node-4", "node-3"]
        assert [node async for node in muster.nodes(labels={"region": Not("eu")})] == []
        pages = [page async for page in muster.pages(limit=1)]
        assert len([node for page in pages for node in page.nodes]) == 1
        empty = [page async for page in muster.pages(gpu="H100")]
        for page in (*pages, *empty):
            assert abs(page.now - (await muster.fleet()).now) < 10_000
        story = await muster.node("node-1")
        assert (story.status, story.labels, story.address) == (
            "ready",
            {"region": "eu"},
            "127.0.0.1",
        )
        assert [event["type"] for event in story.events] == ["transition", "register"]
        found = await muster.explain("node-1", locale="zh", tts="en")
        assert (found.selectable, found.matches) == (True, False)
        assert "健康检查通过" in found.summary
        tried = await muster.try_selection(tts="ja", min_gpu_memory_gb=4000)
        assert (tried.matching, tried.examined, tried.sampled) == (0, 5, False)
        assert sum(tried.reasons.values()) == 5
        tried = await muster.try_selection(labels={"region": "eu"})
        assert sorted(chosen.node_id for chosen in tried.nodes) == ids
        assert (await muster.fleet()).status["ready"] == 5


async def test_it_operates_machines(system: System, client: Make) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with machines(system, "node-A", "node-B"), client(system.http) as muster:
        assert (await muster.drain("node-A", "new driver", timeout_s=60)).changed
        story = await muster.node("node-A")
        assert (story.operator.why, story.operator.timeout_ms) == ("new driver", 60_000)
        assert (await muster.resume("node-A", "it is in")).changed
        assert not (await muster.resume("node-A", "it is in")).changed
        labels = await muster.label("node-A", {"tier": "gold", "rack": None}, "moved")
        assert labels == {"tier": "gold"}
        dry = await muster.bulk("drain", "why", where={"labels": {"tier": "gold"}}, dry_run=True)
        assert (dry.nodes, dry.done) == (("node-A",), 0)
        done = await muster.bulk("label", "why", every=True, labels={"tier": None})
        assert done.done == 2
        await muster.remove("node-A", "sold")
        assert [node.node_id async for node in muster.nodes()] == ["node-B"]


async def test_what_is_wrong_is_an_error_with_its_code_and_a_next_step(
    system: System, client: Make
) -> None:
    await system.start(gateways=1, sweepers=0)
    async with client(system.http) as muster:
        with pytest.raises(NotFoundError) as missing:
            await muster.node("node-A")
        assert (missing.value.code, missing.value.status) == ("NODE_NOT_FOUND", 404)
        with pytest.raises(InvalidParameterError) as misspelt:
            await muster.select(lables={"a": "b"})
        assert misspelt.value.next_step == "write labels"
        with pytest.raises(NoAvailableNodeError) as nobody:
            await muster.select(**NMT)
        assert nobody.value.document["total"] == 0
        with pytest.raises(InvalidParameterError):
            await muster.bulk("drain", "why")


# Holding


async def test_a_place_is_held_during_the_block_and_given_back_however_it_ends(
    system: System, client: Make
) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with machines(system, "node-A"), client(system.http) as muster:
        async with muster.hold(**NMT) as place:
            assert place.node_id == "node-A"
            assert place.id.endswith("~node-A")
            assert await taken(muster) == 1
            with pytest.raises(NoAvailableNodeError) as nobody:
                await muster.select(hold_ms=1000, **NMT)
            assert nobody.value.reasons == {"capacity_exceeded": 1}
        assert await taken(muster) == 0

        async def fail() -> None:
            async with muster.hold(**NMT):
                assert await taken(muster) == 1
                raise RuntimeError("the job")

        with pytest.raises(RuntimeError, match="the job"):
            await fail()
        assert await taken(muster) == 0


async def test_a_place_that_is_kept_stays_until_the_job_ends_it(
    system: System, client: Make
) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with machines(system, "node-A") as (node,), client(system.http) as muster:
        async with muster.hold(**NMT) as place:
            place.keep()
        assert await taken(muster) == 1
        await node.say({"type": "job_result", "job_id": place.request_id, "success": True})

        async def ended() -> bool:
            return await taken(muster) == 0

        await until(ended, "the result ends the hold")
        await muster.release(place.id)  # is no error


async def test_a_place_is_given_back_by_who_is_cancelled_even_while_giving_back(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with machines(system, "node-A"), AsyncClient(system.http) as muster:
        for after_turns in (0, 1, 2, 5):
            holding = asyncio.Event()

            async def work(holding: asyncio.Event = holding) -> None:
                async with muster.hold(**NMT):
                    holding.set()
                    await asyncio.sleep(60)

            working = asyncio.create_task(work())
            await holding.wait()
            working.cancel()
            for _ in range(after_turns):
                await asyncio.sleep(0)
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working

            async def free() -> bool:
                return await taken(muster) == 0

            await until(free, "the place is free")


async def test_closing_waits_for_places_that_are_being_given_back(system: System) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with machines(system, "node-A"):
        async with AsyncClient(system.http) as muster:
            holding = asyncio.Event()

            async def work() -> None:
                async with muster.hold(**NMT):
                    holding.set()
                    await asyncio.sleep(60)

            working = asyncio.create_task(work())
            await holding.wait()
            working.cancel()
            await asyncio.sleep(0)
            working.cancel()
            await asyncio.wait([working])
        async with AsyncClient(system.http) as another:
            assert await taken(another) == 0


async def test_a_place_that_cannot_be_given_back_does_not_fail_the_job(
    system: System, client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with (
        machines(system, "node-A"),
        client(system.http, patience_s=0.2, timeout_s=2) as muster,
        muster.hold(**NMT),
    ):
        system.gateways[0].kill()
    assert "could not be given back" in caplog.text


async def test_a_selection_without_an_answer_is_asked_again_and_holds_one_place(
    system: System, client: Make
) -> None:
    await system.start(gateways=2, sweepers=1, **QUIET)
    other = system.gateways[1]
    async with machines(system, "node-A", "node-B", "node-C"):
        async with (
            Cutting(system.gateways[0].port, always(0)) as cut,
            Cutting(other.port, first(0)) as cut_once,
            client(cut.url, cut_once.url) as muster,
            muster.hold(**NMT) as place,
        ):
            assert cut.connections + cut_once.connections >= 3
            async with client(other.url) as watcher:
                assert await taken(watcher) == 1
                held = await watcher.node(place.node_id)
                assert [hold.id for hold in held.open_holds] == [place.id]
        async with client(other.url) as watcher:
            assert await taken(watcher) == 0


async def test_what_would_be_done_twice_is_not_asked_again(system: System, client: Make) -> None:
    await system.start(gateways=1, sweepers=0, **QUIET)
    async with (
        Node(system.ws) as node,
        Cutting(system.gateways[0].port, always(0)) as cut,
        client(cut.url) as muster,
    ):
        await node.register(node_id="node-A")
        with pytest.raises(UnreachableError):
            await muster.drain("node-A", "why")

        async def drained() -> bool:
            types = [event["type"] for event in (await happened(system.registry))["node-A"]]
            return "operator_drain" in types

        await until(drained, "it was done all the same")
        assert cut.connections == 1


async def test_a_removal_without_an_answer_is_one(system: System, client: Make) -> None:
    await system.start(gateways=1, sweepers=0, **QUIET)
    async with (
        Node(system.ws) as node,
        Cutting(system.gateways[0].port, first(0)) as cut,
        client(cut.url) as muster,
    ):
        await node.register(node_id="node-A")
        await muster.remove("node-A", "sold")
        assert cut.connections == 2
        with pytest.raises(NotFoundError):
            await muster.remove("node-A", "sold")


# Several gateways


async def test_the_next_gateway_is_asked_when_one_dies_hangs_or_was_never_there(
    system: System, client: Make
) -> None:
    await system.start(gateways=3, sweepers=0)
    dead, hanging, well = system.gateways
    async with client(dead.url, hanging.url, well.url, timeout_s=1.0) as muster:
        for _ in range(3):
            assert (await muster.fleet()).total == 0
        dead.kill()
        hanging.pause()
        try:
            assert (await muster.fleet()).total == 0
            assert (await muster.fleet()).total == 0
        finally:
            hanging.resume()
        well.kill()
        hanging.kill()
        with pytest.raises(UnreachableError) as nobody:
            async with client(dead.url, well.url, patience_s=0.5) as hopeless:
                await hopeless.fleet()
        assert set(nobody.value.tried) == {dead.url, well.url}
        assert dead.url in str(nobody.value)


async def test_a_gateway_without_its_store_is_waited_for_with_patience(
    system: System, client: Make
) -> None:
    await system.start(gateways=1, sweepers=0, api_timeout_s=1.0, redis_timeout_s=0.5)
    store = system.backend.servers[0]
    async with client(system.http, patience_s=1.0) as impatient:
        store.pause()
        try:
            with pytest.raises(UnavailableError):
                await impatient.fleet()
            async with client(system.http, patience_s=30.0) as patient:
                asking = asyncio.create_task(patient.fleet())
                await asyncio.sleep(0.2)
                store.resume()
                assert (await asking).total == 0
        finally:
            store.resume()


async def test_something_else_than_a_gateway_is_said_to_be_that(client: Make) -> None:
    async def say_hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        page = b"<html>hello</html>"
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(page)}\r\n\r\n".encode()
        writer.write(head + page)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(say_hello, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client(url) as muster:
        with pytest.raises(UnexpectedAnswerError, match=url):
            await muster.fleet()
        with pytest.raises(UnexpectedAnswerError):
            async for _event in muster.events():
                pass


# Tokens and TLS


async def test_tokens_are_sent_and_what_they_may_not_do_is_said(
    system: System, client: Make
) -> None:
    reader, stranger = new_token(), new_token()
    line = Entry("scheduler", Role.READ, digest(reader)).line()
    await system.start(gateways=1, sweepers=0, api_tokens=[line])
    for token in (None, stranger):
        async with client(system.http, token=token) as muster:
            with pytest.raises(NotAllowedError) as refused:
                await muster.fleet()
            assert refused.value.code == "UNAUTHORIZED"
            assert "MUSTER_TOKEN" in refused.value.next_step
            with pytest.raises(NotAllowedError):
                async for _event in muster.events():
                    pass
    async with client(system.http, token=reader) as muster:
        assert (await muster.fleet()).total == 0
        with pytest.raises(NotAllowedError) as refused:
            await muster.drain("node-A", "why")
        assert refused.value.code == "FORBIDDEN"


@pytest.mark.parametrize("token", ["", "two words", "mst_\n", "令牌"])
def test_a_token_that_cannot_be_sent_is_refused_without_repeating_it(
    client: Make, token: str
) -> None:
    with pytest.raises(ValueError, match="token") as refused:
        client(token=token)
    assert not token or token not in str(refused.value)


async def test_https_is_spoken_with_an_authority_of_ones_own(
    system: System, client: Make, tmp_path: Path
) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    await system.start(sweepers=0, tls_key_file=str(key), tls_cert_file=str(cert))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with client(system.http, ssl_context=context) as muster:
        assert (await muster.fleet()).total == 0
    async with client(system.http, patience_s=0) as muster:
        with pytest.raises(UnreachableError) as distrusted:
            await muster.fleet()
    assert "certificate" in distrusted.value.next_step


async def test_this_machine_is_not_asked_through_a_proxy(
    system: System, client: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await system.start(gateways=1, sweepers=0)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with client(system.http) as muster:
        assert (await muster.fleet()).total == 0


# Watching


async def test_events_are_told_exactly_through_cuts_and_deaths(
    system: System, client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    await system.start(gateways=2, sweepers=0, **QUIET)
    movers = Movers(system.registry)
    await movers.register([f"node-{n}" for n in range(10)])
    chance = random.Random(1)
    start = str(await system.registry.event_cursor())
    before = sum(map(len, (await happened(system.registry)).values()))

    def bites() -> Iterator[int | None]:
        while True:
            yield chance.randint(200, 40_000)

    async with (
        Cutting(system.gateways[0].port, bites()) as one,
        Cutting(system.gateways[1].port, bites()) as two,
        client(one.url, two.url) as muster,
    ):
        moving = asyncio.create_task(movers.move_all(300))
        told: dict[str, list[Any]] = defaultdict(list)
        count = 0
        async with asyncio.timeout(90), aclosing(muster.events(after=start)) as events:
            async for event in events:
                assert isinstance(event, Event), event
                told[event.node_id].append(event.data)
                count += 1
                if count == 100:
                    system.gateways[0].kill()
                if count == 300:
                    break
        await moving
        true = await happened(system.registry)
        assert sum(map(len, true.values())) == before + 300
        assert {id_: events[-len(told[id_]) :] for id_, events in true.items() if id_ in told} == (
            dict(told)
        )
        assert one.connections + two.connections > 2
        async with asyncio.timeout(30):
            past = muster.events(since_ms=0, until_now=True, types="register")
            registered = [event.node_id async for event in past if isinstance(event, Event)]
        assert sorted(registered) == sorted(true)


async def test_a_watch_lists_then_tells_and_lists_again_behind_a_gap(
    system: System, client: Make
) -> None:
    await system.start(gateways=2, sweepers=0, **QUIET)
    movers = Movers(system.registry)
    await movers.register(["node-A", "node-B"])
    urls = [gateway.url for gateway in system.gateways]
    async with (
        asyncio.timeout(60),
        client(*urls) as muster,
        aclosing(muster.watch()) as watch,
    ):
        snapshot = await anext(watch)
        assert isinstance(snapshot, Snapshot)
        assert {node.node_id for node in snapshot.nodes} == {"node-A", "node-B"}
        await movers.move_all(1)
        event = await anext(watch)
        assert isinstance(event, Event)
        assert (event.type, event.from_, event.to) == ("transition", "ready", "degraded")
        system.backend.servers[0].command("FLUSHALL")
        gap = await anext(watch)
        assert gap == Gap("store_replaced", gap.cursor)
        again = await anext(watch)
        assert isinstance(again, Snapshot)
        assert again.nodes == ()
        await movers.register(["node-C"])
        event = await anext(watch)
        assert (event.type, event.node_id) == ("register", "node-C")


async def test_a_watch_goes_on_through_an_outage_of_everything(
    system: System, client: Make
) -> None:
    await system.start(gateways=1, sweepers=0, **QUIET)
    movers = Movers(system.registry)
    await movers.register(["node-A"])
    (gateway,) = system.gateways
    async with (
        asyncio.timeout(60),
        client(gateway.url, patience_s=0.1) as muster,
        aclosing(muster.watch(node_ids="node-A")) as watch,
    ):
        assert len((await anext(watch)).nodes) == 1
        told = asyncio.ensure_future(anext(watch))
        gateway.kill()
        await movers.move_all(1)
        await asyncio.sleep(0.5)  # longer than its patience
        await system.start(gateways=1, sweepers=0, port=gateway.port, **QUIET)
        event = await told
        assert (event.type, event.to) == ("transition", "degraded")


async def test_a_watch_whose_token_is_taken_away_ends_with_that(
    system: System, client: Make, tmp_path: Path
) -> None:
    token = new_token()
    file = tmp_path / "tokens"
    file.write_text(Entry("scheduler", Role.READ, digest(token)).line() + "\n")
    await system.start(
        gateways=1, sweepers=0, api_tokens_file=str(file), watch_keepalive_s=0.2, **QUIET
    )
    async with client(system.http, token=token) as muster, aclosing(muster.watch()) as watch:
        assert isinstance(await anext(watch), Snapshot)
        file.write_text("# nobody\n")
        async with asyncio.timeout(20):
            with pytest.raises(NotAllowedError):
                await anext(watch)


async def test_a_watch_that_never_began_fails_like_any_call(client: Make) -> None:
    async with client("http://127.0.0.1:9", patience_s=0) as muster:
        for watch in (muster.watch(), muster.events()):
            with pytest.raises(UnreachableError):
                await anext(watch)
