"""What the chart says of itself is drawn from what it has."""

from __future__ import annotations

import dataclasses

import pytest

from gateway.settings import GatewaySettings
from muster.agent.config import AgentConfig, variable_of
from registry.settings import variable_of as setting_of
from sweeper.settings import SweeperSettings
from tests.deploy import document


def test_the_table_of_values_and_the_names_of_settings_are_as_drawn() -> None:
    stale = [path.name for path, text in document.drawn().items() if path.read_text() != text]
    assert stale == [], "make docs"


def test_every_value_is_in_the_table_with_its_sentence_and_default() -> None:
    text = "# -- How many.\n# Not fewer.\nreplicas: 2\nouter:\n  inner: {a: b}\n"
    assert document.table(text).splitlines()[2:] == [
        "| `replicas` | `2` | How many. Not fewer. |",
        '| `outer.inner` | `{"a": "b"}` |  |',
    ]


@pytest.mark.parametrize("kind", ["sharedSetting", "gatewaySetting", "sweeperSetting"])
def test_no_secret_is_a_setting_that_would_stand_in_a_config_map(kind: str) -> None:
    classes = (GatewaySettings, SweeperSettings)
    secrets = {
        setting_of(field)
        for cls in classes
        for field in dataclasses.fields(cls)
        if field.metadata.get("secret")
    }
    assert "MUSTER_SECRET" in secrets
    assert secrets & set(document.settings()[kind]) == set()


def test_no_secret_is_an_agents_setting_that_would_stand_in_its_daemon_set() -> None:
    secrets = {
        variable_of(field.name)
        for field in dataclasses.fields(AgentConfig)
        if field.metadata.get("secret")
    }
    assert secrets
    assert secrets & set(document.settings()["agentSetting"]) == set()
