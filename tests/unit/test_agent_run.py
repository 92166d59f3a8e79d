"""An agent put together, as a program runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.agent import Agent, AgentConfig
from muster.agent.identity import IdentityFile, StateInUse
from muster.agent.simulated import simulated


async def test_a_state_directory_in_use_is_raised_as_such(tmp_path: Path) -> None:
    other = IdentityFile(tmp_path)
    other.lock()
    cards = "RTX 4090:24"
    config = AgentConfig(servers=("ws://127.0.0.1:9",), state_dir=tmp_path, simulate=cards)
    try:
        with pytest.raises(StateInUse):
            await Agent(config, simulated(cards)).run()
    finally:
        other.unlock()
