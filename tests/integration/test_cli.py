"""`muster …` as it is typed, against a real system: answers, JSON, exit statuses, next steps."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from typer.testing import CliRunner, Result

from muster.cli import exits
from muster.cli.main import app
from muster.wire.bearer import Entry, Role, digest, new_token
from tests.integration.conftest import System
from tests.support.fleet import until
from tests.support.node import Node
from tests.support.showcase import showcase

ROOT = Path(__file__).resolve().parents[2]
QUIET: dict[str, Any] = {
    "heartbeat_interval_s": 15.0, "heartbeat_timeout_s": 600.0, "warmup_timeout_s": 600.0,
    "drain_timeout_s": 3600.0,
}  # fmt: skip
"""Nothing happens to machines by itself."""


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    rc: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Its output as JSON, line by line."""
        return [json.loads(line) for line in self.out.splitlines()]


async def muster(*arguments: str, environ: Mapping[str, str]) -> Said:
    """A command, run in this process: starting one costs more than what it does."""

    def run() -> Result:
        silent = {name: None for name in os.environ if name.startswith(("MUSTER_", "LC_", "LANG"))}
        return CliRunner().invoke(app, list(arguments), env=silent | dict(environ))

    ended = await asyncio.to_thread(run)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return Said(ended.exit_code, ended.stdout, ended.stderr)


async def typed(*arguments: str, environ: Mapping[str, str]) -> Said:
    """A command as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "muster", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=around(environ),
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


def around(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: nothing of ours that speaks of another system."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    return ours | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"} | dict(environ)


@asynccontextmanager
async def reading(*arguments: str, environ: Mapping[str, str]) -> AsyncIterator[Any]:
    """A command that goes on; what it prints is read by the test."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "muster", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=around(environ),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def at(system: System) -> dict[str, str]:
    """Where the commands look."""
    return {"MUSTER_SERVER": ",".join(g.url for g in system.gateways if g.running)}


@asynccontextmanager
async def fleet(system: System) -> AsyncIterator[dict[str, str]]:
    """The showcase's machines."""
    await system.start(gateways=2, sweepers=1, **QUIET)
    async with showcase(system.ws, system.http):
        yield at(system)


# Looking


async def test_machines_are_listed_filtered_sorted_and_shown_whole_to_programs(
    system: System,
) -> None:
    async with fleet(system) as environ, Node(system.ws) as pretender:
        await pretender.become_ready(node_id="node-PRETENDS", labels={"simulated": "true"})
        said = await muster("nodes", environ=environ)
        assert (said.rc, said.err) == (0, "")
        header, *rows = said.out.splitlines()
        assert header.split() == [
            *("NODE", "STATUS", "FOR", "LOAD", "WHY", "GPUS", "BEAT", "LABELS"),
            *("PROGRAM", "PLATFORM", "GATEWAY"),
        ]
        assert len(rows) == 7
        assert all(row == row.rstrip() for row in rows)
        by_id = {row.split()[0]: row for row in rows}
        assert "SIMULATED" in by_id["node-PRETENDS"]
        assert sum("SIMULATED" in row for row in rows) == 1
        assert "2× L40S 48G" in by_id["node-DEF67890"]
        assert "drained: new fans" in by_id["node-DRAINED1"]
        assert "private" in by_id["node-LABBENCH"]
        said = await muster(
            *("nodes", "--status", "ready,draining", "--label", "region=eu", "--sort", "-load"),
            *("--nmt", "zh:en", "--limit", "2", "--json"),
            environ=environ,
        )
        assert said.lines[0]["node_id"] == "node-DEF67890"
        assert len(said.lines) == 2
        assert said.lines[0]["gpus"] == [{"name": "L40S", "memory_gb": 48.0}] * 2
        none = await muster("nodes", "--gpu", "H100", environ=environ)
        assert (none.rc, none.out) == (0, "")
        assert "`muster nodes`" in none.err
        none = await muster("nodes", "--gpu", "H100", "--json", environ=environ)
        assert (none.rc, none.out, none.err) == (0, "", "")


async def test_one_machine_is_told_whole_and_explained(system: System) -> None:
    async with fleet(system) as environ:
        said = await muster("node", "node-DRAINED1", environ=environ)
        assert (said.rc, said.err) == (0, "")
        for part in (
            "node-DRAINED1  ▼ draining  drained for",
            "may safely be taken away",
            "waits for the operator to resume it",
            "by local at",
            "new fans",
            "RTX 3090  24 GiB",
            "nmt-zh-en  nmt zh→en  1.4.0",
            "registering → ● ready",
            "cpu 12.5 %",
            "labels    region=eu",
        ):
            assert part in said.out
        (whole,) = (await muster("node", "node-DRAINED1", "--json", environ=environ)).lines
        assert whole["operator"]["why"] == "new fans"
        assert whole["registration"]["hardware"]["cpu_cores"] == 16
        said = await muster("explain", "node-DRAINED1", "--nmt", "zh:fr", environ=environ)
        assert said.rc == 0
        assert "fits      no" in said.out
        assert "model_not_available: wanted nmt:zh:fr, has nmt:zh:en" in said.out
        chinese = environ | {"LC_ALL": "zh_CN.UTF-8"}
        said = await muster("explain", "node-DRAINED1", environ=chinese)
        assert "现有任务已全部完成" in said.out
        (found,) = (await muster("explain", "node-DRAINED1", "--json", environ=environ)).lines
        assert found["waits_for"]["what"] == "operator"
        for verb in ("node", "explain"):
            said = await muster(verb, "node-NOBODY", environ=environ)
            assert (said.rc, said.out) == (exits.NOT_FOUND, "")
            assert said.err == (
                "no node has the id node-NOBODY\nNext: look for its id in the list of nodes.\n"
            )


async def test_the_fleet_is_counted(system: System) -> None:
    async with fleet(system) as environ:
        said = await muster("fleet", environ=environ)
        assert said.rc == 0
        assert "6 machines, 4 may be given work" in said.out
        assert "● ready        4  ████" in said.out
        assert "RTX 4090" in said.out
        (found,) = (await muster("fleet", "--json", environ=environ)).lines
        assert found["status"]["ready"] == 4
        (held,) = (
            await muster("release-brake", "--reason", "why", "--json", environ=environ)
        ).lines
        assert held == {"held": False}


# Selecting


async def test_a_machine_is_selected_held_and_given_back(system: System) -> None:
    async with fleet(system) as environ:
        command = ("select", "--nmt", "zh:en", "--asr", "zh", "--label", "region=eu")
        held = await muster(*command, "--hold", "30", "--limit", "5", "--json", environ=environ)
        assert held.rc == 0
        assert {line["node_id"] for line in held.lines} == {"node-ABC12345", "node-DEF67890"}
        said = await muster(*command, "--avoid", "node-ABC12345", environ=environ)
        assert said.rc == exits.NO_NODE
        assert said.out == ""
        assert "capacity_exceeded" in said.err
        assert "Next: wait for a machine, or ask for less" in said.err
        said = await muster(*command, "--json", "--avoid", "node-ABC12345", environ=environ)
        assert (said.rc, said.out) == (exits.NO_NODE, "")
        problem = json.loads(said.err)
        assert problem["code"] == "NO_AVAILABLE_NODE"
        assert problem["problem"]["nearest"]
        holds = [line["hold"]["id"] for line in held.lines]
        said = await muster("release", *holds, environ=environ)
        assert said == Said(0, "".join(f"{hold}: the place is free.\n" for hold in holds), "")
        (again,) = (
            await muster("release", held.lines[0]["hold"]["id"], "--json", environ=environ)
        ).lines
        assert again["released"] is True
        said = await muster(*command, "--prefer", "node-DEF67890", environ=environ)
        assert said.rc == 0
        assert said.out.splitlines()[1].startswith("node-DEF67890")
        twice = [
            await muster(*command, "--hold", "9", "--request-id", "r-1", "--json", environ=environ)
            for _ in range(2)
        ]
        assert twice[0].lines == twice[1].lines
        said = await muster(*command, "--request-id", "r-1", environ=environ)
        assert said.rc == exits.USAGE
        assert "take a new request_id" in said.err


# Operating


async def test_operators_drain_resume_label_and_take_off(system: System) -> None:
    async with fleet(system) as environ:
        reason = ("--reason", "new \x1b[31m[bold]driver")
        said = await muster("drain", "node-ABC12345", *reason, "--timeout", "60", environ=environ)
        assert (said.rc, said.out, said.err) == (0, "node-ABC12345 drained.\n", "")
        said = await muster("node", "node-ABC12345", environ=environ)
        assert "new \N{REPLACEMENT CHARACTER}[31m[bold]driver" in said.out
        assert "\x1b" not in said.out
        (line,) = (
            await muster("resume", "node-ABC12345", *reason, "--json", environ=environ)
        ).lines
        assert line == {"node_id": "node-ABC12345", "changed": True}
        said = await muster("resume", "node-ABC12345", *reason, environ=environ)
        assert (said.rc, said.out) == (0, "node-ABC12345: nothing to do.\n")
        label = ("label", "node-ABC12345", "--set", "tier=gold", "--set", "rack=b4", *reason)
        said = await muster(*label, environ=environ)
        assert said.out == "node-ABC12345 labelled: region=eu tier=gold rack=b4\n"
        said = await muster(
            "label", "node-ABC12345", "--set", "tier=a\nb", *reason, environ=environ
        )
        assert (said.rc, said.out) == (exits.USAGE, "")
        assert "labels.tier: expected a value without control characters\n" in said.err
        unlabel = ("label", "node-ABC12345", "--unset", "rack", "--unset", "tier", *reason)
        (line,) = (await muster(*unlabel, "--json", environ=environ)).lines
        assert line == {"node_id": "node-ABC12345", "labels": {"region": "eu"}}
        said = await muster("rm", "node-OLDCARD1", "node-NOBODY", *reason, environ=environ)
        assert (said.rc, said.out) == (exits.IN_PART, "node-OLDCARD1 taken off the roll.\n")
        assert said.err.startswith("node-NOBODY: no node has the id node-NOBODY\nNext:")
        said = await muster("rm", "node-OLDCARD1", *reason, "--json", environ=environ)
        assert said.rc == exits.NOT_FOUND
        assert json.loads(said.err)["node_id"] == "node-OLDCARD1"


async def test_many_are_operated_on_by_a_filter_after_being_asked(system: System) -> None:
    async with fleet(system) as environ:
        command = ("drain", "--label", "region=eu", "--gpu", "3090", "--reason", "cards")
        said = await muster(*command, "--dry-run", environ=environ)
        assert (said.rc, said.err) == (0, "")
        assert said.out.splitlines()[0] == "2 machines would be drained:"
        assert set(said.out.split()[-2:]) == {"node-DRAINED1", "node-OLDCARD1"}
        (dry,) = (await muster(*command, "--dry-run", "--json", environ=environ)).lines
        assert (dry["matched"], dry["done"]) == (2, 0)
        said = await muster(*command, environ=environ)
        assert said.rc == exits.USAGE
        assert "--yes" in said.err
        assert (await muster("nodes", "--drained", "--json", environ=environ)).out.count("\n") == 1
        said = await muster(*command, "--yes", environ=environ)
        assert (said.rc, said.out) == (0, "2 machines drained.\n")
        (done,) = (
            await muster("resume", "--drained", "--reason", "in", "-y", "--json", environ=environ)
        ).lines
        assert (done["matched"], done["done"], done["failed"]) == (2, 2, [])
        said = await muster("rm", "--gpu", "H100", "--reason", "none", environ=environ)
        assert (said.rc, said.out) == (0, "0 machines taken off the roll.\n")
        said = await muster(
            "label", "--all", "--set", "x=y", "--reason", "r", "-y", environ=environ
        )
        assert said.out == "6 machines labelled.\n"


async def test_a_drain_is_waited_for_until_the_jobs_have_ended_or_their_time_is_over(
    system: System,
) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    async with Node(system.ws) as node, Node(system.ws) as stuck:
        for machine, node_id in ((node, "node-A"), (stuck, "node-B")):
            await machine.become_ready(node_id=node_id)
            await machine.beat(resource_usage={"running_jobs": 1})
        command = ("drain", "node-A", "--reason", "fans", "--wait")
        async with reading(*command, environ=at(system)) as drain:
            assert await drain.stdout.readline() == b"node-A drained.\n"
            waiting = asyncio.ensure_future(drain.stdout.readline())
            assert not (await asyncio.wait([waiting], timeout=1.5))[0]
            await node.beat(resource_usage={"running_jobs": 0})
            assert b"may be taken away" in await asyncio.wait_for(waiting, 60)
            assert await drain.wait() == 0
        hasty = ("drain", "node-B", "--reason", "fans", "--timeout", "1", "--wait", "--json")
        said = await muster(*hasty, environ=at(system))
        assert said.rc == exits.STILL_BUSY
        assert said.lines[-1] == {
            "node_id": "node-B",
            "ended": "still runs jobs, their time is over",
        }


# Watching


async def test_what_happens_is_told_line_by_line_through_the_death_of_a_gateway(
    system: System,
) -> None:
    await system.start(gateways=2, sweepers=1, **QUIET)
    other = system.gateways[1]
    environ = at(system)
    command = ("events", "--follow", "--json", "--type", "register,operator_labels")
    async with reading(*command, environ=environ) as events:
        listening = asyncio.ensure_future(events.stdout.readline())

        async def told() -> bool:  # it does not say when it has begun to listen
            labels = {"at": str(asyncio.get_running_loop().time())}
            await system.registry.label("node-A", labels, "ann", "r")
            return bool(listening.done())

        async with Node(other.ws_url) as node:
            await node.become_ready(node_id="node-A")
            await until(told, "an event is told", every_s=0.1)
            first = json.loads(listening.result())
            assert first["node_id"] == "node-A"
            system.gateways[0].kill()
            await node.register(node_id="node-A", node_token=node.token)
            line = first
            while line["type"] != "register":
                line = json.loads(await asyncio.wait_for(events.stdout.readline(), 60))
        events.send_signal(2)
        assert await asyncio.wait_for(events.wait(), 60) == 0
    going_on = ("events", "--follow", "--after", first["cursor"], "--node", "node-A")
    async with reading(*going_on, environ=at(system)) as again:
        seen = b""
        while b"registered  at " not in seen:
            seen += await asyncio.wait_for(again.stdout.readline(), 60)
        assert b"node-A  " in seen
    said = await muster("events", "--node", "node-A", environ=at(system))
    assert "node-A  registered  at " in said.out.splitlines()[-1]
    kept = await muster("events", "--node", "node-A", "--json", environ=at(system))
    assert kept.lines[-1]["type"] == "register"
    assert {event["node_id"] for event in kept.lines} == {"node-A"}
    await system.registry.release_brake("ann", "test")
    past = await muster("events", "--json", environ=at(system))
    assert past.lines[-1]["type"] == "operator_release_brake"
    assert (await muster("events", "--json", "--since", "all", environ=at(system))).out == past.out
    place = next(
        n for n, e in enumerate(past.lines) if (e["type"], e["at"]) == (first["type"], first["at"])
    )
    later = await muster(
        "events", "--json", "--after", past.lines[place]["cursor"], environ=at(system)
    )
    assert later.lines == past.lines[place + 1 :]
    of_a = await muster("events", "--since", "10m", "--type", "operator_labels", environ=at(system))
    assert all("node-A  labelled" in line for line in of_a.out.splitlines())
    none = await muster("events", "--type", "mass_expiry", environ=at(system))
    assert (none.rc, none.out) == (0, "")
    assert "Nothing like that happened since " in none.err


async def test_events_that_are_missing_are_said_to_be(system: System) -> None:
    await system.start(gateways=1, sweepers=0, **QUIET)
    environ = at(system)
    old = str(await system.registry.event_cursor())
    system.backend.servers[0].command("FLUSHALL")
    async with reading("events", "--follow", "--after", old, environ=environ) as events:
        said = await asyncio.wait_for(events.stderr.readline(), 60)
        assert said == b"Events are missing here: the store was replaced.\n"
    async with reading("events", "-f", "--json", "--after", old, environ=environ) as events:
        line = json.loads(await asyncio.wait_for(events.stdout.readline(), 60))
        assert (line["type"], line["reason"]) == ("gap", "store_replaced")


async def test_rows_that_change_are_printed_for_programs(system: System) -> None:
    await system.start(gateways=1, sweepers=1, **QUIET)
    environ = at(system)
    async with Node(system.ws) as node:
        await node.become_ready(node_id="node-A", labels={"region": "eu"})
        command = ("nodes", "--watch", "--json", "--label", "region=eu")
        async with reading(*command, environ=environ) as watch:

            async def row() -> Any:
                return json.loads(await asyncio.wait_for(watch.stdout.readline(), 60))

            assert (await row())["node"]["status"] == "ready"
            await muster("drain", "node-A", "--reason", "r", environ=environ)
            await node.beat()
            line = await row()
            while line["node"]["reason"] != "drained":
                line = await row()
            move = ("label", "node-A", "--set", "region=us", "--reason", "r")
            await muster(*move, environ=environ)
            assert await row() == {"gone": "node-A"}
            watch.send_signal(2)
            assert await asyncio.wait_for(watch.wait(), 60) == 0
        async with reading("top", "--json", "--interval", "0.5", environ=environ) as top:
            for _ in range(2):
                figures = json.loads(await asyncio.wait_for(top.stdout.readline(), 60))
                assert figures["fleet"]["total"] == 1
                assert figures["busiest"][0]["node_id"] == "node-A"


# What is in the way


async def test_tokens_are_taken_from_the_environment_and_refusals_are_told(system: System) -> None:
    reader, stranger = new_token(), new_token()
    line = Entry("scheduler", Role.READ, digest(reader)).line()
    await system.start(gateways=1, sweepers=0, api_tokens=[line])
    for token in ({}, {"MUSTER_TOKEN": stranger}):
        said = await muster("nodes", environ=at(system) | token)
        assert (said.rc, said.out) == (exits.NOT_ALLOWED, "")
        assert "MUSTER_TOKEN" in said.err
        assert stranger not in said.err
    allowed = at(system) | {"MUSTER_TOKEN": reader}
    assert (await muster("nodes", environ=allowed)).rc == 0
    said = await muster("drain", "a", "--reason", "r", "--json", environ=allowed)
    assert said.rc == exits.NOT_ALLOWED
    assert json.loads(said.err)["problem"]["role"] == "admin"


async def test_what_the_gateway_finds_wrong_is_wrong_usage(system: System) -> None:
    await system.start(gateways=1, sweepers=0)
    said = await muster("nodes", "--status", "raedy", environ=at(system))
    assert (said.rc, said.out) == (exits.USAGE, "")
    assert "ready" in said.err
    assert "Next: give status as" in said.err
    said = await muster("select", "--kind", "nmt", environ=at(system))
    assert said.rc == exits.USAGE
    assert "src_lang" in said.err
    said = await muster("nodes", "--label", "a=b,c", "--label", "b!=d,e", environ=at(system))
    assert said.rc == 0
    said = await muster("events", "-f", "--after", "nonsense", environ=at(system))
    assert said.rc == exits.USAGE
    assert "--after" in said.err
    assert "events_cursor" in said.err
    assert "Last-Event-ID" not in said.err


async def test_a_store_that_is_away_is_told_apart_from_a_gateway_that_is(system: System) -> None:
    await system.start(gateways=1, sweepers=0, api_timeout_s=1.0, redis_timeout_s=0.5)
    store = system.backend.servers[0]
    store.pause()
    try:
        said = await muster("fleet", environ=at(system))
        examined = await muster("doctor", environ=at(system))
    finally:
        store.resume()
    assert (said.rc, said.out) == (exits.NOBODY_ANSWERS, "")
    assert "muster doctor" in said.err
    # Who asks what is wrong is told just that.
    assert (examined.rc, examined.err) == (exits.UNWELL, "")
    told = " ".join(examined.out.split())
    assert "this gateway can't ask the store: no answer within 0.5 s" in told
    system.gateways[0].kill()
    said = await muster("fleet", environ={"MUSTER_SERVER": system.gateways[0].url})
    assert said.rc == exits.NOBODY_ANSWERS
    assert "Connection refused" in said.err


async def test_https_is_spoken_and_a_distrusted_certificate_has_a_next_step(
    system: System, tmp_path: Path
) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    key, cert, root = (tmp_path / name for name in ("key.pem", "cert.pem", "root.pem"))
    made.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    authority.cert_pem.write_to_path(root)
    await system.start(sweepers=0, tls_key_file=str(key), tls_cert_file=str(cert))
    said = await muster("nodes", environ=at(system))
    assert said.rc == exits.NOBODY_ANSWERS
    assert "SSL_CERT_FILE" in said.err
    said = await muster("fleet", environ=at(system) | {"SSL_CERT_FILE": str(root)})
    assert said.rc == 0


async def test_a_reader_that_has_enough_is_no_error(system: System) -> None:
    async with fleet(system) as environ:
        for arguments in ("nodes --json", "nodes", "node node-ABC12345"):
            command = f"{sys.executable} -m muster {arguments} | head -c 1"
            process = await asyncio.create_subprocess_shell(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=around(environ),
            )
            _, err = await process.communicate()
            assert err == b""


async def test_a_terminal_that_knows_only_ascii_is_spoken_to_in_ascii(system: System) -> None:
    async with fleet(system) as environ:
        plain = environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
        for arguments in (
            ["nodes"],
            ["node", "node-DEF67890"],
            ["fleet"],
            ["select", "--tts", "x"],
        ):
            said = await typed(*arguments, environ=plain)
            assert said.rc in (0, exits.NO_NODE)
            assert (said.out + said.err).isascii()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_ids_are_completed_by_the_shell(system: System, shell: str) -> None:
    async with fleet(system) as environ:
        typed = "muster drain node-D"
        completing = environ | {
            "_MUSTER_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": typed,
            "COMP_CWORD": "2",
            "_TYPER_COMPLETE_ARGS": typed,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        code = "from muster.cli.main import app; app(prog_name='muster')"
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=around(completing),
        )
        out, err = await process.communicate()
        assert err == b""
        assert b"node-DEF67890" in out
        assert b"node-DRAINED1" in out
        assert b"node-ABC12345" not in out
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=around(completing | {"MUSTER_SERVER": "http://127.0.0.1:9"}),
        )
        out, err = await process.communicate()
        assert err == b""
        assert b"node-" not in out
