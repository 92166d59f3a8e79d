"""A scheduler: each line of standard input is a job; for each it says which machine has it.

MUSTER_SERVER=http://127.0.0.1:8080 python docs/examples/scheduler.py < jobs.txt
"""

import asyncio
import os
import sys
from contextlib import suppress

from muster.client import AsyncClient, NoAvailableNodeError, Snapshot


async def watch(muster: AsyncClient, better: asyncio.Event) -> None:
    async for change in muster.watch(labels={"region": "eu"}):
        if isinstance(change, Snapshot):
            print("# ready:", *(n.node_id for n in change.nodes if n.status == "ready"), flush=True)
        better.set()  # whatever happened, somebody may have a place now


async def give(muster: AsyncClient, job: str, better: asyncio.Event) -> None:
    while True:
        better.clear()
        with suppress(NoAvailableNodeError):
            async with muster.hold(nmt=[("zh", "en")], labels={"region": "eu"}) as place:
                print(f"{job}: {place.node_id} as {place.id}", flush=True)  # send it there
                place.keep()  # the machine's job_result ends the hold
                return
        with suppress(TimeoutError):  # also when a job ends there is a place again
            async with asyncio.timeout(0.5):
                await better.wait()


async def main() -> None:
    servers = os.environ.get("MUSTER_SERVER", "http://127.0.0.1:8080").split(",")
    async with AsyncClient(*servers, token=os.environ.get("MUSTER_TOKEN")) as muster:
        better = asyncio.Event()
        watching = asyncio.create_task(watch(muster, better))
        for job in sys.stdin.read().split():
            await give(muster, job, better)
        watching.cancel()


asyncio.run(main())
