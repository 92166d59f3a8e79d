"""Who is let in: four limits, and that a place is given back."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.door import TELL_EVERY_S, Door
from gateway.limits import Limit
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings


class Waiting:
    """A conversation that has not registered, unless it is told so."""

    def __init__(self) -> None:
        self.registered = False
        self.busy = False
        self.gone = False

    def give_way(self) -> None:
        self.gone = True


class Entrance:
    """A door, how many behind it registered, and the time."""

    def __init__(self, descriptors: int = 10_000, **settings: Any) -> None:
        self.registered = 0
        self.s = 1000.0
        self.metrics = Metrics()
        made = GatewaySettings(**settings)
        self.door = Door(
            made, self.metrics, lambda: self.registered, lambda: self.s, descriptors=descriptors
        )

    def wait(self, *keys: str) -> list[Waiting]:
        """Each of them comes and can be spoken to."""
        guests = [Waiting() for _ in keys]
        for key, guest in zip(keys, guests, strict=True):
            assert self.come(key) is None
            self.door.meet(key, guest)
        return guests

    def come(self, key: str, address: str = "198.51.100.1", connections: int = 1) -> Limit | None:
        limit = self.door.refusal(address, connections)
        if limit is None:
            self.door.enter(key, address)
        return limit

    def shed(self, limit: Limit) -> float:
        sample = self.metrics.registry.get_sample_value
        return sample("muster_shed_total", {"limit": limit.value}) or 0.0


def test_beyond_the_most_sockets_nobody_enters_until_one_leaves() -> None:
    entrance = Entrance(sockets_most=2)
    assert [entrance.come(key) for key in "abc"] == [None, None, Limit.SOCKETS]
    entrance.door.leave("a")
    entrance.door.leave("a")
    assert [entrance.come(key) for key in "cd"] == [None, Limit.SOCKETS]
    assert entrance.shed(Limit.SOCKETS) == 2


def test_a_limit_for_one_address_is_no_limit_for_another() -> None:
    entrance = Entrance(sockets_per_address=2)
    assert [entrance.come(key) for key in "abc"] == [None, None, Limit.ADDRESS]
    assert entrance.come("d", "198.51.100.2") is None
    entrance.door.leave("b")
    assert entrance.come("e") is None
    for key in "ade":
        entrance.door.leave(key)
    assert not entrance.door._of_address


def test_of_ipv6_what_one_machine_is_given_is_one_address() -> None:
    entrance = Entrance(sockets_per_address=1)
    assert entrance.come("a", "2001:db8::1") is None
    assert entrance.come("b", "2001:db8::2") is Limit.ADDRESS
    assert entrance.come("c", "2001:db8:0:1::1") is None


def test_who_registered_makes_place_for_others_to_register() -> None:
    entrance = Entrance(sockets_unregistered=2)
    assert [entrance.come(key) for key in "abc"] == [None, None, Limit.UNREGISTERED]
    entrance.registered = 1
    assert entrance.come("c") is None
    assert entrance.come("d") is Limit.UNREGISTERED


def test_by_default_a_whole_fleet_may_come_from_one_address_and_register_afterwards() -> None:
    entrance = Entrance(descriptors=20_000)
    assert entrance.door.sockets_most == 20_000 - 64 - 1000
    assert {entrance.come(str(n)) for n in range(18_936)} == {None}
    assert entrance.come("one more") is Limit.SOCKETS


@pytest.mark.parametrize("limit", ["sockets_most", "sockets_unregistered"])
def test_of_a_full_gateway_the_oldest_that_never_registered_gives_its_place_after_its_time(
    limit: str,
) -> None:
    limits: dict[str, Any] = {limit: 2}
    entrance = Entrance(sockets_chance_s=10.0, **limits)
    old, later = entrance.wait("old", "later")
    entrance.s += 9.9
    assert entrance.come("x") is not None
    assert not old.gone
    entrance.s += 0.2
    (new,) = entrance.wait("new")
    assert (old.gone, later.gone) == (True, False)
    entrance.door.leave("old")  # its socket ends later, and its place is given once
    entrance.wait("newer")
    assert later.gone
    assert entrance.come("x") is not None
    assert not new.gone
    assert len(entrance.door) == 2


def test_who_registered_or_is_registering_gives_no_place() -> None:
    entrance = Entrance(sockets_most=3)
    ready, busy, idle = entrance.wait("ready", "busy", "idle")
    ready.registered = busy.busy = True
    entrance.s += 60
    entrance.wait("new")
    assert (ready.gone, busy.gone, idle.gone) == (False, False, True)
    assert entrance.come("x") is Limit.SOCKETS
    busy.busy = False
    entrance.s += 60
    entrance.wait("newer")
    assert busy.gone


def test_a_place_of_one_address_is_not_made_by_sending_somebody_away() -> None:
    entrance = Entrance(sockets_per_address=1)
    (old,) = entrance.wait("old")
    entrance.s += 60
    assert entrance.come("x") is Limit.ADDRESS
    assert not old.gone


def test_who_has_left_is_not_waited_for() -> None:
    entrance = Entrance(sockets_most=1)
    entrance.wait("a")
    entrance.door.leave("a")
    entrance.door.meet("a", Waiting())  # its conversation begins only now
    assert not entrance.door._waiting


@pytest.mark.parametrize("descriptors", [16, 256, 1024, 20_000, 1_048_576])
def test_node_sockets_leave_descriptors_for_the_api_and_the_store(descriptors: int) -> None:
    door = Entrance(descriptors).door
    assert 0 < door.sockets_most < door.connections_most < descriptors
    if descriptors >= 1024:
        assert door.connections_most - door.sockets_most >= 64


def test_connections_of_any_kind_are_bounded_by_descriptors() -> None:
    entrance = Entrance(descriptors=1000)
    assert entrance.come("a", connections=1000 - 64) is None
    assert entrance.come("b", connections=1000 - 63) is Limit.CONNECTIONS


def test_the_log_tells_once_a_minute_and_for_each_limit(caplog: pytest.LogCaptureFixture) -> None:
    entrance = Entrance(sockets_most=1)
    for _ in range(50):
        entrance.come("a")
    assert caplog.text.count("turned_away") == 1
    entrance.s += TELL_EVERY_S
    entrance.come("a")
    entrance.door.turned_away(Limit.CONNECTIONS)
    assert caplog.text.count("turned_away") == 3
