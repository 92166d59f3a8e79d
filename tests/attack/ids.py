"""`python -m tests.attack.ids --ids 1000000`: so many distinct ids, and what grows in whom.

They are written as a gateway writes them, as small as a registration can be, while a gateway and a
sweeper serve the same store. The store grows by each; a gateway and its page of metrics by none.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from bench.scale.machine import System, header, system
from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.support.fleet import registration

GROWS_MOST_MIB = 16
_AT_ONCE = 8


async def written(made: System, count: int, first: int = 0) -> None:
    """Registers so many ids that nobody has registered."""
    registry = await Registry.connect(RegistrySettings(redis_url=made.store.url))
    numbers = iter(range(first, first + count))

    async def some() -> None:
        for n in numbers:
            new = registration(f"id-{n}", capabilities=("any",), gateway="gone")
            await registry.register(new, None)

    try:
        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    finally:
        await registry.close()


async def attacked(made: System, count: int) -> dict[str, Any]:
    """Writes so many, a tenth of them before it is looked at what there is; what was found."""
    warm = count // 10
    await written(made, warm)
    before = await asyncio.to_thread(_sizes, made)
    begun = time.monotonic()
    await written(made, count - warm, warm)
    wrote_s = time.monotonic() - begun
    after = await asyncio.to_thread(_sizes, made)
    grown = {name: after[name] - before[name] for name in after}
    return {
        "ids": count,
        "ids_per_s": round((count - warm) / wrote_s),
        "gateway_grew_mib": round(grown["gateway"] / 2**20, 1),
        "sweeper_grew_mib": round(grown["sweeper"] / 2**20, 1),
        "lines_of_metrics_more": grown["lines"],
        "store_bytes_per_id": round(grown["store"] / (count - warm)),
        "kept": grown["gateway"] <= GROWS_MOST_MIB * 2**20 and not grown["lines"],
    }


def _sizes(made: System) -> dict[str, int]:
    """Resident bytes of each kind of process, and how many lines a gateway says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{made.gateway_ports[0]}/metrics") as page:
        lines = page.read().count(b"\n")
    sizes = {
        kind: sum(psutil.Process(pid).memory_info().rss for pid in pids)
        for kind, pids in made.processes().items()
    }
    return sizes | {"lines": lines}


def main() -> int:
    """0: nothing grew in a gateway."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.ids", description=__doc__)
    parser.add_argument("--ids", type=int, default=1_000_000)
    options = parser.parse_args()
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="muster-ids-") as name,
        system(Path(name), gateways=1, sweepers=1) as made,
    ):
        found = asyncio.run(attacked(made, options.ids))
    print("\n".join(f"{name:<24} {value}" for name, value in (header(begun) | found).items()))
    return 0 if found["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
