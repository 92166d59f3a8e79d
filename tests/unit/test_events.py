"""What an event says, who wants it, and how it is shown."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.api.frames import frame, shown
from gateway.ring import Entry
from registry.cursor import BEGINNING, Cursor
from registry.events import MEANINGS, Event, EventType, Interest
from registry.requirement import LabelTest
from registry.tailing import Loss

PLACE = Cursor("3fa94c1d", BEGINNING)


def event(**fields: str) -> Event:
    return Event(0, (1, 0), {"type": "transition", "id": "node-A", "at": "1", **fields})


IS_X = LabelTest("owner", "in", ("x",))
NOT_LAB = LabelTest("pool", "not", ("lab",))


@pytest.mark.parametrize(
    ("interest", "fields", "taken"),
    [
        (Interest(), {}, True),
        (Interest(types=frozenset({"register", "transition"})), {}, True),
        (Interest(types=frozenset({"register"})), {}, False),
        (Interest(node_ids=frozenset({"node-A", "node-B"})), {}, True),
        (Interest(node_ids=frozenset({"node-B"})), {}, False),
        (Interest(statuses=frozenset({"ready"})), {"from": "ready", "to": "degraded"}, True),
        (Interest(statuses=frozenset({"ready"})), {"from": "degraded", "to": "ready"}, True),
        (Interest(statuses=frozenset({"ready"})), {"from": "draining", "to": "offline"}, False),
        (Interest(statuses=frozenset({"ready"})), {}, False),
        (Interest(labels=(IS_X,)), {"lab": "owner=x"}, True),
        (Interest(labels=(IS_X,)), {"lab": "owner=y\nrack=b4"}, False),
        (Interest(labels=(IS_X,)), {}, False),
        (Interest(labels=(IS_X,)), {"lab": "owner=y", "was": "owner=x"}, True),
        (Interest(labels=(IS_X,)), {"was": "owner=x"}, True),
        (Interest(labels=(IS_X,)), {"lab": "owner=x", "was": ""}, True),
        (Interest(labels=(NOT_LAB,)), {}, True),
        (Interest(labels=(NOT_LAB,)), {"lab": "pool=lab"}, False),
        (Interest(labels=(NOT_LAB,)), {"lab": "pool=lab", "was": ""}, True),
        (Interest(labels=(IS_X, NOT_LAB)), {"lab": "owner=x\npool=lab"}, False),
        (
            Interest(labels=(IS_X, NOT_LAB)),
            {"lab": "owner=x\npool=lab", "was": "owner=y"},
            False,
        ),
        (Interest(labels=(NOT_LAB,)), {"id": ""}, False),
        (Interest(node_ids=frozenset({"node-A"})), {"id": ""}, False),
        (
            Interest(labels=(IS_X,), everybodys=frozenset({"unobserved"})),
            {"id": "", "type": "unobserved"},
            True,
        ),
        (
            Interest(labels=(IS_X,), everybodys=frozenset({"unobserved"})),
            {"id": "", "type": "mass_expiry"},
            False,
        ),
        (Interest(labels=(IS_X,), everybodys=frozenset({"transition"})), {"lab": "owner=y"}, False),
    ],
)
def test_an_event_is_taken_by_who_wants_it(
    interest: Interest, fields: dict[str, str], taken: bool
) -> None:
    assert interest.takes(event(**fields)) is taken


def test_labels_may_hold_anything() -> None:
    found = event(lab="a%3Db=c%0Ad\nempty=")
    assert found.labels == {"a=b": "c\nd", "empty": ""}


def plain(made: Any) -> Any:
    return json.loads(msgspec.json.encode(made))


def test_what_does_not_apply_is_left_out() -> None:
    assert plain(shown(event(**{"from": "", "to": "registering"}), for_admin=True)) == {
        "type": "transition", "at": 1, "node_id": "node-A", "to": "registering",
    }  # fmt: skip
    fleet = Event(0, (1, 0), {"type": "mass_expiry", "at": "1", "detail": '{"lost": 5}'})
    assert plain(shown(fleet, for_admin=False)) == {
        "type": "mass_expiry", "at": 1, "detail": {"lost": 5},
    }  # fmt: skip


def test_addresses_and_boots_are_for_admins() -> None:
    detail = json.dumps({"holder_address": "192.0.2.1", "boot_id": "b", "more": 1})
    found = event(address="192.0.2.7", boot_id="boot", detail=detail)
    assert plain(shown(found, for_admin=True))["detail"] == json.loads(detail)
    assert plain(shown(found, for_admin=True))["address"] == "192.0.2.7"
    for_readers = plain(shown(found, for_admin=False))
    assert for_readers["detail"] == {"more": 1}
    assert not {"address", "boot_id"} & set(for_readers)


def test_a_frame_is_one_line_of_data_whatever_the_event_says() -> None:
    said = frame(Entry(PLACE, event(why="one\ntwo\r\nthree\u2028")), for_admin=True).decode()
    assert said.count("\n") == 4
    assert said.startswith(f"id: {PLACE}\nevent: transition\ndata: {{")
    assert "\r" not in said


def test_a_loss_is_a_frame_of_its_own_with_the_place_to_go_on_from() -> None:
    said = frame(Entry(PLACE, loss=Loss.TOO_OLD), for_admin=False).decode()
    head, _, data = said.partition("data: ")
    assert head == f"id: {PLACE}\nevent: gap\n"
    assert json.loads(data) == {"type": "gap", "reason": "too_old", "cursor": str(PLACE)}


def test_evidence_that_cannot_be_read_is_left_out() -> None:
    assert "evidence" not in plain(shown(event(evidence="{"), for_admin=True))


def test_every_kind_of_event_has_a_meaning() -> None:
    assert set(MEANINGS) == set(EventType)
