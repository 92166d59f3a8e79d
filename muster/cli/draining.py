"""`muster drain … --wait`: until the jobs have ended, or their time is over."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import typer

from muster.cli import exits, looks
from muster.cli.progress import Progress
from muster.cli.remote import as_line, asking, clean
from muster.client import Client, Node

_LOOK_S = 1.0
_PATIENCE_S = 60.0
"""A gateway that restarts meanwhile is waited for, too."""
_IDS_MOST = 100


def wait(node_ids: Sequence[str], servers: Sequence[str] | None, *, as_json: bool) -> None:
    """Says of each machine how its drain ended; ends the command if one still runs jobs."""
    waiting = set(node_ids)
    busy = False
    progress = Progress("Waiting for jobs to end …")
    with asking(servers, as_json=as_json, patience_s=_PATIENCE_S, progress=progress) as muster:
        while waiting:
            seen = {node.node_id: node for node in _look(muster, sorted(waiting))}
            for node_id in sorted(waiting):
                ending = _ending(seen.get(node_id))
                if ending is not None:
                    waiting.discard(node_id)
                    busy = busy or ending == _STILL_BUSY
                    line = {"node_id": node_id, "ended": ending}
                    progress.say(as_line(line) if as_json else f"{clean(node_id)} {ending}.")
            if waiting:
                progress.text = _left([seen[node_id] for node_id in waiting])
                time.sleep(_LOOK_S)
    if busy:
        raise typer.Exit(exits.STILL_BUSY)


_STILL_BUSY = "still runs jobs, their time is over"


def _ending(node: Node | None) -> str | None:
    """How its drain ended; None while it goes on."""
    if node is None:
        return "is not on the roll any more"
    if node.status == "offline":
        return "is offline"
    if node.operator is None:
        return "was resumed by somebody"
    if node.reason == "drain_timeout":
        return _STILL_BUSY
    return "has no jobs any more and may be taken away" if node.reason == "drained" else None


def _look(muster: Client, node_ids: Sequence[str]) -> Iterator[Node]:
    for start in range(0, len(node_ids), _IDS_MOST):
        yield from muster.nodes(ids=node_ids[start : start + _IDS_MOST])


def _left(nodes: Sequence[Node]) -> str:
    jobs = sum(node.running_jobs for node in nodes)
    holds = sum(node.holds for node in nodes)
    of = nodes[0].node_id if len(nodes) == 1 else f"{len(nodes)} machines"
    return clean(f"{of}: {looks.count(jobs, 'job')} and {looks.count(holds, 'hold')} left …")
