"""Leases of etcd kept alive over gRPC, told what to do on stdin. `leases.py PORT`

`open FROM COUNT` connects machines, each with a channel of its own, a lease of 45 s, a key that
goes with it, and a stream to keep it alive; `beat COUNT ROUNDS PER_S` keeps the first ones alive at
a steady pace and counts the answers; `end` ends. Each is answered with one line when done.

The four messages needed are a field or two each, so they are packed by hand (protobuf's varint and
length-delimited fields). Runs on the peers' own packages; imports nothing of this project.
"""

import asyncio
import sys
from typing import Any

import grpc.aio

TTL_S = 45
GROUP = 20
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
_GRANT = "/etcdserverpb.Lease/LeaseGrant"
_PUT = "/etcdserverpb.KV/Put"
_PLACE = b'{"registration":"' + b"x" * 600 + b'"}'


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: int | bytes) -> bytes:
    """One field: a varint, or length-delimited bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def integers(data: bytes) -> dict[int, int]:
    """The top-level varint fields of a message; others are skipped."""
    found: dict[int, int] = {}
    place = 0

    def read() -> int:
        nonlocal place
        number = shift = 0
        while True:
            byte = data[place]
            place += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    while place < len(data):
        tag = read()
        if tag & 7 == 0:
            found[tag >> 3] = read()
        elif tag & 7 == 2:
            size = read()
            place += size
        else:
            raise ValueError(f"unexpected wire type {tag & 7}")
    return found


class Machine:
    """One machine: a channel, a lease, a stream."""

    def __init__(self, number: int, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OWN_CONNECTION)
        self._name = f"/nodes/bench-{number:06d}".encode()
        self._request = b""
        self._stream: Any = None

    async def open(self) -> None:
        granted = await self._channel.unary_unary(_GRANT)(field(1, TTL_S))
        lease = integers(granted)[2]
        await self._channel.unary_unary(_PUT)(
            field(1, self._name) + field(2, _PLACE) + field(3, lease)
        )
        self._request = field(1, lease)
        self._stream = self._channel.stream_stream(_KEEP_ALIVE)()

    async def beat(self) -> None:
        await self._stream.write(self._request)
        answer = integers(await self._stream.read())
        if answer.get(3, 0) <= 0:
            raise RuntimeError("the lease is gone")


async def beat(machines: list[Machine], rounds: int, per_s: float) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    under_way: set[asyncio.Task[None]] = set()
    for _ in range(rounds):
        for low in range(0, len(machines), GROUP):
            group = machines[low : low + GROUP]
            under_way |= {asyncio.create_task(m.beat()) for m in group}
            due += len(group) / per_s
            await asyncio.sleep(max(0.0, due - loop.time()))
            for task in [t for t in under_way if t.done()]:
                under_way.discard(task)
                task.result()
        await asyncio.gather(*under_way)
        under_way.clear()


async def serve(port: int) -> None:
    machines: list[Machine] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        words = line.split()
        answer = "done"
        try:
            if words[0] == "open":
                first, count = int(words[1]), int(words[2])
                new = [Machine(n, port) for n in range(first, first + count)]
                for low in range(0, count, GROUP):
                    await asyncio.gather(*(m.open() for m in new[low : low + GROUP]))
                machines += new
            elif words[0] == "beat":
                await beat(machines[: int(words[1])], int(words[2]), float(words[3]))
            elif words[0] == "end":
                break
        except Exception as error:  # noqa: BLE001 - the other side decides
            answer = f"failed {error!r}"
        print(answer, flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
