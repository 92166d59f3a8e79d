"""The node side: what a machine's owner installs, and a library for inference programs.

`Agent`, its `NodeSession` and what they need are reached from here; each is imported when first
asked for, so that a part that needs no socket does not load one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muster.agent.agent import Agent as Agent
    from muster.agent.agent import find_hardware as find_hardware
    from muster.agent.config import AgentConfig as AgentConfig
    from muster.agent.hardware import NoGpuError as NoGpuError
    from muster.agent.inventory import Inventory as Inventory
    from muster.agent.session import ExitReason as ExitReason
    from muster.agent.session import NodeSession as NodeSession
    from muster.agent.status import AgentStatus as AgentStatus

_HOMES = {
    "Agent": "muster.agent.agent",
    "AgentConfig": "muster.agent.config",
    "AgentStatus": "muster.agent.status",
    "ExitReason": "muster.agent.session",
    "Inventory": "muster.agent.inventory",
    "NoGpuError": "muster.agent.hardware",
    "NodeSession": "muster.agent.session",
    "find_hardware": "muster.agent.agent",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
