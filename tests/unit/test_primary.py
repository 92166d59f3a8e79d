"""Whom several sentinels, who do not always agree, call primary."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError

from registry import primary
from registry.primary import Sentinels, following
from tests.support.fleet import until

SERVICE = "muster"
SLOW_S = 0.2
FORMER, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)


@dataclass
class Says:
    """A sentinel; `listed` is whom it watches, where that is not whom it names. What it says comes
    after a time, and where it is `held` not before that is over."""

    epoch: int
    named: tuple[str, int]
    listed: tuple[str, int] | None = None
    down: bool = False
    after_s: float = 0.0
    held: asyncio.Event | None = None
    asked: int = 0

    async def sentinel_masters(self) -> dict[str, dict[str, Any]]:
        self.asked += 1
        await asyncio.sleep(self.after_s)
        if self.held is not None:
            await self.held.wait()
        host, port = self.listed or self.named
        flags = {"is_sdown": self.down, "is_odown": self.down, "config-epoch": self.epoch}
        return {SERVICE: {"ip": host, "port": port, **flags}}

    async def execute_command(self, name: str, service: str) -> tuple[bytes, int] | None:
        assert name == "SENTINEL GET-MASTER-ADDR-BY-NAME"
        host, port = self.named
        return (host.encode(), port) if service == SERVICE else None

    async def aclose(self) -> None:
        """As a client of a sentinel has it."""


class Silent(Says):
    """A sentinel behind a network that drops packets."""

    async def sentinel_masters(self) -> dict[str, dict[str, Any]]:
        await asyncio.sleep(3600)
        raise AssertionError("unreachable")


class Refusing(Says):
    """A sentinel that does not let us in."""

    async def sentinel_masters(self) -> dict[str, dict[str, Any]]:
        raise AuthenticationError("WRONGPASS")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once one sentinel answered, the others are hardly waited for."""
    monkeypatch.setattr(primary, "_OTHERS_S", SLOW_S / 20)


def asking(*sentinels: Says) -> Sentinels:
    manager = Sentinels([])
    now_there_are(manager, *sentinels)
    return manager


def now_there_are(manager: Sentinels, *sentinels: Any) -> None:
    """These are the sentinels from now on."""
    manager.sentinels = list(sentinels)


async def named(manager: Sentinels, service: str = SERVICE) -> tuple[str, int]:
    return await asyncio.wait_for(manager.discover_master(service), 30)


async def named_by(*sentinels: Says, service: str = SERVICE) -> tuple[str, int]:
    return await named(asking(*sentinels), service)


@pytest.mark.parametrize("place", range(3))
async def test_the_newest_configuration_is_believed_whoever_knows_it(place: int) -> None:
    sentinels = [Says(4, FORMER), Says(4, FORMER)]
    sentinels.insert(place, Says(5, NEW))
    assert await named_by(*sentinels) == NEW


async def test_the_leader_of_a_failover_is_believed_before_it_is_over() -> None:
    leader = Says(5, NEW, listed=FORMER, down=True)
    assert await named_by(Says(4, FORMER), Says(4, FORMER), leader) == NEW


async def test_a_sentinel_that_does_not_see_the_primary_says_less_than_one_that_does() -> None:
    assert await named_by(Says(4, FORMER, down=True), Says(4, FORMER)) == FORMER


async def test_a_sentinel_that_does_not_answer_holds_nobody_up() -> None:
    assert await named_by(Silent(4, FORMER), Says(5, NEW), Refusing(4, FORMER)) == NEW


async def test_where_all_call_it_down_there_is_no_primary() -> None:
    with pytest.raises(MasterNotFoundError):
        await named_by(Says(4, FORMER, down=True), Says(3, FORMER))


async def test_of_a_service_that_no_sentinel_knows_there_is_no_primary() -> None:
    with pytest.raises(MasterNotFoundError, match="another"):
        await named_by(Says(4, FORMER), service="another")


async def test_why_no_sentinel_lets_us_in_is_told() -> None:
    with pytest.raises(MasterNotFoundError, match="WRONGPASS"):
        await named_by(Refusing(4, FORMER), Refusing(4, FORMER))


async def test_who_knows_an_older_configuration_is_not_believed_while_who_knows_better_is_slow(
    hasty: None,
) -> None:
    slow = Says(5, NEW)
    sentinels = asking(Says(4, FORMER), slow)
    assert await named(sentinels) == NEW
    slow.after_s = SLOW_S
    assert await named(sentinels) == NEW


async def test_where_only_older_configurations_are_known_there_is_no_primary() -> None:
    sentinels = asking(Says(4, FORMER), Says(5, NEW))
    assert await named(sentinels) == NEW
    now_there_are(sentinels, Says(4, FORMER), Refusing(5, NEW))
    with pytest.raises(MasterNotFoundError, match="WRONGPASS"):
        await named(sentinels)


async def test_sentinels_that_were_set_up_anew_are_believed_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentinels = asking(Says(5, FORMER))
    assert await named(sentinels) == FORMER
    now_there_are(sentinels, Says(0, NEW))
    with pytest.raises(MasterNotFoundError):
        await named(sentinels)
    monkeypatch.setattr(primary, "_REMEMBERED_S", 0.0)
    assert await named(sentinels) == NEW


async def test_a_sentinel_that_is_always_the_last_to_answer_is_heard(hasty: None) -> None:
    arrives = asyncio.Event()
    far = Says(5, NEW, held=arrives)
    sentinels = asking(Says(4, FORMER), far)
    assert await named(sentinels) == FORMER, "the far one is not waited for"
    assert await named(sentinels) == FORMER
    assert far.asked == 1, "one question to it goes on"
    arrives.set()

    async def believed() -> bool:
        return await named(sentinels) == NEW

    await until(believed, "it is heard")


async def test_others_are_waited_for_once_not_again_after_each_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(primary, "_OTHERS_S", 2 * SLOW_S)
    too_late = Says(5, NEW, after_s=3 * SLOW_S)
    assert await named_by(Says(4, FORMER), Says(4, FORMER, after_s=SLOW_S / 2), too_late) == FORMER


async def test_closing_ends_what_is_still_asked(hasty: None) -> None:
    before = asyncio.all_tasks()
    sentinels = asking(Says(4, FORMER), Silent(4, FORMER))
    assert await named(sentinels) == FORMER
    assert asyncio.all_tasks() > before
    await sentinels.aclose()
    assert asyncio.all_tasks() == before


async def test_no_failure_ends_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "ASKED_EVERY_S", 0.0)
    failures = iter([MasterNotFoundError("away"), KeyError("a bug of ours")])
    asked = asyncio.Event()

    class Pool:
        async def get_master_address(self) -> None:
            for failure in failures:
                raise failure
            asked.set()

    pool: Any = Pool()
    follows = asyncio.create_task(following(pool)())
    await asyncio.wait_for(asked.wait(), 30)
    follows.cancel()
