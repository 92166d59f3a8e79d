"""The peers' heartbeat as a picture: one bar each, a colour for each server."""

from __future__ import annotations

from typing import Any

from bench.drawing import box, page, words

_COLOURS = {"gateway": "#2f6fb3", "server": "#2f6fb3", "store": "#d08a2e", "etcd": "#7a7f87"}
_LEFT, _WIDTH, _BAR, _STEP, _TOP = 150, 520, 26, 44, 56


def drawn(found: dict[str, Any]) -> str:
    """An SVG of what `python -m bench.peers` found."""
    peers = found["peers"]
    most = max(peer["us_per_heartbeat"] for peer in peers)
    height = _TOP + _STEP * len(peers) + 44
    out = [words(12, 24, "Processor time of a heartbeat, µs", size=15, bold=True)]
    x = _LEFT
    for name, colour in (("gateway / server", _COLOURS["gateway"]), ("store", _COLOURS["store"]),
                         ("etcd", _COLOURS["etcd"])):  # fmt: skip
        out += [box(x, 34, 11, 11, colour), words(x + 16, 44, name, size=12)]
        x += 30 + 7 * len(name)
    for row, peer in enumerate(peers):
        y, at = _TOP + row * _STEP, float(_LEFT)
        out.append(words(_LEFT - 8, y + 18, peer["name"], anchor="end"))
        for kind, us in peer["us_per_heartbeat_by_server"].items():
            wide = us / most * _WIDTH
            out.append(box(at, y, wide, _BAR, _COLOURS[kind]))
            at += wide
        out.append(words(at + 6, y + 18, f"{peer['us_per_heartbeat']:.0f}"))
    out.append(
        words(
            12, height - 14,
            f"{found['when']}, {found['machine']}; {found['connections']} connections, "
            f"{found['heartbeats_per_s']:g} heartbeats a second; make bench-peers",
            size=11, colour="#555",
        )
    )  # fmt: skip
    return page(_LEFT + _WIDTH + 90, height, out, size=13)
