"""`python -m muster.simulate.worker`: one process of a run, told what to do on standard input.

The first line is its order; then `strike`, `heal`, `leave`, `abandon`. It prints its book as a line
of JSON every second, and once more when it ends. Whoever closes its input ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
from collections.abc import Callable

from muster.simulate.herd import Herd
from muster.simulate.order import Order

_EVERY_S = 1.0


def main() -> int:
    """Runs until told to end."""
    _take_all_descriptors()
    order = Order.of(json.loads(sys.stdin.readline()))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run(order))
    return 0


async def _run(order: Order) -> None:
    herd = Herd(order)
    # Looking for garbage among 16 000 sockets would stop the process that drives them.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    words = await _words()
    herd.start()
    telling = asyncio.create_task(_tell(herd))
    while word := (await words.readline()).decode().strip():
        if word == "strike":
            herd.strike()
        elif word == "heal":
            herd.heal()
        elif word in ("leave", "abandon"):
            # What it found stands before the leave changes it.
            telling.cancel()
            herd.stand()
            last = json.dumps(herd.book.as_dict() | {"last": True})
            await herd.leave(unregister=word == "leave")
            _say(last)
            return


def _take_all_descriptors() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _words() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def _tell(herd: Herd) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        _say(json.dumps(herd.stand().as_dict()))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        sys.exit(main())
