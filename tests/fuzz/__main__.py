"""`python -m tests.fuzz`: looks for bytes that are taken wrongly, guided by the lines they reach.

Each target's corpus is changed again and again; what reaches lines that nothing did before is added
to it for this run, and with `--keep` for ever. What goes wrong is always kept, as `found-…`, and is
then a test.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from registry.embedded import EmbeddedStore
from registry.store import Store
from tests.fuzz.corpus import inputs, keep
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target, targets

ROOT = Path(__file__).resolve().parents[2]
HANGS_S = 20.0


class Reached:
    """Notes which lines of some files run."""

    def __init__(self, reads: tuple[str, ...]) -> None:
        self._reads = tuple(str(ROOT / part) for part in reads)
        self.lines: set[tuple[str, int]] = set()

    def __enter__(self) -> None:
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(self._reads) else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


async def fuzz(target: Target, seconds: float, random: Random, *, keeps: bool) -> int:
    """Tries one for so long; how many inputs went wrong."""
    known = [data for _, data in inputs(target.name)]
    reached, lines, tried, wrong = Reached(target.reads), 0, 0, 0
    seen: set[str] = set()
    end = time.monotonic() + seconds
    waiting = list(known)
    while time.monotonic() < end:
        data = waiting.pop() if waiting else mutated(random.choice(known), known, random)
        tried += 1
        try:
            with reached:
                await asyncio.wait_for(target.run(data), HANGS_S)
        except Exception as error:  # noqa: BLE001 - any at all is what is looked for
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            if kind not in seen:
                seen.add(kind)
                wrong += 1
                print(f"{target.name}: {kind}: {error!s:.200}: {keep(target.name, data, 'found')}")
        if len(reached.lines) > lines:
            lines = len(reached.lines)
            if data not in known:
                known.append(data)
                if keeps:
                    keep(target.name, data, "reaches")
    print(f"{target.name:<8} {tried} inputs, {lines} lines reached, {wrong} wrong", flush=True)
    return wrong


async def _main(options: argparse.Namespace, url: str) -> int:
    store = await Store.connect(url)
    random, wrong = Random(options.seed), 0
    try:
        async with targets(store) as all_of_them:
            for target in all_of_them:
                if options.target in (None, target.name):
                    wrong += await fuzz(target, options.seconds, random, keeps=options.keep)
    finally:
        await store.close()
    return 1 if wrong else 0


def main() -> int:
    """0: nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", help="one of them alone: json, msgpack, short, http, scripts")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=None, help="the same changes again")
    parser.add_argument("--keep", action="store_true", help="keep what reaches new lines")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-fuzz-") as directory:
        server = EmbeddedStore.start(Path(directory))
        try:
            return asyncio.run(_main(options, server.url))
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
