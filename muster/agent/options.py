"""What a setting is called by its owner: an option of `muster agent run`, a variable, or both."""

from __future__ import annotations

import dataclasses

from muster.agent.config import AgentConfig, variable_of

_OTHERWISE = {
    "servers": "--server",
    "labels": "--label",
    "join_token": "--join-token-file",
    "drain_timeout_s": "--drain-timeout",
}


def as_given(name: str) -> str:
    """A field of `AgentConfig` as it is typed; any other name is its own."""
    if name not in {field.name for field in dataclasses.fields(AgentConfig)}:
        return name
    variable = variable_of(name)
    if name.endswith("_s") and name not in _OTHERWISE:
        return variable
    option = _OTHERWISE.get(name, "--" + name.replace("_", "-"))
    return f"{option} ({variable})"
