"""Which sweeper takes which partition: rendezvous hashing, so that few move when one comes."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Sequence

from registry.keys import PARTITIONS


def share(sweepers: Sequence[str], me: str) -> list[int]:
    """The partitions that fall to `me` among the living `sweepers` (all, if none is known)."""
    living = set(sweepers) | {me}
    return [
        p
        for p in range(PARTITIONS)
        if max(living, key=lambda s: (crc32(f"{p}/{s}".encode()), s)) == me
    ]
