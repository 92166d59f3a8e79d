"""Gateways look for circles seldom, and yet closed sockets do not pile up."""

from __future__ import annotations

import subprocess
import sys

FLEETS, SOCKETS, OBJECTS = 24, 2000, 170
MOST = 16_000
PROGRAM = f"""
import weakref
from gateway.server import _collect_seldom

class Socket:
    def __init__(self):
        self.circle = [[self] for _ in range({OBJECTS})]

_collect_seldom()
alive, most, fleet = weakref.WeakSet(), 0, []
for _ in range({FLEETS}):
    fleet = [Socket() for _ in range({SOCKETS})]  # the former ones have lived, and are closed
    alive.update(fleet)
    most = max(most, len(alive))
print(most)
"""


def test_of_a_fleet_that_comes_back_again_and_again_few_closed_sockets_stay_in_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SOCKETS < int(done.stdout) <= MOST < FLEETS * SOCKETS
