"""A socket's unread events: in order, none lost, one reader that may give up."""

from __future__ import annotations

import asyncio

import pytest

from gateway.mailbox import Mailbox


async def test_events_are_taken_in_the_order_they_came() -> None:
    mailbox = Mailbox()
    assert mailbox.empty()
    for event in (1, 2, 3):
        mailbox.put_nowait(event)
    assert not mailbox.empty()
    assert [await mailbox.get() for _ in range(3)] == [1, 2, 3]
    assert mailbox.empty()


async def test_a_reader_who_waits_gets_what_comes() -> None:
    mailbox = Mailbox()
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put_nowait("first")
    mailbox.put_nowait("second")
    assert await reader == "first"
    assert await mailbox.get() == "second"


async def test_a_reader_who_gave_up_loses_nothing() -> None:
    mailbox = Mailbox()
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    reader.cancel()
    mailbox.put_nowait("came as the reader went")
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.wait_for(mailbox.get(), 1) == "came as the reader went"
