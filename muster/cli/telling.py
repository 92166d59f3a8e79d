"""One machine's story, and the answer to "why?". Pure: answers in, something rich can draw out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from muster.cli import happenings, looks
from muster.cli.looks import Column, Fitting
from muster.cli.remote import clean
from muster.client import Explanation, NodeStory
from muster.client.answers import Lack

_LABEL_WIDTH = 9
_MODELS_MOST = 8
_GPUS_MOST = 8
_EVENTS_MOST = 8


def explanation(found: Explanation, *, ascii_only: bool = False) -> RenderableType:
    """Why it is given no work; with a requirement, what it lacks."""
    status = looks.state(found.status, ascii_only=ascii_only)
    title = Text.assemble((clean(found.node_id), "bold"), "  ", status)
    title.append(f"  {clean(found.reason)} for {looks.age(found.for_ms)}")
    rows = list(_why(found))
    if found.matches is not None:
        rows.append(("fits", "yes" if found.matches else "no"))
        rows += [("", lack(one)) for one in found.lacks]
    return Group(title, _facts(rows))


def story(node: NodeStory, found: Explanation, *, ascii_only: bool = False) -> RenderableType:
    """Everything known of a node, on one screen."""
    title = Text.assemble(looks.name(node), "  ", looks.state(node.status, ascii_only=ascii_only))
    title.append(f"  {clean(node.reason)} for {looks.age(node.now - node.since)}")
    parts: list[RenderableType] = [title, _facts([*_why(found), *_facts_of(node)])]
    for heading, part in (
        ("gpus", _gpus(node)),
        ("models", _models(node)),
        ("timeline", _timeline(node, ascii_only=ascii_only)),
    ):
        if part is not None:
            parts += [Text(f"\n{heading}", looks.QUIET), part]
    return Group(*parts)


def _why(found: Explanation) -> Iterator[tuple[str, str | Text]]:
    yield "is", clean(found.summary)
    said = {found.summary}
    for point in found.why_not:
        if point.text not in said:
            said.add(point.text)
            yield "why not", clean(point.text)
    for step in found.to_do:
        yield "to do", Text(clean(step), "bold")
    if found.waits_for is not None:
        wait = clean(found.waits_for.text)
        if found.waits_for.changes_in_ms is not None:
            wait += f" ({looks.age(found.waits_for.changes_in_ms)} left)"
        yield "waits for", wait
    if found.blame is not None:
        yield "blame", clean(found.blame)


def _facts_of(node: NodeStory) -> Iterator[tuple[str, str | Text]]:
    if node.operator is not None:
        at = looks.clock(node.operator.at, node.now)
        yield "drained", f"by {clean(node.operator.who)} at {at}: {clean(node.operator.why)}"
    yield "beat", _beat(node)
    yield (
        "load",
        (
            f"{node.load} of {node.capacity} places: {looks.count(node.running_jobs, 'job')}, "
            f"{looks.count(node.holds, 'hold')}"
        ),
    )
    for hold in node.open_holds:
        yield "", f"hold {clean(hold.id or '')} for {looks.age(hold.expires - node.now)} more"
    usage = (node.report or {}).get("resource_usage") or {}
    busy = [
        f"{word} {usage[key]:g} %"
        for word, key in (("cpu", "cpu_percent"), ("gpu", "gpu_percent"), ("memory", "mem_percent"))
        if isinstance(usage.get(key), int | float)
    ]
    if busy:
        yield "busy", ", ".join(busy)
    yield "machine", _machine(node)
    connected = f"to {clean(node.gateway)}" if node.gateway else "to none"
    yield "connected", connected + (f" from {clean(node.address)}" if node.address else "")
    if node.labels:
        yield "labels", looks.pairs(node.labels)
    if node.operator_labels:
        yield "", f"of these an operator's: {looks.pairs(node.operator_labels)}"
    if node.labelled is not None:
        at = looks.clock(node.labelled.at, node.now)
        yield "", f"changed by {clean(node.labelled.who)} at {at}: {clean(node.labelled.why)}"
    features = sorted(
        name.partition(":")[2]
        for name in node.capabilities
        if name.startswith(("feature:", "advanced:"))
    )
    if features:
        yield "features", clean(", ".join(features))
    for warning in (*node.warnings, *((node.report or {}).get("report_warnings") or ())):
        yield "warning", clean(str(warning))


def _beat(node: NodeStory) -> Text:
    text = Text(f"{looks.age(node.now - node.last_heartbeat)} ago")
    if node.status != "offline" and not node.live:
        text.append(", late", "red")
    if node.verdicts:
        text.append("  ")
        for verdict in node.verdicts:
            passed = verdict.verdict == "P"
            text.append(clean(verdict.verdict), "green" if passed else "bold red")
        text.append(" newest first", looks.QUIET)
        failed = sorted({f"{v.verdict} {v.reason}" for v in node.verdicts if v.reason})
        if failed:
            text.append(clean(f" ({', '.join(failed)})"), looks.QUIET)
    return text


def _machine(node: NodeStory) -> str:
    hardware = node.registration.get("hardware") or {}
    parts = [
        clean(node.platform or ""),
        f"{hardware['cpu_cores']:g} cores" if "cpu_cores" in hardware else "",
        f"{hardware['memory_gb']:g} GiB" if "memory_gb" in hardware else "",
        f"program {clean(node.program_version)}" if node.program_version else "",
        "public" if node.public else "private",
    ]
    return ", ".join(part for part in parts if part)


def _gpus(node: NodeStory) -> Fitting | None:
    reported = {
        gpu.get("index", place): gpu
        for place, gpu in enumerate(_list((node.report or {}).get("resource_usage"), "gpus"))
    }
    rows = []
    for place, gpu in enumerate(node.gpus[:_GPUS_MOST]):
        now = reported.get(place, {})
        bad = now.get("healthy") is False
        state = Text(clean(str(now.get("reason") or "unwell")), "red") if bad else Text("")
        used = now.get("memory_used_gb")
        heat = now.get("temperature_c")
        memory = f"{gpu.memory_gb:g} GiB" if used is None else f"{used:g} of {gpu.memory_gb:g} GiB"
        rows.append(
            (str(place), clean(gpu.name), memory, "" if heat is None else f"{heat:g} °C", state)
        )
    if len(node.gpus) > _GPUS_MOST:
        rows.append(("", f"and {len(node.gpus) - _GPUS_MOST} more", "", "", Text("")))
    columns = (Column("  "), Column(""), Column("", right=True), Column("", right=True), Column(""))
    return Fitting(columns, rows, headers=False, indent=2) if rows else None


def _models(node: NodeStory) -> Fitting | None:
    models = _list(node.registration, "installed_models")
    rows = []
    for model in models[:_MODELS_MOST]:
        languages = "→".join(str(model[key]) for key in ("src_lang", "tgt_lang") if model.get(key))
        state = str(model.get("status", "ready")) if model.get("enabled", True) else "off"
        rows.append(
            (
                clean(str(model.get("model_id", ""))),
                clean(f"{model.get('kind', '')} {languages}".strip()),
                clean(str(model.get("version", ""))),
                Text(clean(state), "" if state == "ready" else "yellow"),
            )
        )
    if len(models) > _MODELS_MOST:
        rows.append((f"and {len(models) - _MODELS_MOST} more", "", "", Text("")))
    columns = (Column(""), Column(""), Column(""), Column(""))
    return Fitting(columns, rows, headers=False, indent=2) if rows else None


def _timeline(node: NodeStory, *, ascii_only: bool) -> Fitting | None:
    rows = [
        happenings.row(event, node.now, ascii_only=ascii_only, with_node=False)
        for event in node.events[:_EVENTS_MOST]
    ]
    columns = (Column(""), Column(""), Column(""))
    return Fitting(columns, rows, headers=False, indent=2) if rows else None


def lack(one: Lack) -> str:
    """`model_not_available: wanted tts:ja, has tts:en`"""
    wanted, has = _said(one.wanted), _said(one.has)
    return clean(f"{one.reason}: wanted {wanted}, has {has}")


def _said(value: Any) -> str:
    """A value of a lack as people write it."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_said(part)}" for name, part in value.items() if part is not None)
    if isinstance(value, str):
        return value or "none"
    if isinstance(value, Sequence):
        return ", ".join(map(_said, value)) or "none"
    return "none" if value is None else str(value)


def _facts(rows: Sequence[tuple[str, str | Text]]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style=looks.QUIET, min_width=_LABEL_WIDTH, no_wrap=True)
    table.add_column(overflow="fold")
    shown = ""
    for label, value in rows:
        table.add_row("" if label == shown else label, value)
        shown = label or shown
    return table


def _list(holder: Any, name: str) -> list[Mapping[str, Any]]:
    """A list of objects that a machine sent, or none if it is something else."""
    found = holder.get(name) if isinstance(holder, Mapping) else None
    return [part for part in found if isinstance(part, Mapping)] if isinstance(found, list) else []
