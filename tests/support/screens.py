"""Draws the pictures of what `muster` shows in docs/: `python -m tests.support.screens`.

The same code draws them as draws the screens; what is shown is always the same, so a picture
changes only when a screen does. A directory may be given instead of docs/.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from muster.cli import looks, roll, telling, topping
from muster.client import Event, Explanation, Fleet, Node, NodeStory
from tests.support.pictures import DOCS, NOW, as_picture

AT = int(NOW * 1000) + 12 * 3_600_000
COLUMNS = 100
GPU = {"name": "RTX 4090", "memory_gb": 24}


def node(node_id: str, status: str, reason: str, minutes: float, **more: Any) -> Node:
    """A machine that took this status so long ago."""
    plain: dict[str, Any] = {
        "node_id": node_id,
        "status": status,
        "reason": reason,
        "live": status != "offline",
        "since": AT - int(minutes * 60_000),
        "last_heartbeat": AT - 4000,
        "gateway": "gw-1",
        "program_version": "1.0.0",
        "platform": "linux",
        "capacity": 2,
        "gpus": [GPU],
        "labels": {"region": "eu"},
    }
    return msgspec.convert(plain | more, Node)


L40S = {"name": "L40S", "memory_gb": 48}
THREE_DAYS = 3 * 24 * 60
NODES = (
    node("node-DEF67890", "ready", "healthy", 47 * 60, load=2, gpus=[L40S, L40S], capacity=4),
    node("node-ABC12345", "ready", "healthy", 12, load=1),
    node("node-7Q2M0XK4", "degraded", "gpu_unavailable", 3, capacity=0),
    node("node-DRAINED1", "draining", "drained", 95, operator={"who": "ann", "why": "new fans"}),
    node("node-NEWCOMER", "registering", "registered", 0.3),
    node(
        "node-OLDCARD1",
        "offline",
        "heartbeat_timeout",
        THREE_DAYS,
        last_heartbeat=AT - THREE_DAYS * 60_000,
    ),
    node("node-PRETENDS", "ready", "healthy", 5, labels={"simulated": "true", "region": "us"}),
)


def event(seconds: float, node_id: str, **more: Any) -> Event:
    """What happened so long ago."""
    data = {"type": "transition", "node_id": node_id, "at": AT - int(seconds * 1000)} | more
    return msgspec.convert(data | {"data": data}, Event)


EVENTS = (
    event(9, "node-NEWCOMER", type="register", to="registering", gateway="gw-1"),
    event(180, "node-7Q2M0XK4", **{"from": "ready", "to": "degraded", "reason": "gpu_unavailable"}),
    event(300, "node-PRETENDS", **{"from": "registering", "to": "ready", "reason": "healthy"}),
    event(5700, "node-DRAINED1", type="operator_drain", who="ann", why="new fans"),
)
"""The newest first."""

FLEET = msgspec.convert(
    {
        "now": AT,
        "total": 1213,
        "status": {"registering": 4, "ready": 1158, "degraded": 17, "draining": 22, "offline": 12},
        "selectable": 1156,
        "examined": 1213,
        "gateways": 3,
        "sweepers": 2,
        "watch": {"partitions": 64, "watched": 64, "stalest_ms": 210},
    },
    Fleet,
)


def story() -> tuple[NodeStory, Explanation]:
    """A machine of which one card fell off the bus, and the other is too hot."""
    base = msgspec.to_builtins(NODES[2])
    languages = {"src_lang": "zh", "tgt_lang": "en"}
    models = [
        {"model_id": "asr-zh-large", "kind": "asr", "version": "3.1.0", "src_lang": "zh"},
        {"model_id": "nmt-zh-en", "kind": "nmt", "version": "1.4.0", **languages},
        {"model_id": "nmt-en-zh", "kind": "nmt", "version": "1.4.0", "status": "downloading"},
    ]
    lost = {"index": 0, "healthy": False, "reason": "gpu_lost"}
    hot = {"index": 1, "healthy": False, "reason": "overheated"}
    cards = [lost, hot | {"memory_used_gb": 9.5, "temperature_c": 93}]
    more: dict[str, Any] = {
        "gpus": [GPU, GPU],
        "now": AT,
        "address": "192.0.2.17",
        "registration": {
            "hardware": {"cpu_cores": 16, "memory_gb": 64},
            "installed_models": models,
        },
        "report": {"resource_usage": {"cpu_percent": 7.5, "mem_percent": 31, "gpus": cards}},
        "capabilities": ["feature:emotion_detection", "advanced:batched_inference"],
        "labels": {"region": "eu", "tier": "gold"},
        "operator_labels": {"tier": "gold"},
        "labelled": {"who": "ann", "why": "fast cards", "at": AT - 90 * 60_000},
        "verdicts": [
            {"at": AT, "verdict": letter, "reason": {"g": "gpu_unavailable"}.get(letter)}
            for letter in "ggggggggggggPPPPPPPP"
        ],
        "events": [event.data for event in EVENTS if event.node_id == "node-7Q2M0XK4"]
        + [
            event(720, "", **{"from": "registering", "to": "ready", "reason": "healthy"}).data,
            event(765, "", type="register", gateway="gw-1").data,
        ],
    }
    found = {
        "node_id": "node-7Q2M0XK4",
        "status": "degraded",
        "reason": "gpu_unavailable",
        "summary": "degraded: no GPU is usable; check the driver and the card",
        "to_do": [
            "run nvidia-smi, check the driver and the card; the node then recovers by itself"
        ],
        "waits_for": {"what": "good_heartbeats", "text": "one good heartbeat"},
    }
    return msgspec.convert(base | more, NodeStory), msgspec.convert(found, Explanation)


def pictures() -> dict[str, tuple[str, RenderableType]]:
    """By file name, the command and what it shows."""
    table = Group(roll.table(NODES, AT), Text(roll.summary(NODES), looks.QUIET))
    busiest = sorted(NODES, key=lambda node: -node.load)
    return {
        "cli-nodes": ("muster nodes", table),
        "cli-node": ("muster node node-7Q2M0XK4", telling.story(*story())),
        "cli-top": ("muster top", topping.picture(FLEET, busiest, EVENTS, "")),
    }


def main(directory: Path) -> None:
    """Writes the pictures."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    for name, (title, shown) in pictures().items():
        picture = as_picture(shown, title, name, COLUMNS)
        (directory / f"{name}.svg").write_text(picture, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else DOCS)
