"""Every gateway dies at once, and all nodes come back at once: nobody is punished for it."""

from __future__ import annotations

from pathlib import Path

from bench.scale.machine import system
from tests.attack.storm import said, storm

NODES = 2000


async def test_a_whole_fleet_comes_back_at_once_within_the_limits_that_everybody_has(
    tmp_path: Path,
) -> None:
    with system(tmp_path, gateways=2, sweepers=2) as made:
        found = await storm(made, NODES)
    assert found["unharmed"], found
    assert found["resumed"] == NODES, found
    told = said({"when": "today"}, found)
    assert ("kept: 2000 nodes" if found["kept"] else "BROKEN: ") in told
    assert "BROKEN: see back_s" in said({}, found | {"kept": False})
    # How long it took says more of the machine: `make storm` judges that.
    assert {"RATE_LIMITED", "NODE_ID_CONFLICT"}.isdisjoint(found["happened"]), found
