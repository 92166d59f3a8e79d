"""What was under way when its machine died: the network delivers it if it can, and the checker does
not count on it."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.book import Book, Event, Page, Sent, Span
from tests.faults.checker import UNDER_WAY_MS, Checker
from tests.faults.pace import QUICK
from tests.faults.proxy import Proxy

TIMEOUT_MS = round(QUICK.timeout_s * 1000)
BEAT_AT = 100_000


def offline_at(at: int) -> Event:
    fields = {
        "type": "transition", "id": "node-A", "from": "ready", "to": "offline",
        "reason": "heartbeat_timeout", "evidence": "{}",
    }  # fmt: skip
    return Event("1-0", 0, at, at, fields)


def falsely_offline(died_at: int, offline: int) -> bool:
    """Whether the checker calls it a breach: a machine beat once, died, and was called offline."""
    book = Book()
    page: Page = book.page("m0", plain=True)
    page.node_id = "node-A"
    page.sent.append(Sent(BEAT_AT, "node_heartbeat", 1, able=True))
    page.able.append(Span(BEAT_AT - 10 * TIMEOUT_MS, died_at))
    book.events.append(offline_at(offline))
    return any(Checker(book, QUICK, {}).falsely_offline())


def test_a_beat_that_may_have_been_lost_with_its_machine_is_not_counted_on() -> None:
    assert not falsely_offline(BEAT_AT + 1, BEAT_AT + TIMEOUT_MS - 1000)


def test_a_beat_that_had_time_to_arrive_is_counted_on() -> None:
    assert falsely_offline(BEAT_AT + UNDER_WAY_MS, BEAT_AT + TIMEOUT_MS - 1000)
    assert not falsely_offline(BEAT_AT + UNDER_WAY_MS, BEAT_AT + TIMEOUT_MS)


@pytest.mark.parametrize("lost_first", [True, False], ids=["said after", "said before"])
async def test_a_lost_link_delivers_what_was_said_before_and_nothing_after(
    lost_first: bool,
) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            arrived.put_nowait(data)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    proxy = await Proxy(int(server.sockets[0].getsockname()[1])).start()
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"hello")
        assert await asyncio.wait_for(arrived.get(), 5) == b"hello"
        (link,) = proxy.links
        proxy.delay_s = 0.2
        link.lost = lost_first
        writer.write(b"beat")
        await asyncio.sleep(0.1)  # half of its way
        link.lost = True
        if lost_first:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(arrived.get(), 0.4)
        else:
            assert await asyncio.wait_for(arrived.get(), 5) == b"beat"
    finally:
        writer.transport.abort()
        await proxy.stop()
        server.close()
        await server.wait_closed()
