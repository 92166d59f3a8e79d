"""The peers' heartbeat as a picture: one bar each, a colour for each server."""

from __future__ import annotations

from html import escape
from typing import Any

_COLOURS = {"gateway": "#2f6fb3", "server": "#2f6fb3", "store": "#d08a2e", "etcd": "#7a7f87"}
_LEFT, _WIDTH, _BAR, _STEP, _TOP = 150, 520, 26, 44, 56


def drawn(found: dict[str, Any]) -> str:
    """An SVG of what `python -m bench.peers` found."""
    peers = found["peers"]
    most = max(peer["us_per_heartbeat"] for peer in peers)
    height = _TOP + _STEP * len(peers) + 44
    width = _LEFT + _WIDTH + 90
    title = "Processor time of a heartbeat, µs"
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="13">'
        ),
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{title}</text>',
    ]
    x = _LEFT
    for name, colour in (("gateway / server", _COLOURS["gateway"]), ("store", _COLOURS["store"]),
                         ("etcd", _COLOURS["etcd"])):  # fmt: skip
        out.append(f'<rect x="{x}" y="34" width="11" height="11" fill="{colour}"/>')
        out.append(f'<text x="{x + 16}" y="44" font-size="12">{name}</text>')
        x += 30 + 7 * len(name)
    for row, peer in enumerate(peers):
        y = _TOP + row * _STEP
        out.append(
            f'<text x="{_LEFT - 8}" y="{y + 18}" text-anchor="end">{escape(peer["name"])}</text>'
        )
        at = float(_LEFT)
        for kind, us in peer["us_per_heartbeat_by_server"].items():
            wide = us / most * _WIDTH
            out.append(
                f'<rect x="{at:.1f}" y="{y}" width="{wide:.1f}" height="{_BAR}" '
                f'fill="{_COLOURS[kind]}"/>'
            )
            at += wide
        out.append(f'<text x="{at + 6:.1f}" y="{y + 18}">{peer["us_per_heartbeat"]:.0f}</text>')
    out.append(
        f'<text x="12" y="{height - 14}" font-size="11" fill="#555555">{escape(found["when"])}, '
        f"{escape(found['machine'])}; {found['connections']} connections, "
        f"{found['heartbeats_per_s']:g} heartbeats a second; make bench-peers</text>"
    )
    return "\n".join([*out, "</svg>"]) + "\n"
