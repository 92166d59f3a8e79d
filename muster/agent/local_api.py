"""The local API: what inference programs and desktop UIs on the same machine ask and tell.

`GET /status`, `GET /events` (the same, after every change, as server-sent events) and a page at `/`
are for reading; `PUT /running_jobs`, `PUT /health`, `POST /job_result` and `POST /drain` want the
token (see `local_guard`). Only 127.0.0.1 is listened on. Bodies are JSON; names in them are the
wire's.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Generator
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from muster.agent import local_files, sentences
from muster.agent.local_guard import Guard, RefusedError
from muster.agent.status import Action, AgentStatus
from muster.wire.errors import Locale
from muster.wire.messages import COUNT_MOST

HOST = "127.0.0.1"
BODY_MOST = 65_536
READERS_MOST = 16
KEEP_ALIVE_S = 15.0
TIMEOUT_MOST_S = 7 * 86_400


class Controls(Protocol):
    """What a program may tell the agent; a `NodeSession` is one."""

    def set_running_jobs(self, count: int) -> None:
        """How many jobs run now."""

    def set_health(self, ok: bool, reason: str | None = None) -> None:
        """Whether the inference program can work."""

    async def job_result(
        self,
        job_id: str,
        success: bool,
        error: str | dict[str, Any] | None = None,
        running_jobs: int | None = None,
    ) -> None:
        """A job is done."""

    async def drain(self, reason: str | None = None, timeout_s: float | None = None) -> None:
        """Begins to leave the fleet; returns at once."""


class LocalApi:
    """The server; `async with` it. Raises OSError where port or state directory can't be used."""

    def __init__(
        self, port: int, state_dir: Path, status: AgentStatus, controls: Controls, locale: Locale
    ) -> None:
        self.url = ""
        self.token_path = state_dir.absolute() / local_files.TOKEN_NAME
        self._port = port
        self._state_dir = state_dir
        self._status = status
        self._controls = controls
        self._locale: Locale = locale
        self._stopping = asyncio.Event()
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens; `url` says where."""
        listening = _listen(self._port)
        try:
            port = listening.getsockname()[1]
            self.url = f"http://{HOST}:{port}"
            token = local_files.keep_token(self._state_dir)
            local_files.tell_url(self._state_dir, self.url)
        except OSError:
            listening.close()
            raise
        guard = Middleware(
            Guard, port=port, token=token, token_path=str(self.token_path), locale=self._locale
        )
        routes = _Routes(self._status, self._controls, self._locale, self._stopping)
        self._server = _Server(_config(_app(routes, guard)), self._stopping)
        self._serving = asyncio.create_task(self._server.serve([listening]))
        self._status.change(local_url=self.url)
        self._status.tell(Action.SERVING, url=self.url, token_file=str(self.token_path))

    async def stop(self) -> None:
        """Ends every connection; programs see the end of their event streams."""
        self._stopping.set()
        if self._serving is not None:
            await self._serving
            local_files.forget_url(self._state_dir, self.url)

    async def __aenter__(self) -> LocalApi:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


class _Server(uvicorn.Server):
    """uvicorn's server without signals and without its ticking, which would cost an idle agent."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def main_loop(self) -> None:
        await self._stopping.wait()


def _config(app: Starlette) -> uvicorn.Config:
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
    )


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: nobody may listen beside us
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _app(routes: _Routes, guard: Middleware) -> Starlette:
    paths = [
        Route("/", routes.page, methods=["GET"]),
        Route("/status", routes.status, methods=["GET"]),
        Route("/events", routes.events, methods=["GET"]),
        Route("/running_jobs", routes.running_jobs, methods=["PUT"]),
        Route("/health", routes.health, methods=["PUT"]),
        Route("/job_result", routes.job_result, methods=["POST"]),
        Route("/drain", routes.drain, methods=["POST"]),
    ]
    offered = ", ".join(f"{min(route.methods or ())} {route.path}" for route in paths)

    async def on_refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return error.response(routes.locale)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            refused = RefusedError(405, "METHOD_NOT_ALLOWED", expected=allowed)
        else:
            refused = RefusedError(404, "NOT_FOUND", expected=offered)
        return refused.response(routes.locale)

    return Starlette(
        routes=paths,
        middleware=[guard],
        exception_handlers={RefusedError: on_refused, HTTPException: on_http},
    )


class _Routes:
    """One method a path."""

    def __init__(
        self, status: AgentStatus, controls: Controls, locale: Locale, stopping: asyncio.Event
    ) -> None:
        self.locale: Locale = locale
        self._status = status
        self._controls = controls
        self._stopping = stopping
        self._readers = 0
        self._page = _Page()

    async def page(self, _: Request) -> Response:
        """`GET /`: the page."""
        return HTMLResponse(self._page.text, headers={"Content-Security-Policy": self._page.policy})

    async def status(self, request: Request) -> Response:
        """`GET /status?locale=`: the state now."""
        return JSONResponse(self._status.as_dict(self._language(request)))

    async def events(self, request: Request) -> Response:
        """`GET /events?locale=`: the state now and after every change."""
        language = self._language(request)
        if self._readers >= READERS_MOST:
            raise RefusedError(503, "TOO_MANY_READERS", expected=READERS_MOST)
        return StreamingResponse(self._stream(language), media_type="text/event-stream")

    async def running_jobs(self, request: Request) -> Response:
        """`PUT /running_jobs {"running_jobs": 2}`"""
        body = await _body(request)
        count = _count(body, "running_jobs")
        self._controls.set_running_jobs(count)
        return JSONResponse({"running_jobs": count})

    async def health(self, request: Request) -> Response:
        """`PUT /health {"ok": false, "reason": "disk full"}`"""
        body = await _body(request)
        ok = _boolean(body, "ok")
        reason = _text(body, "reason", required=False)
        self._controls.set_health(ok, reason)
        return JSONResponse({"ok": ok, "reason": reason})

    async def job_result(self, request: Request) -> Response:
        """`POST /job_result {"job_id": "j1", "success": true, "error"?, "running_jobs"?}`"""
        body = await _body(request)
        job_id = _text(body, "job_id")
        assert job_id is not None
        success = _boolean(body, "success")
        error = body.get("error")
        if error is not None and not isinstance(error, str | dict):
            raise _unfit("error", "a string or an object with code and message")
        running = None if body.get("running_jobs") is None else _count(body, "running_jobs")
        await self._controls.job_result(job_id, success, error, running)
        return JSONResponse({"job_id": job_id}, 202)

    async def drain(self, request: Request) -> Response:
        """`POST /drain {"reason"?, "timeout_s"?}`: answered at once, `/events` tell the rest."""
        body = await _body(request)
        reason = _text(body, "reason", required=False)
        timeout_s = _seconds(body, "timeout_s")
        await self._controls.drain(reason, timeout_s)
        return JSONResponse({"draining": True}, 202)

    def _language(self, request: Request) -> Locale:
        wanted = request.query_params.get("locale")
        if wanted in (None, ""):
            return self.locale
        if wanted == "zh":
            return "zh"
        if wanted == "en":
            return "en"
        raise _unfit("locale", "zh or en")

    async def _stream(self, language: Locale) -> AsyncIterator[bytes]:
        self._readers += 1
        states = self._status.subscribe(language)
        stopped = asyncio.ensure_future(self._stopping.wait())
        following = asyncio.ensure_future(anext(states))
        try:
            yield b"retry: 2000\n\n"
            while not stopped.done():
                await asyncio.wait(
                    (following, stopped), timeout=KEEP_ALIVE_S, return_when="FIRST_COMPLETED"
                )
                if following.done():
                    state = json.dumps(following.result(), ensure_ascii=False)
                    yield f"event: status\ndata: {state}\n\n".encode()
                    following = asyncio.ensure_future(anext(states))
                elif not stopped.done():
                    yield b": still here\n\n"  # a reader that has gone is noticed by this
        finally:
            self._readers -= 1
            stopped.cancel()
            following.cancel()


class _Page:
    """The page and the policy that lets its own style and script run, and nothing else."""

    def __init__(self) -> None:
        page = files("muster.agent").joinpath("page.html").read_text("utf-8")
        words = json.dumps(sentences.WORDS, ensure_ascii=False).replace("<", "\\u003c")
        self.text = page.replace("{words}", words)
        self.policy = (
            f"default-src 'none'; style-src {_hashes('style', page)}; "
            f"script-src {_hashes('script', page)}; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )


def _hashes(tag: str, page: str) -> str:
    """The page's own inline elements, as a policy names them."""
    elements = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(element.encode()).digest() for element in elements)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > BODY_MOST:
                raise RefusedError(413, "TOO_LARGE", expected=BODY_MOST)
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise _unfit("body", "a JSON object") from error
    if not isinstance(body, dict):
        raise _unfit("body", "a JSON object")
    return body


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value <= COUNT_MOST:
        raise _unfit(name, "a whole number, at least 0")
    return value


def _boolean(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if type(value) is not bool:
        raise _unfit(name, "true or false")
    return value


def _text(body: dict[str, Any], name: str, *, required: bool = True) -> str | None:
    value = body.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise _unfit(name, "a text that is not empty")
    return value


def _seconds(body: dict[str, Any], name: str) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= TIMEOUT_MOST_S:
        raise _unfit(name, f"seconds, 0 to {TIMEOUT_MOST_S}")
    return float(value)


def _unfit(parameter: str, expected: str) -> RefusedError:
    return RefusedError(400, "INVALID_PARAMETER", parameter=parameter, expected=expected)
