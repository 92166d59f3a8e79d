"""Two readers of what happens: one by a gateway's stream of events, one in the store itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from registry.keys import PARTITIONS, Keys
from tests.soak.fleet import LABEL, VISITOR, may_fall_silent
from tests.support.watcher import Frame, Reader

Mark = tuple[str, str, int]
"""Kind, node and version: what an event is known by."""


class Watcher(Reader):
    """Reads as docs/events.md says, from one gateway after the other; keeps marks alone."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(lambda: [f"http://127.0.0.1:{port}" for port in ports])
        self.marks: Counter[Mark] = Counter()
        self.falsely_offline: list[str] = []
        self.out_of_order = 0
        self.visits_are_over = False
        self._versions: dict[str, int] = {}

    def _take(self, frame: Frame) -> None:
        if frame.id is not None:
            self.cursor = frame.id
        if not frame.data:
            return
        found: dict[str, Any] = json.loads(frame.data)
        if frame.event in ("gap", "end"):
            {"gap": self.gaps, "end": self.ends}[frame.event].append(found)
            return
        node_id, version = found.get("node_id", ""), found.get("version", 0)
        self.marks[found["type"], node_id, version] += 1
        if version < self._versions.get(node_id, 0):
            self.out_of_order += 1
        self._versions[node_id] = version
        if found.get("to") == "offline":
            labels = found.get("labels", {})
            left = self.visits_are_over and labels.get(LABEL) == VISITOR
            if not left and not may_fall_silent(labels):
                self.falsely_offline.append(f"{node_id}: {found.get('reason')}")


class StoreReader:
    """Reads every stream of events in the store, twice a second."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url, protocol=2, decode_responses=True)
        self._places = {Keys().events(p): "0-0" for p in range(PARTITIONS)}
        self.marks: Counter[Mark] = Counter()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # While it is stalled, what happens waits there to be read.
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await self.read()
            await asyncio.sleep(0.5)

    async def read(self) -> None:
        """Everything that was not read yet."""
        while found := await self._behind():
            for key, entries in found:
                for place, fields in entries:
                    version = int(fields.get("version") or 0)
                    self.marks[fields["type"], fields.get("id", ""), version] += 1
                    self._places[key] = place

    async def _behind(self) -> list[tuple[str, list[tuple[str, dict[str, str]]]]]:
        streams: dict[Any, Any] = dict(self._places)
        found: Any = await self._client.xread(streams, count=1000)
        return list(found)

    async def kept(self) -> tuple[int, int, int]:
        """Bytes used, keys, and events kept in all streams."""
        pipe = self._client.pipeline(transaction=False)
        for key in self._places:
            pipe.xlen(key)
        pipe.dbsize()
        pipe.info("memory")
        *lengths, keys, memory = await pipe.execute()
        return int(memory["used_memory"]), int(keys), sum(map(int, lengths))

    async def clients(self) -> int:
        """Connections that it has, this one included: a pool opens one more when more is asked at
        once, and keeps it."""
        return int((await self._client.info("clients"))["connected_clients"])

    async def close(self) -> None:
        await self._client.aclose()
