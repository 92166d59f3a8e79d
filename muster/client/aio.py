"""The client for asyncio. Every method is that of `sync.Client`, where it is described."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar, Unpack

import httpx
import msgspec
from httpx_sse import EventSource, SSEError

from muster.client import calls
from muster.client.answers import (
    BulkDone,
    Chosen,
    Diagnosis,
    Done,
    Explanation,
    Fleet,
    Me,
    Node,
    NodePage,
    NodeStory,
    Trial,
)
from muster.client.asking import Filter, Requirement, Sort, Wanted, Words
from muster.client.calls import PAGE_MOST, Action, Call
from muster.client.errors import MusterError, NotFoundError, UnexpectedAnswerError
from muster.client.following import About, Event, Following, Gap, Pages, Snapshot, nodes_of
from muster.client.holding import HOLD_MS, Held, could_not_give_back, held
from muster.client.sending import PATIENCE_S, TIMEOUT_S, client_arguments, request_arguments
from muster.client.servers import Servers
from muster.client.trying import Again, Answered, Tries, note

T = TypeVar("T")


class AsyncClient:
    """Asks gateways. Tasks of one event loop may share one."""

    def __init__(
        self,
        *servers: str,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._servers = Servers(servers)
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(**client_arguments(token, timeout_s, ssl_context))
        self._giving_back: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for holds that are just being given back, and closes its connections."""
        if self._giving_back:
            await asyncio.wait(self._giving_back)
        await self._http.aclose()

    # Giving work

    async def select(
        self,
        *,
        limit: int = 1,
        hold_ms: int = 0,
        request_id: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> tuple[Chosen, ...]:
        """Machines that can do it now."""
        id_ = request_id or calls.new_request_id()
        return (await self._ask(calls.select(wanted, limit, hold_ms, id_))).nodes

    @asynccontextmanager
    async def hold(
        self, *, hold_ms: int = HOLD_MS, request_id: str | None = None, **wanted: Unpack[Wanted]
    ) -> AsyncIterator[Held]:
        """Holds a place on one machine during an `async with` block."""
        id_ = request_id or calls.new_request_id()
        found = await self.select(hold_ms=hold_ms, request_id=id_, **wanted)
        place = held(found, id_, self._servers.current)
        try:
            yield place
        finally:
            if not place.kept:
                # Whoever is cancelled while they give back gives back nevertheless.
                giving = asyncio.create_task(self._give_back(place))
                self._giving_back.add(giving)
                giving.add_done_callback(self._giving_back.discard)
                await asyncio.shield(giving)

    async def release(self, hold_id: str) -> None:
        """Gives a held place back."""
        try:
            await self._ask(calls.release(hold_id))
        except NotFoundError as error:
            if error.code != "HOLD_NOT_FOUND":
                raise

    # Looking

    async def nodes(
        self, *, sort: Sort | None = None, limit: int | None = None, **which: Unpack[Filter]
    ) -> AsyncGenerator[Node, None]:
        """All nodes that meet everything given."""
        async with aclosing(self.pages(sort=sort, limit=limit, **which)) as pages:
            async for page in pages:
                for node in page.nodes:
                    yield node

    async def pages(
        self, *, sort: Sort | None = None, limit: int | None = None, **which: Unpack[Filter]
    ) -> AsyncGenerator[NodePage, None]:
        """The same in pages."""
        left, cursor = limit, None
        while left is None or left > 0:
            most = PAGE_MOST if left is None else min(left, PAGE_MOST)
            page = await self._ask(calls.nodes(which, sort, most, cursor))
            yield page
            left = None if left is None else left - len(page.nodes)
            cursor = page.cursor
            if cursor is None:
                return

    async def node(self, node_id: str) -> NodeStory:
        """One node with everything known of it."""
        return await self._ask(calls.node(node_id))

    async def try_selection(self, **wanted: Unpack[Wanted]) -> Trial:
        """Who would be selected, and why the others would not; holds nothing."""
        return await self._ask(calls.try_selection(wanted))

    async def explain(
        self, node_id: str, *, locale: str = "en", **wanted: Unpack[Requirement]
    ) -> Explanation:
        """Why a node is given no work."""
        return await self._ask(calls.explain(node_id, locale, wanted))

    async def fleet(self) -> Fleet:
        """The fleet in numbers."""
        return await self._ask(calls.fleet())

    async def me(self) -> Me:
        """Who the token is of, and what it may."""
        return await self._ask(calls.me())

    async def doctor(self) -> Diagnosis:
        """What is not well, as one gateway sees it, and what to do."""
        return await self._ask(calls.doctor())

    # Operating

    async def drain(self, node_id: str, reason: str, *, timeout_s: float | None = None) -> Done:
        """Gives a node no more work until it is resumed."""
        return await self._ask(calls.drain(node_id, reason, timeout_s))

    async def resume(self, node_id: str, reason: str) -> Done:
        """Ends an operator's drain."""
        return await self._ask(calls.resume(node_id, reason))

    async def remove(self, node_id: str, reason: str) -> None:
        """Takes a node off the roll."""
        await self._ask(calls.remove(node_id, reason))

    async def label(
        self, node_id: str, labels: Mapping[str, str | None], reason: str
    ) -> dict[str, str]:
        """Sets an operator's labels; all labels as they are now."""
        return (await self._ask(calls.label(node_id, labels, reason))).labels

    async def bulk(
        self,
        action: Action,
        reason: str,
        *,
        where: Filter | None = None,
        every: bool = False,
        dry_run: bool = False,
        timeout_s: float | None = None,
        labels: Mapping[str, str | None] | None = None,
    ) -> BulkDone:
        """Does the same to all nodes that meet everything in `where`."""
        return await self._ask(
            calls.bulk(
                action,
                where or {},
                reason,
                every=every,
                dry_run=dry_run,
                timeout_s=timeout_s,
                labels=labels,
            )
        )

    async def release_brake(self, reason: str) -> bool:
        """Lets go of the offline brake."""
        return (await self._ask(calls.release_brake(reason))).held

    # Watching

    async def events(
        self,
        *,
        after: str | None = None,
        since_ms: int | None = None,
        until_now: bool = False,
        types: Words = (),
        **about: Unpack[About],
    ) -> AsyncGenerator[Event | Gap, None]:
        """What happens from now on, or after the cursor `after`, or since an instant (0: all that
        is kept); with `until_now` only what had happened when it was asked."""
        stream = Following(about, types, after, since_ms, until_now=until_now)
        async with aclosing(self._events(stream, self._patience_s)) as events:
            async for change in events:
                yield change

    async def snapshot(self, **which: Unpack[Filter]) -> Snapshot:
        """All nodes that meet everything given, and where to watch from."""
        return await self._snapshot(which, self._patience_s)

    async def watch(self, **about: Unpack[About]) -> AsyncGenerator[Snapshot | Event | Gap, None]:
        """All nodes first, as a `Snapshot`; then all that happens, nothing left out."""
        patience_s = self._patience_s
        while True:
            snapshot = await self._snapshot(nodes_of(about), patience_s)
            patience_s = math.inf  # once it has begun
            yield snapshot
            stream = Following(about, (), snapshot.cursor)
            async with aclosing(self._events(stream, math.inf)) as events:
                async for change in events:
                    yield change
                    if isinstance(change, Gap):
                        break

    async def _events(
        self, stream: Following, patience_s: float
    ) -> AsyncGenerator[Event | Gap, None]:
        tries = Tries(stream.call, self._servers, patience_s)
        while True:
            try:
                request = self._request(stream.call, tries.server)
                async with aclosing(await self._http.send(request, stream=True)) as answer:
                    if answer.status_code == httpx.codes.OK:
                        if not stream.until_now:
                            tries.opened()
                        async with aclosing(EventSource(answer).aiter_sse()) as frames:
                            async for frame in frames:
                                tries.heard()
                                change = stream.read(frame)
                                if change is not None:
                                    yield change
                        if stream.up_to_date:
                            return
                        outcome: Again | Answered[None] = tries.ended(stream.pause_s)
                    else:
                        content = await answer.aread()
                        outcome = tries.answered(answer.status_code, answer.headers, content)
            except (SSEError, msgspec.DecodeError) as error:
                raise UnexpectedAnswerError(tries.server, 200, f"events ({error})") from None
            except httpx.TransportError as error:
                outcome = tries.failed(error, stream.pause_s)
            if isinstance(outcome, Answered):
                raise UnexpectedAnswerError(tries.server, 204, "events")
            note("the stream of events broke off", outcome)
            await asyncio.sleep(outcome.pause_s)

    async def _snapshot(self, which: Filter, patience_s: float) -> Snapshot:
        pages = Pages(which)
        while pages.call is not None:
            pages.add(await self._ask(pages.call, patience_s), self._servers.current)
        return pages.snapshot

    async def _give_back(self, place: Held) -> None:
        try:
            await self.release(place.id)
        except MusterError as error:
            could_not_give_back(place, error)

    async def _ask(self, call: Call[T], patience_s: float | None = None) -> T:
        tries = Tries(call, self._servers, self._patience_s if patience_s is None else patience_s)
        while True:
            try:
                answer = await self._http.send(self._request(call, tries.server))
                outcome = tries.answered(answer.status_code, answer.headers, answer.content)
            except httpx.TransportError as error:
                outcome = tries.failed(error)
            if isinstance(outcome, Answered):
                return outcome.value
            note(f"{call.method} {call.path} was not answered", outcome)
            await asyncio.sleep(outcome.pause_s)

    def _request(self, call: Call[Any], server: str) -> httpx.Request:
        return self._http.build_request(**request_arguments(call, server, self._http.timeout))
