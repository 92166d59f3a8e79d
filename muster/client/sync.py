"""The client for programs that wait: one call, one answer. `aio` has the same for asyncio."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
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


class Client:
    """Asks gateways. Threads may share one.

    With several `servers`, the next is asked when one can't be reached. One try may take
    `timeout_s`; where a call may be repeated without harm it is tried for `patience_s`. Whatever
    fails raises a `MusterError`.
    """

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
        self._http = httpx.Client(**client_arguments(token, timeout_s, ssl_context))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    # Giving work

    def select(
        self,
        *,
        limit: int = 1,
        hold_ms: int = 0,
        request_id: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> tuple[Chosen, ...]:
        """Machines that can do it now, the preferred and least loaded first; with `hold_ms` a place
        on each is kept. Raises NoAvailableNodeError if there is none.

        Asked again with the same `request_id`, the same answer comes; each call makes its own.
        """
        id_ = request_id or calls.new_request_id()
        return self._ask(calls.select(wanted, limit, hold_ms, id_)).nodes

    @contextmanager
    def hold(
        self, *, hold_ms: int = HOLD_MS, request_id: str | None = None, **wanted: Unpack[Wanted]
    ) -> Iterator[Held]:
        """Holds a place on one machine during a `with` block, for `hold_ms` at most. Leaving the
        block, however that happens, gives it back, unless the job has ended it or it was kept."""
        id_ = request_id or calls.new_request_id()
        found = self.select(hold_ms=hold_ms, request_id=id_, **wanted)
        place = held(found, id_, self._servers.current)
        try:
            yield place
        finally:
            if not place.kept:
                try:
                    self.release(place.id)
                except MusterError as error:
                    could_not_give_back(place, error)

    def release(self, hold_id: str) -> None:
        """Gives a held place back. That it has ended already is no error."""
        try:
            self._ask(calls.release(hold_id))
        except NotFoundError as error:
            if error.code != "HOLD_NOT_FOUND":
                raise

    # Looking

    def nodes(
        self, *, sort: Sort | None = None, limit: int | None = None, **which: Unpack[Filter]
    ) -> Generator[Node, None, None]:
        """All nodes that meet everything given, or the first `limit`; read page by page."""
        for page in self.pages(sort=sort, limit=limit, **which):
            yield from page.nodes

    def pages(
        self, *, sort: Sort | None = None, limit: int | None = None, **which: Unpack[Filter]
    ) -> Generator[NodePage, None, None]:
        """The same in pages; one may be short, or empty, though more follow."""
        left, cursor = limit, None
        while left is None or left > 0:
            most = PAGE_MOST if left is None else min(left, PAGE_MOST)
            page = self._ask(calls.nodes(which, sort, most, cursor))
            yield page
            left = None if left is None else left - len(page.nodes)
            cursor = page.cursor
            if cursor is None:
                return

    def node(self, node_id: str) -> NodeStory:
        """One node with everything known of it."""
        return self._ask(calls.node(node_id))

    def try_selection(self, **wanted: Unpack[Wanted]) -> Trial:
        """Who would be selected, and why the others would not; holds nothing."""
        return self._ask(calls.try_selection(wanted))

    def explain(
        self, node_id: str, *, locale: str = "en", **wanted: Unpack[Requirement]
    ) -> Explanation:
        """Why a node is given no work, and (with a requirement) whether and why not this work.
        Texts are in `locale`: `en` or `zh`."""
        return self._ask(calls.explain(node_id, locale, wanted))

    def fleet(self) -> Fleet:
        """The fleet in numbers."""
        return self._ask(calls.fleet())

    def me(self) -> Me:
        """Who the token is of, and what it may."""
        return self._ask(calls.me())

    def doctor(self) -> Diagnosis:
        """What is not well, as one gateway sees it, and what to do."""
        return self._ask(calls.doctor())

    # Operating: `reason` is kept and shown with who and when

    def drain(self, node_id: str, reason: str, *, timeout_s: float | None = None) -> Done:
        """Gives a node no more work until it is resumed; its jobs may go on for `timeout_s`."""
        return self._ask(calls.drain(node_id, reason, timeout_s))

    def resume(self, node_id: str, reason: str) -> Done:
        """Ends an operator's drain."""
        return self._ask(calls.resume(node_id, reason))

    def remove(self, node_id: str, reason: str) -> None:
        """Takes a node off the roll, whatever it runs."""
        self._ask(calls.remove(node_id, reason))

    def label(self, node_id: str, labels: Mapping[str, str | None], reason: str) -> dict[str, str]:
        """Sets an operator's labels, None takes one away; all labels as they are now."""
        return self._ask(calls.label(node_id, labels, reason)).labels

    def bulk(
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
        """Does the same to all nodes that meet everything in `where`; to all there are only if
        `every`. `timeout_s` is a drain's, `labels` what the action `label` sets."""
        return self._ask(
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

    def release_brake(self, reason: str) -> bool:
        """Lets go of the offline brake: whoever is silent is called offline at once. False if it
        did not hold."""
        return self._ask(calls.release_brake(reason)).held

    # Watching

    def events(
        self,
        *,
        after: str | None = None,
        since_ms: int | None = None,
        until_now: bool = False,
        types: Words = (),
        **about: Unpack[About],
    ) -> Generator[Event | Gap, None, None]:
        """What happens from now on, or what comes after the cursor `after`, or what happened at an
        instant of the fleet's clock or later, as far as it is kept (0: all). Goes on through
        whatever happens to gateways and connections; a `Gap` tells where events are missing. With
        `until_now` it ends once all was told that had happened when it was asked."""
        stream = Following(about, types, after, since_ms, until_now=until_now)
        yield from self._events(stream, self._patience_s)

    def snapshot(self, **which: Unpack[Filter]) -> Snapshot:
        """All nodes that meet everything given, and the cursor after which `events` tells what
        happened since."""
        return self._snapshot(which, self._patience_s)

    def watch(self, **about: Unpack[About]) -> Generator[Snapshot | Event | Gap, None, None]:
        """All nodes first, as a `Snapshot`; then all that happens, nothing left out. After a `Gap`
        there is a `Snapshot` again. Ends only if a gateway refuses."""
        patience_s = self._patience_s
        while True:
            snapshot = self._snapshot(nodes_of(about), patience_s)
            patience_s = math.inf  # once it has begun
            yield snapshot
            stream = Following(about, (), snapshot.cursor)
            with closing(self._events(stream, math.inf)) as events:
                for change in events:
                    yield change
                    if isinstance(change, Gap):
                        break

    def _events(self, stream: Following, patience_s: float) -> Generator[Event | Gap, None, None]:
        tries = Tries(stream.call, self._servers, patience_s)
        while True:
            try:
                request = self._request(stream.call, tries.server)
                with closing(self._http.send(request, stream=True)) as answer:
                    if answer.status_code == httpx.codes.OK:
                        if not stream.until_now:
                            tries.opened()
                        for frame in EventSource(answer).iter_sse():
                            tries.heard()
                            change = stream.read(frame)
                            if change is not None:
                                yield change
                        if stream.up_to_date:
                            return
                        outcome: Again | Answered[None] = tries.ended(stream.pause_s)
                    else:
                        outcome = tries.answered(answer.status_code, answer.headers, answer.read())
            except (SSEError, msgspec.DecodeError) as error:
                raise UnexpectedAnswerError(tries.server, 200, f"events ({error})") from None
            except httpx.TransportError as error:
                outcome = tries.failed(error, stream.pause_s)
            if isinstance(outcome, Answered):
                raise UnexpectedAnswerError(tries.server, 204, "events")
            note("the stream of events broke off", outcome)
            time.sleep(outcome.pause_s)

    def _snapshot(self, which: Filter, patience_s: float) -> Snapshot:
        pages = Pages(which)
        while pages.call is not None:
            pages.add(self._ask(pages.call, patience_s), self._servers.current)
        return pages.snapshot

    def _ask(self, call: Call[T], patience_s: float | None = None) -> T:
        tries = Tries(call, self._servers, self._patience_s if patience_s is None else patience_s)
        while True:
            try:
                answer = self._http.send(self._request(call, tries.server))
                outcome = tries.answered(answer.status_code, answer.headers, answer.content)
            except httpx.TransportError as error:
                outcome = tries.failed(error)
            if isinstance(outcome, Answered):
                return outcome.value
            note(f"{call.method} {call.path} was not answered", outcome)
            time.sleep(outcome.pause_s)

    def _request(self, call: Call[Any], server: str) -> httpx.Request:
        return self._http.build_request(**request_arguments(call, server, self._http.timeout))
