"""`muster …` on a terminal of 80 and of 200 columns, read as a person reads it."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muster.cli import exits
from tests.integration.conftest import System
from tests.support.node import Node
from tests.support.showcase import showcase
from tests.support.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
QUIET: dict[str, Any] = {
    "heartbeat_interval_s": 15.0, "heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0,
}  # fmt: skip
"""Nothing happens to machines by itself."""
LONG_ID = "node-" + "x" * 59
WIDTHS = pytest.mark.parametrize("columns", [80, 200])


async def seen(
    system: System,
    columns: int,
    *arguments: str,
    look: Callable[[Terminal], None] | None = None,
    rows: int = 45,
) -> tuple[int, list[str]]:
    """The exit status of a command, and what stood on the terminal; `look` is what the test does
    meanwhile."""
    environ = {
        "MUSTER_SERVER": ",".join(gateway.url for gateway in system.gateways),
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
    }

    def watch() -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "muster", *arguments]
        with Terminal(command, columns, rows, environ) as terminal:
            if look is not None:
                look(terminal)
            rc = terminal.wait_end()
            assert "Traceback" not in terminal.text
            return rc, [line for line in terminal.lines if line]

    return await asyncio.to_thread(watch)


def interrupt(terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGINT)


@WIDTHS
async def test_tables_and_stories_fit_and_ids_stay_whole(system: System, columns: int) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with showcase(system.ws, system.http) as client, Node(system.ws) as node:
        await node.become_ready(node_id=LONG_ID, labels={"simulated": "true"})
        rc, lines = await seen(system, columns, "nodes")
        assert rc == 0
        header, *rows, summary = lines
        assert {row.split()[0] for row in rows} >= {LONG_ID, "node-ABC12345"}
        assert summary == "7 nodes: 5 ready, 1 registering, 1 draining"
        assert ("GATEWAY" in header) == (columns == 200)

        rc, lines = await seen(system, columns, "nodes", "--id", "node-", "--label", "region=eu")
        assert lines[0].split()[:5] == ["NODE", "STATUS", "FOR", "LOAD", "WHY"]

        await client.patch(
            f"/v1/nodes/{LONG_ID}/labels",
            json={"labels": {f"label-{n}": "v" * 40 for n in range(9)}, "reason": "many"},
        )
        rc, lines = await seen(system, columns, "node", LONG_ID)
        assert rc == 0
        assert lines[0].startswith(f"{LONG_ID}  SIMULATED")
        text = " ".join(lines)
        assert all(f"label-{n}={'v' * 40}" in text for n in range(9))
        assert re.search(r"registering → ● ready +healthy", text)

        rc, lines = await seen(system, columns, "fleet")
        assert rc == 0
        assert lines[0].startswith("7 machines, 5 may be given work")
        assert any("RTX 4090" in line for line in lines)
        titles = ["KIND", "LANGUAGES", "GPU", "PROGRAM", "PLATFORM"]
        shown = [line for line in lines if line.split()[0] in titles]
        assert len(shown) == (1 if columns == 200 else 2)

        rc, lines = await seen(system, columns, "select", "--tts", "ja")
        assert rc == exits.NO_NODE
        assert "  node-ABC12345  ● ready" in lines
        assert "      model_not_available: wanted tts:ja, has tts:en" in lines

        command = ("select", "--nmt", "zh:en", "--label", "region=eu", "--hold", "5")
        rc, lines = await seen(system, columns, *command)
        assert rc == 0
        assert lines[0].split()[-2:] == ["HOLD", "UNTIL"]
        said = re.fullmatch(r"To give back what is held: muster release (\S+)", lines[-1])
        assert said
        assert said[1] in lines[1].split()


@WIDTHS
async def test_who_means_many_is_shown_them_and_asked(system: System, columns: int) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with showcase(system.ws, system.http):
        command = ("drain", "--label", "region=eu", "--gpu", "3090", "--reason", "cards")

        def answer(word: str) -> Callable[[Terminal], None]:
            def typed(terminal: Terminal) -> None:
                terminal.wait_for("Go on with 2 machines? [y/N]")
                terminal.send(f"{word}\n")

            return typed

        rc, lines = await seen(system, columns, *command, look=answer("n"))
        assert rc == exits.USAGE
        assert lines[0] == "2 machines would be drained:"
        assert lines[-1] == "Nothing was done."
        rc, lines = await seen(system, columns, *command, look=answer("y"))
        assert (rc, lines[-1]) == (0, "2 machines drained.")


@WIDTHS
async def test_the_table_is_kept_as_the_fleet_is_until_ctrl_c(system: System, columns: int) -> None:
    await system.start(gateways=2, sweepers=1, **QUIET)
    loop = asyncio.get_running_loop()
    async with showcase(system.ws, system.gateways[1].url) as client:

        def drain(reason: str) -> None:
            posting = client.post("/v1/nodes/node-ABC12345/drain", json={"reason": reason})
            asyncio.run_coroutine_threadsafe(posting, loop).result(60)

        def look(terminal: Terminal) -> None:
            terminal.wait_for("6 nodes: 4 ready, 1 registering, 1 draining   Ctrl-C ends")
            drain("new fans")
            terminal.wait_for("6 nodes: 3 ready, 1 registering, 2 draining")
            assert re.search(r"node-ABC12345 +▼ draining .* new fans", terminal.text)
            system.gateways[0].kill()
            drain("new driver")
            terminal.wait_for("new driver")
            terminal.resize(50, 20)
            terminal.wait_for(lambda text: "WHY" not in text and "LOAD" in text)
            interrupt(terminal)

        rc, lines = await seen(system, columns, "nodes", "--watch", look=look)
        assert (rc, lines) == (0, [])  # the terminal is as it was


@WIDTHS
async def test_top_shows_the_numbers_the_busiest_and_what_happens(
    system: System, columns: int
) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    loop = asyncio.get_running_loop()
    async with showcase(system.ws, system.http) as client:

        def look(terminal: Terminal) -> None:
            text = terminal.wait_for("Ctrl-C ends")
            assert "6 machines, 4 may be given work" in text
            assert re.search(r"● ready +4 +█{24}", text)
            rows = [line for line in text.splitlines() if line.startswith("node-")]
            assert rows[0].startswith("node-DEF67890")  # it runs a job

            def label(text: str) -> bool:
                change = {"labels": {"at": str(loop.time())}, "reason": "moved"}
                posting = client.patch("/v1/nodes/node-ABC12345/labels", json=change)
                asyncio.run_coroutine_threadsafe(posting, loop).result(60)
                return "node-ABC12345  labelled  by local, moved" in text

            terminal.wait_for(label)
            interrupt(terminal)

        rc, lines = await seen(system, columns, "top", look=look, rows=24)
        assert (rc, lines) == (0, [])


@WIDTHS
async def test_what_takes_long_shows_that_it_goes_on_and_with_what_trouble(
    system: System, columns: int
) -> None:
    await system.start(gateways=1, sweepers=0)
    (gateway,) = system.gateways
    gateway.pause()

    def look(terminal: Terminal) -> None:
        terminal.wait_for("Waiting for an answer …")
        gateway.resume()

    rc, lines = await seen(system, columns, "fleet", look=look)
    assert rc == 0
    assert lines[0].startswith("0 machines")
    assert "Waiting" not in "".join(lines)
    gateway.pause()

    def search(terminal: Terminal) -> None:
        terminal.wait_for("Looking through what happened …")
        gateway.resume()

    rc, lines = await seen(
        system, columns, "events", "--since", "all", "--type", "mend", look=search
    )
    assert (rc, lines) == (0, ["Nothing like that happened, as far as events are kept."])
    gateway.kill()

    def trouble(terminal: Terminal) -> None:
        terminal.wait_for("Connection refused")

    rc, lines = await seen(system, columns, "fleet", look=trouble)
    assert rc == exits.NOBODY_ANSWERS
    assert lines[-1].startswith("Next: ")


@WIDTHS
async def test_ctrl_c_while_waiting_ends_quietly(system: System, columns: int) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with Node(system.ws) as node:
        await node.become_ready(node_id="node-A")
        await node.beat(resource_usage={"running_jobs": 2})

        def look(terminal: Terminal) -> None:
            terminal.wait_for("node-A: 2 jobs and 0 holds left …")
            interrupt(terminal)

        command = ("drain", "node-A", "--reason", "fans", "--wait")
        rc, lines = await seen(system, columns, *command, look=look)
        assert rc == exits.INTERRUPTED
        assert lines[0] == "node-A drained."
        assert "left …" not in "".join(lines)


@WIDTHS
async def test_events_are_lines_that_wrap_rather_than_lose_their_end(
    system: System, columns: int
) -> None:
    await system.start(gateways=1, sweepers=0, **QUIET)
    why = "because " * 30 + "of the fans"

    def look(terminal: Terminal) -> None:
        def label(text: str) -> bool:
            labels = {"at": str(loop.time())}
            asked = system.registry.label("node-A", labels, "ann", why)
            asyncio.run_coroutine_threadsafe(asked, loop).result(60)
            return "labelled" in text

        terminal.wait_for(label)
        terminal.wait_for("fans")
        interrupt(terminal)

    loop = asyncio.get_running_loop()
    async with Node(system.ws) as node:
        await node.register(node_id="node-A")
        rc, lines = await seen(system, columns, "events", "--follow", look=look)
        assert rc == 0
        assert why in "".join(line.ljust(columns) for line in lines)
