"""A reader of events that does what docs/events.md tells readers to do, and can be cut anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

_PAUSE_S = 0.02
_NEVER = httpx.Timeout(5.0, read=None)


@dataclass(frozen=True)
class Frame:
    """One block of a stream: an event with its data, or a remark with neither."""

    id: str | None = None
    event: str = ""
    data: str = ""
    comment: str = ""
    retry: str = ""


class Frames:
    """Bytes in, whole frames out; what is not whole yet waits."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        return [_frame(block.decode()) for block in whole]


def _frame(block: str) -> Frame:
    fields: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields[name or "comment"] = value.removeprefix(" ")
    return Frame(**fields)


class Reader:
    """Reads from one of some gateways, and from the next when a stream ends.

    `told` is every event in the order it came, `gaps` every gap and `ends` every reason for an
    end; `cursor` is the last id. `bites` gives for each connection after how many bytes this
    reader breaks it off."""

    def __init__(
        self,
        servers: Callable[[], Sequence[str]],
        query: str = "",
        *,
        after: str | None = None,
        headers: Mapping[str, str] | None = None,
        bites: Iterator[int] | None = None,
    ) -> None:
        self.cursor = after
        self.told: list[dict[str, Any]] = []
        self.gaps: list[dict[str, Any]] = []
        self.ends: list[dict[str, Any]] = []
        self.comments = 0
        self.connections = 0
        self.refused: list[int] = []
        self.frames: list[Frame] = []
        self._told_before_gap = 0
        self._servers = servers
        self._query = f"?{query}" if query else ""
        self._headers = dict(headers or {})
        self._bites = bites
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins to read; returns once it is known from where on."""
        self._task = asyncio.create_task(self._read())
        async with asyncio.timeout(60):
            while self.cursor is None or not self.connections:
                if self._task.done():
                    self._task.result()
                await asyncio.sleep(_PAUSE_S)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def since_gap(self) -> list[dict[str, Any]]:
        """What it was told since the last gap."""
        return self.told[self._told_before_gap :]

    def of(self, node_id: str) -> list[dict[str, Any]]:
        """What happened to one node, as this reader was told."""
        return [event for event in self.told if event.get("node_id") == node_id]

    async def until(
        self, true: Callable[[Reader], object], what: str, timeout_s: float = 20.0
    ) -> None:
        """Waits for something that this reader is to be told."""
        try:
            async with asyncio.timeout(timeout_s):
                while not true(self):
                    assert self._task is not None
                    if self._task.done():
                        self._task.result()
                    await asyncio.sleep(_PAUSE_S)
        except TimeoutError:
            raise AssertionError(f"not within {timeout_s} s: {what}; {self}") from None

    def __repr__(self) -> str:
        return (
            f"<Reader told {len(self.told)} events, {len(self.gaps)} gaps, {len(self.ends)} ends, "
            f"in {self.connections} connections, last {self.told[-1:]}>"
        )

    async def _read(self) -> None:
        turn = 0
        async with httpx.AsyncClient(trust_env=False, timeout=_NEVER) as client:
            while True:
                servers = self._servers()
                turn += 1
                with contextlib.suppress(httpx.TransportError):
                    if servers:
                        await self._stream(client, servers[turn % len(servers)])
                await asyncio.sleep(_PAUSE_S)

    async def _stream(self, client: httpx.AsyncClient, server: str) -> None:
        headers = dict(self._headers)
        if self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
        left = next(self._bites) if self._bites else None
        frames = Frames()
        url = f"{server}/v1/events{self._query}"
        async with client.stream("GET", url, headers=headers) as response:
            if response.status_code != 200:
                self.refused.append(response.status_code)
                return
            self.connections += 1
            async for data in response.aiter_raw():
                bitten = data if left is None else data[:left]
                for frame in frames.feed(bitten):
                    self._take(frame)
                if self._had_enough():
                    return
                if left is not None:
                    left -= len(bitten)
                    if left <= 0:
                        return

    def _had_enough(self) -> bool:
        """Whether to break off, though the stream goes on."""
        return False

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.comments += bool(frame.comment)
        if frame.id is not None:
            self.cursor = frame.id
        if not frame.data:
            return
        found = json.loads(frame.data)
        assert found["type"] == frame.event
        {"gap": self.gaps, "end": self.ends}.get(frame.event, self.told).append(found)
        if frame.event == "gap":
            self._told_before_gap = len(self.told)


class Keeper(Reader):
    """A reader that keeps the roll of the fleet: it lists the nodes, watches from there on, and
    lists them anew after a gap. `roll` has each node's status, and the version that says so."""

    def __init__(self, servers: Callable[[], Sequence[str]], query: str = "", **more: Any) -> None:
        super().__init__(servers, query, **more)
        self.roll: dict[str, tuple[int, str]] = {}
        self.lists = 0

    async def _stream(self, client: httpx.AsyncClient, server: str) -> None:
        if len(self.gaps) >= self.lists:
            await self._list(client, server)
        await super()._stream(client, server)

    def _had_enough(self) -> bool:
        return len(self.gaps) >= self.lists

    async def _list(self, client: httpx.AsyncClient, server: str) -> None:
        roll: dict[str, tuple[int, str]] = {}
        cursor, watch_from = "", ""
        while True:
            page = await client.get(f"{server}/v1/nodes?snapshot=1&limit=7{cursor}")
            if page.status_code != 200:
                self.refused.append(page.status_code)
                return
            listed = page.json()
            watch_from = watch_from or listed["events_cursor"]
            roll |= {row["node_id"]: (row["version"], row["status"]) for row in listed["nodes"]}
            if listed["cursor"] is None:
                break
            cursor = f"&cursor={listed['cursor']}"
        self.roll, self.cursor = roll, watch_from
        self.lists += 1

    def _take(self, frame: Frame) -> None:
        super()._take(frame)
        if frame.data and frame.event not in ("gap", "end"):
            self._apply(json.loads(frame.data))

    def _apply(self, event: dict[str, Any]) -> None:
        node_id = event.get("node_id", "")
        if event["type"] in ("expired", "operator_remove") or event.get("reason") == "removed":
            self.roll.pop(node_id, None)
        elif event.get("version", 0) > self.roll.get(node_id, (0, ""))[0]:
            self.roll[node_id] = (event["version"], event["to"])
