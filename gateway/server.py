"""Serving: uvicorn with our WebSocket class, and stopping in order.

The first SIGTERM or SIGINT makes the gateway unready at once, asks its sockets to go elsewhere at
a pace, and then lets uvicorn exit with 0; a second one exits at once. uvicorn's own handling would
close every socket in the same instant.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import Callable, Generator
from typing import Any

import uvicorn
from starlette.applications import Starlette

from gateway.app import make_app
from gateway.arriving import ArrivingProtocol
from gateway.descriptors import raise_limit
from gateway.flooding import FloodedProtocol
from gateway.gate import Gate
from gateway.settings import GatewaySettings
from gateway.tls import Certificates
from registry.logs import configure, count_bugs, log
from registry.repeats import bound_libraries
from registry.supervisor import tell_when

logger = logging.getLogger("muster.gateway")

BACKLOG = 4096
_YOUNG_MOST = 50_000


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def config_of(app: Starlette, settings: GatewaySettings) -> uvicorn.Config:
    """uvicorn's settings for a gateway. Raises SettingsError if its certificate can't be used."""
    certificates: Certificates | None = None
    if settings.tls_cert_file and settings.tls_key_file:
        certificates = Certificates(
            settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
        )
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop" if _has_uvloop() else "asyncio",
        http=ArrivingProtocol,
        ws=FloodedProtocol,
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        # uvicorn alone would believe these headers of whoever asks from this machine.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        access_log=False,
        backlog=BACKLOG,
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_context_factory=(lambda *_: certificates.context()) if certificates else None,
    )


def serve(settings: GatewaySettings) -> int:
    """Runs a gateway until it is told to stop; the exit status.

    Raises SettingsError for files it names that can't be used.
    """
    configure(settings.log_format, settings.log_level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    bound_libraries()
    raise_limit()
    app = make_app(settings)
    count_bugs(app.state.metrics.bugs.inc)
    server = Server(config_of(app, settings))
    _collect_seldom()
    with asyncio.Runner(loop_factory=_patient_loop(settings.head_timeout_s)) as runner:
        runner.run(_serve(app, server))
    return 0 if server.started else 3


def _collect_seldom() -> None:
    """What a batch of heartbeats makes is gone with its answers, without cycles; Python would look
    for cycles every 700 objects, and a hundred times more seldom through all sockets."""
    gc.collect()
    gc.freeze()  # what is loaded by now stays anyway, and is never looked through again
    # A closed socket is a circle of some 170 objects, and an old one if it lived long: of a fleet
    # that comes back again and again, some twelve thousand closed sockets are in memory at most.
    gc.set_threshold(_YOUNG_MOST, 5, 5)


async def _serve(app: Starlette, server: Server) -> None:
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def on_signal() -> None:
        if stopping:
            os._exit(1)
        stopping.append(asyncio.create_task(_stop(app, server)))

    async def ready() -> bool:
        return server.started and all((await app.state.gate.checks())["checks"].values())

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    telling = asyncio.create_task(tell_when(ready))
    try:
        await server.serve()
    finally:
        telling.cancel()


async def _stop(app: Starlette, server: Server) -> None:
    gate: Gate | None = getattr(app.state, "gate", None)
    try:
        if gate is not None:
            await gate.drain()
    except Exception as error:  # noqa: BLE001 - stopping must not fail
        log(logger, logging.ERROR, "drain_failed", exc_info=error)
    server.should_exit = True


def _patient_loop(handshake_s: float) -> Callable[[], asyncio.AbstractEventLoop]:
    """Loops whose servers wait so long for a TLS handshake, in seconds. uvicorn can't be told, and
    who says nothing would have a descriptor for a minute before anything of ours knows of them."""
    base: Any = asyncio.SelectorEventLoop
    if _has_uvloop():
        import uvloop

        base = uvloop.Loop

    class PatientLoop(base):  # type: ignore[misc]  # chosen only now
        async def create_server(self, *args: Any, **options: Any) -> Any:
            if options.get("ssl"):
                options.setdefault("ssl_handshake_timeout", handshake_s)
            return await super().create_server(*args, **options)

    return PatientLoop


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True
