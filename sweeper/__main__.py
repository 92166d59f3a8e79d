"""`python -m sweeper`: runs a sweeper; `python -m sweeper settings [--json]` explains it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Generator

import uvicorn

from registry.errors import StoreError
from registry.logs import configure, count_bugs, log
from registry.registry import Registry
from registry.settings import SettingsError, load, print_settings, unknown_variables
from registry.supervisor import tell_when
from sweeper.loop import Sweeper
from sweeper.metrics import SweeperMetrics
from sweeper.server import application, checks
from sweeper.settings import SweeperSettings

USAGE = """usage: python -m sweeper                     run a sweeper
       python -m sweeper settings [--json]   every setting, its value and where that came from

Settings are environment variables MUSTER_...; SIGTERM gives the partitions back and stops.
"""

logger = logging.getLogger("muster.sweeper")


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handling."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def main(argv: list[str]) -> int:
    """The exit status."""
    if argv[:1] == ["settings"]:
        return print_settings(SweeperSettings, argv[1:])
    if argv:
        asked = argv[0] in ("-h", "--help")
        (sys.stdout if asked else sys.stderr).write(USAGE)
        return 0 if asked else 2
    try:
        settings = load(SweeperSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for warning in unknown_variables(SweeperSettings):
        sys.stderr.write(f"{warning}\n")
    configure(settings.log_format, settings.log_level)
    return asyncio.run(_serve(settings))


async def _serve(settings: SweeperSettings) -> int:
    try:
        registry = await Registry.connect(settings)
    except ValueError as error:
        sys.stderr.write(f"MUSTER_REDIS_URL: {error}\n")
        return 2
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    metrics = SweeperMetrics()
    count_bugs(metrics.bugs.inc)
    sweeper = Sweeper(registry, settings, metrics, owner)
    if not await _usable(registry):
        await registry.close()
        return 1
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, sweeper.stop)
    log(logger, logging.INFO, "started", owner=owner, port=settings.sweeper_port)
    server, serving = _http(sweeper, settings)

    async def ready() -> bool:
        return all((await checks(sweeper)).values())

    telling = asyncio.create_task(tell_when(ready))
    try:
        await sweeper.run()
    finally:
        telling.cancel()
        if server is not None and serving is not None:
            server.should_exit = True
            await serving
        await registry.close()
    log(logger, logging.INFO, "stopped", owner=owner)
    return 0


async def _usable(registry: Registry) -> bool:
    """Says what is wrong with the store's set-up; False if a sweeper must not run on it."""
    try:
        problems = await registry.problems()
    except StoreError as error:
        log(logger, logging.WARNING, "store_unasked", error=str(error))
        return True
    for problem in problems:
        fatal = problem.severity == "fatal"
        level = logging.ERROR if fatal else logging.WARNING
        log(logger, level, "store_problem", what=problem.what, fix=problem.fix)
    return not any(problem.severity == "fatal" for problem in problems)


def _http(
    sweeper: Sweeper, settings: SweeperSettings
) -> tuple[_Server | None, asyncio.Task[None] | None]:
    if settings.sweeper_port == 0:
        return None, None
    config = uvicorn.Config(
        application(sweeper),
        host=settings.host,
        port=settings.sweeper_port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = _Server(config)
    return server, asyncio.create_task(server.serve())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
