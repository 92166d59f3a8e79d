"""An answer that does not end by itself: a stream of server-sent events.

It is written as fast as its reader takes it. One that takes nothing for too long is cut, and one
that goes away is noticed at once, so that nothing is held for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy must not gather what is to be seen at once
}
ABORT = "muster.abort"
"""The extension of a request's scope that cuts its connection without another word."""
_END_S = 1.0


class EventStream(Response):
    """Sends what `frames` yields. `gone` is called when it is over, `stuck` if the reader took
    nothing for `patience_s`."""

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        *,
        patience_s: float,
        gone: Callable[[], None],
        stuck: Callable[[], None],
    ) -> None:
        super().__init__(headers=dict(HEADERS))
        del self.headers["content-length"]
        self._frames = frames
        self._patience_s = patience_s
        self._gone = gone
        self._stuck = stuck

    @classmethod
    def head(cls) -> Response:
        """The same without a body."""
        made = Response(headers=dict(HEADERS))
        del made.headers["content-length"]
        return made

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_until_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except TimeoutError:
            self._stuck()
            scope.get("extensions", {}).get(ABORT, lambda: None)()
            await asyncio.wait((leaving,), timeout=_END_S)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait((sending, leaving))
            self._gone()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with contextlib.aclosing(self._frames) as frames:
            async for frame in frames:
                await self._send(send, frame, more=True)
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool) -> None:
        async with asyncio.timeout(self._patience_s):
            await send({"type": "http.response.body", "body": body, "more_body": more})


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
