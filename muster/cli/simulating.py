"""`muster simulate`: a fleet that is not there, to see what a deployment can carry."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from muster.cli import exits
from muster.cli.progress import Progress
from muster.cli.remote import AsJson, refuse, split

if TYPE_CHECKING:
    from muster.simulate.run import Plan, Run
    from muster.simulate.verdict import Outcome, Verdict

_EXAMPLES = """
\b
Examples:
  muster simulate --nodes 1000
  muster simulate --nodes 20000 --rate 500 --server http://gw1:8080,http://gw2:8080 \\
      --yes-load-this-server --metrics http://gw1:8080,http://gw2:8080,http://sw1:9090 \\
      --store redis://db:6379
  muster simulate --nodes 5000 --scenario regional-loss
  muster simulate --nodes 5000 --scenario rolling --duration 300    restart gateways meanwhile
  muster simulate --nodes 500 --scenario boot-storm --json | jq .verdict.kept
"""
_HELP = (
    "Drive a fleet of simulated nodes, and say what size of deployment it needs.\n\n"
    "They connect, register, beat and come back as careful nodes do; a scenario strikes a part of "
    "them; then they unregister and leave. All carry the label simulated=true: gateways that do "
    "not listen on loopback refuse such nodes unless MUSTER_ALLOW_SIMULATED is set for them. A "
    "server on another machine is loaded only with --yes-load-this-server. A join token is taken "
    "from MUSTER_JOIN_TOKEN. Ctrl-C lets all leave, and sums up what was seen.\n\n"
    "Scenarios: steady, boot-storm (all at once), rolling (you restart gateways), gpu-loss, "
    "flapping, regional-loss, slow-clients, cloned-ids.\n\n"
    + exits.told(exits.UNWELL, exits.INTERRUPTED)
    + " Here 9 is: a promise was not kept."
)
_TELL_EVERY_S = 10.0
_SECOND_CTRL_C = 2


def add_to(app: typer.Typer) -> None:
    """Adds this verb."""
    app.command(epilog=_EXAMPLES, help=_HELP)(simulate)


def simulate(
    nodes: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many nodes.")],
    scenario: Annotated[str, typer.Option(metavar="NAME", help="What befalls them.")] = "steady",
    server: Annotated[
        list[str] | None,
        typer.Option(
            "--server", envvar="MUSTER_SERVER", metavar="URL", show_default=False,
            help="A gateway, http://127.0.0.1:8080 unless given; several: repeated, or with "
            "commas. Nodes are spread over them.",
        ),
    ] = None,
    duration: Annotated[
        float,
        typer.Option(
            min=1.0, metavar="SECONDS",
            help="How long they beat once all are ready; longer where the scenario needs it.",
        ),
    ] = 120.0,
    rate: Annotated[
        float, typer.Option(min=0.1, metavar="PER_S", help="New sockets a second in all.")
    ] = 200.0,
    interval: Annotated[
        float | None,
        typer.Option(
            min=0.2, metavar="SECONDS", show_default=False,
            help="Between beats; what the server's acks say unless given.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="A label of all of them."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, max=256, help="Processes; 0: one for 10 000 sockets.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides whom the scenario strikes.")] = 1,
    share: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=0.5, metavar="SHARE", show_default=False,
            help="How much of the fleet is struck, if not what the scenario says.",
        ),
    ] = None,
    acks: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, metavar="SHARE", help="Who asks for acks of heartbeats."),
    ] = 0.1,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics", metavar="URL", show_default=False,
            help="Gateways and sweepers whose /metrics say what they spent; the servers unless "
            "given.",
        ),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store", metavar="URL", show_default=False,
            help="A store, redis://[:password@]host:port, asked by INFO what it spent.",
        ),
    ] = None,
    join_limit: Annotated[
        float,
        typer.Option(min=1.0, metavar="SECONDS", help="How long they may take to be ready."),
    ] = 600.0,
    slowest_beat: Annotated[
        float,
        typer.Option(
            min=0.1, metavar="MS", help="What a beat may take to be in the store, at p99."
        ),
    ] = 100.0,
    abandon: Annotated[
        bool,
        typer.Option("--abandon", help="Cut the sockets at the end, without unregistering."),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes-load-this-server", help="It may be on another machine."),
    ] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    from muster.simulate.order import OrderError, Server
    from muster.simulate.run import Plan
    from muster.simulate.scenarios import SCENARIOS

    if scenario not in SCENARIOS:
        refuse(f"--scenario is one of {', '.join(SCENARIOS)}, not {scenario}")
    try:
        servers = tuple(Server.of(url) for url in split(server) or ["http://127.0.0.1:8080"])
    except OrderError as error:
        refuse(f"--server: {error}")
    far = [each.url for each in servers if not _is_local(each.host)]
    if far and not yes:
        refuse(
            f"{far[0]} is not on this machine, and {nodes} nodes may be more than it carries. "
            "If it is yours to load: --yes-load-this-server"
        )
    plan = Plan(
        servers=servers,
        scenario=scenario,
        nodes=nodes,
        duration_s=duration,
        join_s=join_limit,
        per_s=rate,
        processes=processes,
        seed=seed,
        interval_s=interval,
        labels=_labels(label),
        join_token=os.environ.get("MUSTER_JOIN_TOKEN", "").strip() or None,
        acks=acks,
        share=share,
        metrics=tuple(split(metrics)),
        stores=tuple(split(store)),
        slowest_beat_s=slowest_beat / 1000.0,
        unregister=not abandon,
    )
    _need_descriptors(plan)
    _need_somebody(servers)
    try:
        outcome = asyncio.run(_run(plan))
    except OrderError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(exits.FAILED) from None
    _tell(outcome, plan, as_json=as_json)


def _tell(outcome: Outcome, plan: Plan, *, as_json: bool) -> None:
    from muster.simulate.verdict import judged

    verdict = judged(outcome)
    if as_json:
        typer.echo(json.dumps(document(outcome, verdict, plan), ensure_ascii=False))
    else:
        typer.echo(_text(outcome, verdict, plan))
    if outcome.interrupted:
        raise typer.Exit(exits.INTERRUPTED)
    if not verdict.kept:
        raise typer.Exit(exits.UNWELL)


async def _run(plan: Plan) -> Outcome:
    from muster.simulate.run import Run

    progress = Progress("starting …")
    last = [time.monotonic()]
    drawn = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def tell(line: str) -> None:
        progress.text = line
        if not drawn and time.monotonic() - last[0] > _TELL_EVERY_S:
            last[0] = time.monotonic()
            typer.echo(line, err=True)

    run = Run(plan, tell)
    _stop_on_signals(run)
    with progress.shown():
        return await run.outcome()


def _stop_on_signals(run: Run) -> None:
    loop = asyncio.get_running_loop()
    heard = [0]

    def on_signal() -> None:
        heard[0] += 1
        run.stop()
        if heard[0] >= _SECOND_CTRL_C:
            os._exit(exits.INTERRUPTED)  # its processes end when their input closes

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)


def document(outcome: Outcome, verdict: Verdict, plan: Plan) -> dict[str, Any]:
    """Everything a run found, for programs."""
    book = outcome.book
    return {
        "scenario": plan.scenario,
        "nodes": plan.nodes,
        "seed": plan.seed,
        "processes": plan.number_of_processes,
        "servers": [server.url for server in plan.servers],
        "interval_s": plan.interval_s or book.interval_ms / 1000.0,
        "timeout_s": book.timeout_ms / 1000.0,
        "registered_after_s": outcome.registered_after_s,
        "ready_after_s": outcome.ready_after_s,
        "held_s": round(outcome.held_s, 1),
        "interrupted": outcome.interrupted,
        "counts": dict(sorted(book.counts.items())),
        "at_the_end": dict(sorted(book.now.items())),
        "seconds": {what: spread.shown() for what, spread in sorted(book.spreads.items())},
        "spent": [
            {
                "kind": spent.kind,
                "cores": round(spent.cores, 4),
                "memory_bytes": int(spent.memory),
                "sockets": int(spent.sockets),
                "beats": int(spent.beats),
            }
            for spent in outcome.holding
        ],
        "first_error": book.first_error or None,
        "verdict": verdict.as_dict(),
    }


def _text(outcome: Outcome, verdict: Verdict, plan: Plan) -> str:
    book = outcome.book
    lines = [
        f"{plan.scenario}, {plan.nodes} nodes, {plan.number_of_processes} "
        f"process{'es' if plan.number_of_processes > 1 else ''}, held for {outcome.held_s:.0f} s"
        + (", ended early" if outcome.interrupted else ""),
        "",
    ]
    wide = max((len(f.what) for f in verdict.findings), default=0)
    for finding in verdict.findings:
        mark = "kept  " if finding.kept else "BROKEN"
        lines.append(f"  {mark}  {finding.what.ljust(wide)}  {finding.found}")
    if book.first_error:
        lines += ["", f"The first thing that went wrong: {book.first_error}"]
    lines += ["", "Seen:"]
    lines += [f"  {what}: {number}" for what, number in sorted(book.counts.items()) if number]
    lines += ["", "Seconds (number, p50, p99, most):"]
    for what, spread in sorted(book.spreads.items()):
        p50, p99 = spread.quantile(0.5) or 0.0, spread.quantile(0.99) or 0.0
        lines.append(f"  {what}: {spread.count}, {p50:.3f}, {p99:.3f}, {spread.greatest:.3f}")
    lines += ["", "Size:"]
    lines += [f"  {line}" for line in verdict.sizing]
    lines += [f"  not measured: {line}" for line in verdict.missing]
    return "\n".join(lines)


def _labels(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            refuse(f"--label is NAME=VALUE, not {text}")
        found[name] = value
    return found


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _need_descriptors(plan: Plan) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = -(-plan.nodes // plan.number_of_processes)
    if most != resource.RLIM_INFINITY and each + 100 > most:
        refuse(
            f"A process may open {most} files here, and each would hold {each} sockets: "
            f"--processes {-(-plan.nodes // max(1, most - 100))} or more"
        )


def _need_somebody(servers: tuple[Any, ...]) -> None:
    """Ends the command if not one server answers: a run against nobody would only wait."""
    trouble = ""
    for server in servers:
        try:
            socket.create_connection((server.host, server.port), 5).close()
        except OSError as error:
            trouble = trouble or f"{server.url}: {error}"
        else:
            return
    typer.echo(
        f"{trouble}\nNext: see that a gateway runs there (`muster up` starts one here), or name "
        "another with --server.",
        err=True,
    )
    raise typer.Exit(exits.NOBODY_ANSWERS)
