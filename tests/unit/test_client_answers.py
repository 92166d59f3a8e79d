"""The client's own shapes and errors keep up with the API's, and live on with others."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest

from gateway import examining, explaining
from gateway.api import answers as theirs
from gateway.api import frames, questions, recorded
from gateway.api.endpoint import Endpoint
from gateway.api.problems import CODES
from gateway.api.table import TABLE
from muster.client import AsyncClient, Client, NoAvailableNodeError, asking, errors, following
from muster.client import answers as ours
from registry import overview, tallies

PAIRS: list[tuple[type[msgspec.Struct], type[msgspec.Struct]]] = [
    (theirs.GpuShown, ours.Gpu),
    (theirs.OperatorShown, ours.Operator),
    (theirs.NodeRow, ours.Node),
    (theirs.NodeList, ours.NodePage),
    (theirs.VerdictShown, ours.Verdict),
    (theirs.HoldShown, ours.OpenHold),
    (theirs.NodeStory, ours.NodeStory),
    (theirs.HoldTaken, ours.Hold),
    (theirs.Chosen, ours.Chosen),
    (theirs.Selection, ours.Selection),
    (theirs.Near, ours.Near),
    (theirs.Trial, ours.Trial),
    (explaining.LackShown, ours.Lack),
    (explaining.Point, ours.Point),
    (explaining.Waiting, ours.Waiting),
    (explaining.Explanation, ours.Explanation),
    (tallies.Tally, ours.Tally),
    (overview.Watch, ours.Observation),
    (overview.MassExpiry, ours.MassExpiry),
    (overview.Braking, ours.Brake),
    (overview.Overview, ours.Fleet),
    (examining.Finding, ours.Finding),
    (examining.Diagnosis, ours.Diagnosis),
    (theirs.Me, ours.Me),
    (theirs.Done, ours.Done),
    (theirs.Released, ours.Released),
    (theirs.LabelledBy, ours.LabelledBy),
    (theirs.LabelsInForce, ours.Labels),
    (theirs.Failure, ours.Failure),
    (theirs.BulkDone, ours.BulkDone),
]
"""What a gateway says, and as what a client reads it."""


def names(type_: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(type_)}


@pytest.mark.parametrize(("said", "read"), PAIRS, ids=lambda type_: type_.__name__)
def test_everything_that_is_said_is_read_and_nothing_is_missed(
    said: type[msgspec.Struct], read: type[msgspec.Struct]
) -> None:
    assert names(read) == names(said)


def test_every_answer_of_the_table_is_read() -> None:
    said = {pair[0] for pair in PAIRS}
    assert {endpoint.answer for endpoint in TABLE if endpoint.answer is not None} <= said | {
        frames.EventShown
    }


@pytest.mark.parametrize(
    "endpoint", [e for e in TABLE if e.answer in dict(PAIRS)], ids=lambda e: e.name
)
def test_a_recorded_answer_is_understood_from_newer_and_older_gateways_too(
    endpoint: Endpoint,
) -> None:
    said, read = recorded.answer(endpoint.name), dict(PAIRS)[endpoint.answer]
    understood = msgspec.convert(said, read)
    assert msgspec.convert({**said, "a_later_field": {"x": 1}}, read) == understood
    needed = {f.encode_name for f in msgspec.structs.fields(read) if f.required}
    msgspec.convert({name: value for name, value in said.items() if name in needed}, read)


def test_every_problem_has_a_next_step_and_a_kind_of_its_own() -> None:
    for code in CODES.values():
        error = errors.problem(code.status, {"code": code.code, "title": "t"})
        assert error.code == code.code
        assert error.next_step
        assert code.code in errors.NEXT_STEPS
        assert type(error) is not errors.ProblemError
        assert error.next_step in str(error)


def test_a_problem_of_a_newer_gateway_is_taken_by_its_status() -> None:
    error = errors.problem(409, {"code": "SOMETHING_NEW", "title": "a new one"})
    assert isinstance(error, errors.ConflictError)
    assert (error.code, str(error).split(" [")[0]) == ("SOMETHING_NEW", "a new one")
    assert "/docs" in error.next_step


def test_a_miss_says_why_and_who_nearly_fits() -> None:
    lacks = [{"reason": "model_not_available", "wanted": "tts:ja", "has": []}]
    document = {
        "code": "NO_AVAILABLE_NODE",
        "title": "t",
        "reasons": {"model_not_available": 2},
        "nearest": [{"node_id": "n", "status": "ready", "lacks": lacks, "later": 1}],
    }
    error = errors.problem(404, document)
    assert isinstance(error, NoAvailableNodeError)
    assert error.reasons == {"model_not_available": 2}
    assert error.nearest[0].lacks[0].wanted == "tts:ja"
    bare = errors.problem(404, {"code": "NO_AVAILABLE_NODE", "title": "t"})
    assert isinstance(bare, NoAvailableNodeError)
    assert (bare.reasons, bare.nearest) == ({}, ())


def test_both_clients_can_do_the_same_in_the_same_words() -> None:
    def methods(client: type) -> dict[str, dict[str, Any]]:
        return {
            name: {
                p.name: (p.default, p.kind, str(p.annotation))
                for p in inspect.signature(method).parameters.values()
            }
            for name, method in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert methods(Client) == methods(AsyncClient)


def test_all_that_the_api_can_be_asked_for_can_be_asked_for_here() -> None:
    def fields(type_: type[msgspec.Struct]) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(type_)}

    more = {"limit", "hold_ms", "request_id"}
    assert set(asking.Wanted.__annotations__) | set(asking.Requirement.__annotations__) == (
        fields(questions.SelectBody) - more
    )
    assert asking.Filter.__required_keys__ == frozenset()
    assert asking.Filter.__optional_keys__ == fields(questions.FilterBody)
    assert asking.Ceilings.__optional_keys__ == fields(questions.CeilingsAsked)
    about = {"node_ids", "labels", "status", "types", "after"}
    asked = {"node_id", "label", "status", "types", "after", "since", "until"}
    assert asked == fields(questions.EventsQuery)
    assert following.About.__optional_keys__ | {"types", "after"} == about


def test_a_simulated_node_says_so() -> None:
    assert ours.Node(node_id="n", status="ready", labels={"simulated": "true"}).simulated
    assert not ours.Node(node_id="n", status="ready").simulated
