"""What an agent hears, as its owner is told."""

from __future__ import annotations

import io
from typing import Any

import pytest

from muster.agent.conversation import Registered, StatusTold
from muster.agent.lines import Form, Lines
from muster.agent.models import ModelProblem, ModelScan
from muster.agent.status import AgentStatus, GpuRow
from muster.agent.telling import Telling


class Told:
    """A telling, the status it writes, and the events it told."""

    def __init__(self) -> None:
        self.status = AgentStatus()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.status.listen(lambda action, values: self.events.append((action, dict(values))))
        self.telling = Telling(self.status, None, None, None)

    def registered(self, status: str, *, resumed: bool, node_id: str = "node-A") -> None:
        self.telling.connected("wss://x")
        self.telling.registered(Registered(node_id, None, status, resumed, 1, ()))

    def changed(self, status: str, reason: str) -> None:
        self.telling.status(StatusTold(status, None, reason, "in the server's words", 5))

    def message(self) -> str:
        advice = self.status.advice("en")
        assert advice is not None
        return str(advice)


@pytest.mark.parametrize(
    ("status", "reason"), [("ready", "healthy"), ("degraded", "gpu_unavailable")]
)
def test_a_resumed_node_is_what_it_was_for_the_reason_it_was_told(status: str, reason: str) -> None:
    told = Told()
    told.registered("registering", resumed=False)
    told.changed(status, reason)
    before = told.message()
    told.telling.disconnected()
    told.registered(status, resumed=True)
    assert (told.status.reason, told.status.since_ms) == (reason, 5)
    assert told.message() == before
    assert "upgrade" not in before


@pytest.mark.parametrize("status", ["ready", "degraded", "registering", "draining"])
def test_a_node_resumed_by_a_new_process_is_told_its_status_alone(status: str) -> None:
    told = Told()
    told.registered(status, resumed=True)
    assert told.status.reason is None
    assert told.message() == status


def test_the_reason_of_another_status_is_not_kept() -> None:
    told = Told()
    told.registered("registering", resumed=False)
    told.changed("degraded", "gpu_unavailable")
    told.registered("ready", resumed=True)
    assert told.message() == "ready"


@pytest.mark.parametrize("form", ["text", "json"])
def test_each_problem_of_the_models_is_named_in_the_lines(form: Form) -> None:
    told, stream = Told(), io.StringIO()
    lines = Lines(stream, "en", form)
    told.status.listen(lines)
    told.telling.models(ModelScan(problems=(ModelProblem("a.json", "kind", "string", "number"),)))
    lines.close()
    (line,) = [line for line in stream.getvalue().splitlines() if "models_changed" in line]
    assert "a.json: kind: expected string, got number" in line
    assert "warning" in line


def test_of_two_slices_of_one_card_only_the_ill_one_is_told() -> None:
    told = Told()
    well = GpuRow(index=0, name="A100 MIG", memory_gb=5.0, uuid="MIG-1")
    ill = GpuRow(0, "A100 MIG", 5.0, uuid="MIG-2", healthy=False, reason="xid_79")
    for _ in range(2):
        told.telling.gpus((ill, well))
    changes = [values for action, values in told.events if action == "gpu_changed"]
    assert [values["reason"] for values in changes] == ["xid_79"]


def test_cards_without_a_uuid_are_told_apart_by_their_index() -> None:
    told = Told()
    for reason in ("gpu_lost", None):
        rows = tuple(
            GpuRow(at, "RX 7900", 24.0, healthy=reason is None, reason=reason) for at in (0, 1)
        )
        told.telling.gpus(rows)
    changes = [values["index"] for action, values in told.events if action == "gpu_changed"]
    assert changes == [0, 1, 0, 1]
