"""A connection from its first byte to its request or its upgrade: uvicorn's HTTP protocol, bounded.

uvicorn alone waits for ever for a request's head, keeps as much of it as comes, and makes a
WebSocket for whoever asks. Here a head has so many seconds and bytes, and whoever can't be taken is
told so in one answer that costs nothing.
"""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus

from httptools import HttpParserUpgrade
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.streaming import ABORT
from gateway.door import Door
from gateway.limits import Limit
from gateway.origins import Origins
from gateway.problem import ProblemError, overloaded

HEAD_BYTES_MOST = 65_536
_LAST_WORD_S = 1.0


class ArrivingProtocol(HttpToolsProtocol):
    """Every connection begins as one of these. The lifespan state must hold `door` (Door),
    `origins` (Origins) and `certified`: whether nodes must show a certificate."""

    _patience: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _behind_head: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        door: Door = self.app_state["door"]
        if len(self.connections) > door.connections_most:
            door.turned_away(Limit.CONNECTIONS)
            self._refuse(_overloaded())
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._behind_head is not None:
            self._hand_over(data[self._behind_head :])
            return
        if self._patience is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MOST:
            title = f"the head of a request has at most {HEAD_BYTES_MOST} bytes"
            self._refuse(ProblemError(431, "TOO_LARGE", title, max_bytes=HEAD_BYTES_MOST))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]
        if self._patience is None:
            self._wait()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        if sum(name == b"host" for name, _ in self.headers) > 1:
            # RFC 9112, section 3.2: two proxies, or a proxy and this gateway, might take each one.
            title = "a request names one Host"
            self._refuse(ProblemError(400, "INVALID_PARAMETER", title))
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.transport.is_closing():
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # RFC 9112, 9.3.2: answers come in the order of requests, and one is still owed. uvicorn
            # would hand the connection over with its HTTP side alive, which then reads and writes
            # under the WebSocket.
            self.transport.close()
            return
        origins: Origins = self.app_state["origins"]
        if (foreign := origins.refusal(self.headers)) is not None:
            self._refuse(foreign)
            return
        if self.app_state["certified"] and not self.transport.get_extra_info("peercert"):
            title = "a node shows a certificate of this fleet"
            self._refuse(ProblemError(403, "FORBIDDEN", title))
            return
        door: Door = self.app_state["door"]
        address = self._address()
        if door.refusal(address, len(self.connections)) is not None:
            self._refuse(_overloaded())
            return
        door.enter(self.transport, address)
        super().handle_websocket_upgrade()
        # uvicorn is handling the parser's exception, which knows where in this read the head ends.
        upgrade = sys.exception()
        self._behind_head = upgrade.args[0] if isinstance(upgrade, HttpParserUpgrade) else None
        protocol = self.transport.get_protocol()
        if not getattr(protocol, "handshake_initiated", True):
            # A head that is HTTP but too much for a handshake: uvicorn would not answer at all.
            title = "a WebSocket is asked for by GET, with short lines and at most 128 of them"
            self._refuse(ProblemError(400, "INVALID_PARAMETER", title))

    def _hand_over(self, rest: bytes) -> None:
        """What came behind the head in one read is the WebSocket's. uvicorn drops it."""
        if rest and not self.transport.is_closing():
            protocol: asyncio.Protocol = self.transport.get_protocol()  # type: ignore[assignment]
            protocol.data_received(rest)

    def _address(self) -> str:
        """Who comes: the client itself, or whom a trusted proxy names."""
        address = self.client[0] if self.client else ""
        proxies = _proxies_of(self.config.loaded_app)
        if proxies is None or address not in proxies.trusted_hosts:
            return address
        named = b", ".join(value for name, value in self.headers if name == b"x-forwarded-for")
        host, _ = proxies.trusted_hosts.get_trusted_client_address(named.decode("latin-1"))
        return host or address

    def _wait(self) -> None:
        door: Door = self.app_state["door"]
        self._head_bytes = 0
        self._patience = self.loop.call_later(door.head_timeout_s, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        door: Door = self.app_state["door"]
        title = f"the head of a request must come within {door.head_timeout_s:g} s"
        self._refuse(ProblemError(408, "TIMEOUT", title))

    def _refuse(self, problem: ProblemError) -> None:
        """Answers and hangs up; a reader who takes nothing is not waited for."""
        self._stop_waiting()
        if self.transport.is_closing():
            return
        response = problem.response()
        phrase = HTTPStatus(problem.status).phrase
        lines = [f"HTTP/1.1 {problem.status} {phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in response.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(response.body)]))
        self.transport.close()
        self.loop.call_later(_LAST_WORD_S, self.transport.abort)


def _overloaded() -> ProblemError:
    return overloaded(
        "this gateway has as many connections as it may; try again later, or another one"
    )


def _proxies_of(app: object) -> ProxyHeadersMiddleware | None:
    return app if isinstance(app, ProxyHeadersMiddleware) else None
