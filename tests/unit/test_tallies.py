"""What nodes are counted under."""

from __future__ import annotations

import msgspec
import pytest

from bench.nodes import registration as registered
from registry.tallies import Tallies, Tally, names


def packed(**fields: object) -> bytes:
    return msgspec.msgpack.encode(fields)


def test_only_what_a_node_can_do_is_a_kind_or_a_language() -> None:
    found = names(("any", "asr:zh", "asr:en", "nmt:zh:en", "label:a=tts", "model:m1"), b"")
    assert found[0] == {"asr", "nmt"}
    assert found[1] == {"asr:zh", "asr:en", "nmt:zh:en"}


def test_a_registration_as_gateways_store_it_is_read() -> None:
    new = registered("node-A")
    found = names(new.capabilities, new.registration)
    assert list(map(set, found)) == [
        {"nmt"}, {"nmt:zh:en"}, {"RTX 3070"}, {"1.0.0"}, {"windows"},
    ]  # fmt: skip


def test_two_alike_cards_of_a_node_count_once() -> None:
    gpus = [{"name": "L4", "memory_gb": 24}, {"name": "L4"}, {"name": "T4"}]
    assert names((), packed(hardware={"gpus": gpus}))[2] == {"L4", "T4"}


@pytest.mark.parametrize(
    "registration",
    [b"", b"\x80", packed(hardware=None), packed(hardware={}), packed(hardware={"gpus": None})],
)
def test_what_a_registration_does_not_say_is_unknown(registration: bytes) -> None:
    assert list(map(set, names((), registration)[2:])) == [set(), {"unknown"}, {"unknown"}]


def test_offline_nodes_count_by_their_status_alone() -> None:
    tallies = Tallies()
    tallies.add("offline", False, names(("asr:zh",), packed(version="1")), 3)
    assert (tallies.examined, tallies.statuses["offline"], tallies.selectable) == (3, 3, 0)
    assert tallies.groups() == [{}, {}, {}, {}, {}]


def test_alike_nodes_count_as_often_as_there_are_and_the_most_frequent_comes_first() -> None:
    tallies = Tallies()
    tallies.add("degraded", False, names(("asr:zh",), packed(version="1")))
    tallies.add("ready", True, names(("tts:en", "asr:zh"), packed(version="2")), 5)
    kinds, _, _, versions, _ = tallies.groups()
    assert kinds == {"asr": Tally(6, 5), "tts": Tally(5, 5)}
    assert list(versions.items()) == [("2", Tally(5, 5)), ("1", Tally(1, 0))]
    assert (tallies.selectable, tallies.examined) == (5, 6)
