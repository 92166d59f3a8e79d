"""Bytes made of other bytes: small changes, and words that such input is made of."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

WORDS: tuple[bytes, ...] = (
    *(b"null", b"true", b"{}", b"[]", b'""', b"0", b"-1", b"1e400", b"NaN", b"\\ud800", b"\\u0000"),
    *(b"9" * 40, b"[" * 200, b'{"a":' * 50, b"\xff", b"\x00", b"\n", b"%00", b"%ff", b"&", b"="),
    *(b"node_register", b"node_heartbeat", b"job_result", b"hardware", b"gpus", b"labels", b","),
    *(b"{T}", b"\x80", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xc7\x05", b"\xed\xa0\x80"),
    *(b"\xd6\xff\x00\x00\x00\x00", b"\xd4\x01\x00"),
)


def mutated(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Something like `data`, with one to four changes."""
    for _ in range(random.randint(1, 4)):
        data = _once(data, others, random)
    return data[:100_000]


def _once(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    at = random.randint(0, len(data))
    to = min(len(data), at + random.choice((0, 1, 1, 2, 8, 64)))
    way = random.randrange(6)
    if way == 0:
        return data[:at] + data[to:]
    if way == 1:
        return data[:at] + bytes([random.randrange(256)]) + data[to:]
    if way == 2:
        return data[:at] + random.choice(WORDS) + data[to:]
    if way == 3 and others:
        other = random.choice(others)
        begin = random.randint(0, len(other))
        return data[:at] + other[begin : begin + random.choice((4, 32, 1000))] + data[to:]
    if way == 4:
        return data[:to] + data[at:]
    if at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    return data
