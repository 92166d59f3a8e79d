"""`python -m tests.soak.leaking`: a gateway with a leak put in on purpose, that a soak must find.

Each beat of a clock keeps a piece of memory and a descriptor, as a list that is never emptied does.
The secret it was given stands in its log.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from gateway.__main__ import main

_EVERY_S = 0.1
_BYTES = 64 * 1024
_kept: list[tuple[bytearray, int]] = []


def _leak() -> None:
    while True:
        time.sleep(_EVERY_S)
        _kept.append((bytearray(os.urandom(_BYTES)), os.open(os.devnull, os.O_RDONLY)))


if __name__ == "__main__":
    sys.stderr.write(f"{os.environ.get('MUSTER_SECRET')}\n")
    threading.Thread(target=_leak, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
