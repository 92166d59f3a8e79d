"""Requests that are answered once, however often they are asked.

Who asks first works on it; who asks meanwhile waits for the answer; who asks after a crash goes on
from the plan that the former asker noted before each step. An asker that was overtaken (its lease
ended while it stood still) finds that its answer is not taken any more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from registry.base import Base, ms, text
from registry.errors import StoreUnavailable

LEASE_S = 5.0
_PAUSE_S = 0.03


class RequestReused(Exception):  # noqa: N818 (named for what it says)
    """Another request, one that asks for something else, had this `request_id`."""


@dataclass(frozen=True, slots=True)
class Work:
    """One asker's right to work on a request; `plan` is what a former one had noted, or ''."""

    token: str
    plan: str


class Once(Base):
    """Answers to requests, kept for a while."""

    async def answer_once(
        self,
        request_id: str,
        fingerprint: str,
        keep_ms: int,
        work: Callable[[Work], Awaitable[str]],
    ) -> str:
        """The answer to a request: the one given before, or what `work` makes of it; '' from
        `work` is no answer and is not kept.

        Raises RequestReused, or StoreUnavailable if another asker does not come to an end."""
        token = secrets.token_hex(8)
        deadline = self.clock.monotonic() + 2 * LEASE_S
        while self.clock.monotonic() < deadline:
            reply = await self.store.call(
                "begin",
                [self.keys.request(request_id)],
                [token, fingerprint, ms(LEASE_S), keep_ms],
            )
            state = text(reply[0])
            if state == "other":
                raise RequestReused(request_id)
            if state == "answer":
                return text(reply[1])
            if state == "yours":
                answer = await work(Work(token, text(reply[1])))
                if await self._settle(request_id, token, "answer" if answer else "drop", answer):
                    return answer
            else:
                await asyncio.sleep(_PAUSE_S)
        raise StoreUnavailable("another asker with this request_id does not come to an end")

    async def note_plan(self, request_id: str, work: Work, plan: str) -> bool:
        """Notes what is about to be done; False if another asker has taken over."""
        return await self._settle(request_id, work.token, "plan", plan)

    async def forget_answer(self, request_id: str, answer: str) -> None:
        """An answer holds no longer: whoever asks next gets a new one."""
        await self.store.call("forget", [self.keys.request(request_id)], [answer])

    async def _settle(self, request_id: str, token: str, what: str, value: str) -> bool:
        reply = await self.store.call(
            "settle", [self.keys.request(request_id)], [token, what, value, ms(LEASE_S)]
        )
        return bool(reply)
