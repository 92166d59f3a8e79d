"""Which sweeper takes which partition: rendezvous hashing, so that few move when one comes.

The hash must mix well: checksums of names that differ in a few letters differ by a constant, and
some sweepers would get next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from registry.keys import PARTITIONS


def share(sweepers: Sequence[str], me: str) -> list[int]:
    """The partitions that fall to `me` among the living `sweepers` (all, if none is known)."""
    living = set(sweepers) | {me}
    return [
        p for p in range(PARTITIONS) if max(living, key=lambda name: (_weight(p, name), name)) == me
    ]


def _weight(partition: int, name: str) -> bytes:
    return blake2b(f"{partition}/{name}".encode(), digest_size=8).digest()
