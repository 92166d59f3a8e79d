"""`python -m bench.document`: writes the last measurements into the documents that speak of them.

Each place is a pair of comments, `<!-- measured: NAME -->` and `<!-- end -->`; what stands between
them is made from the last outputs kept in `bench/`, and never by hand. `--check` writes nothing and
fails if a document says something else (the suite does so). The pictures of the same outputs are
drawn with them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import history
from bench.booted import pairs
from bench.peers import plot
from bench.scale import growth

_ROOT = Path(__file__).resolve().parents[1]
_BENCH = _ROOT / "bench"
_DOCS = ("docs/benchmarks.md", "docs/operations.md", "docs/scale.md")
_PLACE = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_INTERVAL_S = 15.0
_FULL = 0.6
"""No process is planned beyond this part of a core."""
_IN_TIME_S = 0.1
"""Within this a heartbeat is in the store, p99."""
_RUNS_MOST = 12
_REACHED = {True: "reached", False: "**not reached**", None: ""}
_GIB = 2**30


def _read(name: str) -> Any:
    return json.loads((_BENCH / name).read_text(encoding="utf-8"))


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 1000 else f"{value:.3g}"


def _run(found: dict[str, Any]) -> str:
    before = found.get("load_average_before", found.get("load_average_at_the_end"))
    when = "before it" if "load_average_before" in found else "at its end"
    return (
        f"{found['when']}, {found['machine']}, {found['duration_s']:.0f} s, load average "
        f"{before:.1f} {when}"
    )


def _row(what: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = _read("last.json")["rows"]
    return next(row for row in rows if row["what"] == what)


def rows() -> str:
    """What `make bench` measured last."""
    found = _read("last.json")
    table = _table(
        ["what", "measured", "floor, same run", "ratio", "target", ""],
        [
            [
                f"{row['what']}, {row['unit']}",
                _number(row["measured"]),
                "" if row["floor"] is None else _number(row["floor"]),
                "" if row["ratio"] is None else f"{row['ratio']:.2f}",
                "" if row["target"] is None else _number(row["target"]),
                _REACHED[row["reached"]],
            ]
            for row in found["rows"]
        ],
    )
    return f"{_run(found)}.\n\n{table}"


def boot() -> str:
    """How a whole fleet booted in the last `make bench`."""
    found = _read("last.json")
    if not found.get("boot"):
        return f"{_run(found)}: it did not boot a fleet yet; `make bench` does.\n"
    table = _table(["a fleet boots", ""], [list(pair) for pair in pairs(found["boot"])])
    return f"{_run(found)}.\n\n{table}"


def runs() -> str:
    """The runs of `make bench` that the picture of them shows."""
    found = history.read()
    table = _table(
        ["run", "commit", "machine", "load average before it"],
        [
            [run.when, run.commit, run.machine, f"{run.load_average_before:.1f}"]
            for run in found[-_RUNS_MOST:]
        ],
    )
    older = len(found) - _RUNS_MOST
    return table + (f"\nand {older} before.\n" if older > 0 else "")


def peers() -> str:
    """What `make bench-peers` measured last."""
    found = _read("peers/last.json")
    ours = found["peers"][0]

    def shares(by_server: dict[str, float]) -> str:
        return ", ".join(f"{kind} {us:.0f}" for kind, us in by_server.items())

    table = _table(
        ["processor time, µs", "a heartbeat", "of it", "ours is", "connect and register",
         "ours is", "what it does for that"],
        [
            [
                peer["name"],
                f"{peer['us_per_heartbeat']:.0f}",
                shares(peer["us_per_heartbeat_by_server"]),
                f"{ours['us_per_heartbeat'] / peer['us_per_heartbeat']:.2f} ×",
                f"{peer['us_per_registration']:.0f}",
                f"{ours['us_per_registration'] / peer['us_per_registration']:.2f} ×",
                peer["does"],
            ]
            for peer in found["peers"]
        ],
    )  # fmt: skip
    return (
        f"{_run(found)}; {found['connections']} connections, "
        f"{_number(found['heartbeats_per_s'])} heartbeats a second, medians.\n\n{table}"
    )


def sizing() -> str:
    """What one machine of the fleet costs, from `make bench`."""
    found = _read("last.json")
    store, gateway = _row("store CPU per heartbeat"), _row("gateway CPU per heartbeat")
    socket = _row("gateway memory per idle registered socket")
    node, enrol = (
        _row("store memory per node"), _row("gateway CPU per connect and registration")
    )  # fmt: skip

    def cores(us: float, nodes: int) -> str:
        return f"{us * nodes / _INTERVAL_S / 1e4:.2g} % of a core"

    def memory(size: float, nodes: int) -> str:
        return f"{size * nodes / 1e9:.2g} GB"

    def line(what: str, measured: str, of: Callable[[int], str]) -> list[str]:
        return [what, measured, of(10_000), of(100_000)]

    us_store, us_gateway, us_enrol = store["measured"], gateway["measured"], enrol["measured"]
    table = _table(
        ["", "measured", "for 10 000 machines", "for 100 000"],
        [
            line("store CPU", f"{us_store:.1f} µs a heartbeat", lambda n: cores(us_store, n)),
            line("gateway CPU, all gateways together", f"{us_gateway:.1f} µs a heartbeat",
                 lambda n: cores(us_gateway, n)),
            line("gateway memory", f"{_number(socket['measured'])} bytes a socket",
                 lambda n: memory(socket["measured"], n)),
            line("store memory", f"{_number(node['measured'])} bytes a machine",
                 lambda n: memory(node["measured"], n)),
            line("everybody registers again, gateway CPU", f"{_number(us_enrol)} µs each",
                 lambda n: f"{us_enrol * n / 1e6:.3g} s of a core"),
        ],
    )  # fmt: skip
    return f"Measured by `make bench` ({_run(found)}):\n\n{table}"


def _socket_runs() -> list[dict[str, Any]]:
    runs = [json.loads(p.read_text()) for p in (_BENCH / "scale/last").glob("sockets-*.json")]
    return sorted(runs, key=lambda run: (int(run["nodes"]), run["when"]))


def _promises(run: dict[str, Any]) -> str:
    broken = [f for f in run["verdict"]["findings"] if not f["kept"]]
    if not broken:
        return "every promise kept"
    said = [f"{f['what']}: {f['found']}" for f in broken] + run.get("sweepers_blame", [])
    return "**broken:** " + "; ".join(said)


def _milliseconds(seconds: float | None) -> str:
    return "beyond the last bucket" if seconds is None else f"{seconds * 1000:.0f} ms"


def sockets() -> str:
    """The runs of `python -m bench.scale.sockets` that are kept, side by side."""
    runs = _socket_runs()

    def finding(run: dict[str, Any], what: str) -> str:
        return next((f["found"] for f in run["verdict"]["findings"] if f["what"] == what), "—")

    def waits(run: dict[str, Any]) -> str:
        found = run["quiet"]["beat_to_store_at_most_s"]
        return " / ".join(_milliseconds(found[q]) for q in ("p50", "p99", "p99.9"))

    def late(run: dict[str, Any]) -> str:
        found = run["seconds"].get("offline after the time-out")
        if found is None:
            return "—"
        return " / ".join(_milliseconds(found[q]) for q in ("p50", "p99", "max"))

    def ready(run: dict[str, Any]) -> str:
        found = run["seconds"]["third beat to ready"]
        return " / ".join(f"{_number(found[q] * 1000)} ms" for q in ("p50", "p99", "max"))

    def killed(run: dict[str, Any]) -> str:
        found = run["gateway_killed"]
        back = found["all_ready_again_after_s"]
        return f"{found['nodes_on_it']}: " + (
            "**not all in the time**" if back is None else f"{back:g} s"
        )

    def unobserved(run: dict[str, Any]) -> str:
        said = run.get("sweepers_said", {}).get("before the kill")
        if said is None:
            return "—"
        return f"{said['unobserved_s']:.1f} s, {said['held_back_by_the_brake']:.0f} held back"

    def by_kind(run: dict[str, Any], of: str, form: str) -> str:
        found = run["quiet"][of]
        return " / ".join(format(found[k], form) for k in ("gateway", "store", "sweeper"))

    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("run", lambda r: f"{r['when']}, {r['duration_s']:.0f} s"),
        ("machine", lambda r: r["machine"]),
        ("all registered / all ready after", lambda r:
            f"{r['registered_after_s']:.0f} s / {r['ready_after_s']:.0f} s"),
        ("third heartbeat to ready: p50 / p99 / most", ready),
        ("heartbeats", lambda r: _number(r["counts"]["beats"])),
        ("falsely offline / falsely degraded", lambda r:
            f"{finding(r, 'falsely offline')} / {finding(r, 'falsely degraded')}"),
        ("beat to store while nothing happens, at most: p50 / p99 / p99.9", waits),
        ("1 % silenced: called offline", lambda r: finding(r, "silent nodes called offline")),
        ("told so after their 45 s: p50 / p99 / most", late),
        ("unobserved time by then, brake", unobserved),
        ("a gateway killed, its nodes all ready again after", killed),
        ("ready at the end", lambda r: finding(r, "ready at the end")),
        ("cores: gateways / store / sweepers", lambda r: by_kind(r, "cores", ".2f")),
        ("µs a beat, all that they do included", lambda r: by_kind(r, "us_per_beat", ".0f")),
        ("memory of all gateways, a socket", lambda r:
            f"{r['resident_bytes']['gateway'] / r['nodes'] / 1024:.0f} KiB"),
        ("load average while nothing happens", lambda r: f"{r['quiet']['load_average']:.1f}"),
        ("promises", _promises),
    ]  # fmt: skip
    heads = ["", *(f"{_number(run['nodes'])} sockets" for run in runs)]
    return _table(heads, [[what, *(of(run) for run in runs)] for what, of in lines])


def _carried() -> dict[str, Any]:
    """The largest run in whose quiet part beats were in time, and that called nobody falsely; of
    several the newest. Sizes rest on that part alone."""

    def carried(run: dict[str, Any]) -> bool:
        falsely = [f for f in run["verdict"]["findings"] if f["what"].startswith("falsely")]
        p99 = run["quiet"]["beat_to_store_at_most_s"]["p99"]
        return all(f["kept"] for f in falsely) and p99 is not None and p99 <= _IN_TIME_S

    return [run for run in _socket_runs() if carried(run)][-1]


def sizes() -> str:
    """What larger fleets would need: straight lines from what was measured."""
    run = _carried()
    us = run["quiet"]["us_per_beat"]
    socket = run["resident_bytes"]["gateway"] / run["nodes"]
    node = _row("store memory per node")["measured"]
    made = []
    for nodes in (50_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000):
        beats = nodes / _INTERVAL_S

        def needs(kind: str, beats: float = beats) -> int:
            return max(1, math.ceil(beats * us[kind] / 1e6 / _FULL))

        made.append([
            _number(nodes), _number(beats), str(needs("gateway")),
            f"{nodes * socket / _GIB:.1f} GiB", str(needs("store")),
            f"{nodes * node / _GIB:.1f} GiB", str(max(2, needs("sweeper"))),
        ])  # fmt: skip
    table = _table(
        ["nodes", "beats a second", "gateways (cores)", "their memory", "primaries (cores)",
         "store memory", "sweepers"],
        made,
    )  # fmt: skip
    spent = ", ".join(
        f"{us[kind]:.0f} µs of {name} a beat"
        for kind, name in (("gateway", "gateways"), ("store", "store"), ("sweeper", "sweepers"))
    )
    return (
        f"Straight lines from the quiet part of the run with {_number(run['nodes'])} sockets of "
        f"{run['when']} ({spent}, "
        f"{socket / 1024:.0f} KiB a socket) and {_number(node)} bytes of store a node, a beat "
        "every 15 s, no process beyond 60 % of a core. What each process does anyway is in it, "
        f"and weighs more in a small fleet than in a large one: upper bounds.\n\n{table}"
    )


def store() -> str:
    """What `python -m bench.scale.store` measured last, in a Cluster."""
    found = _read("scale/last/store.json")

    def spent(at: dict[str, Any], what: str) -> str:
        if what not in at:
            return "—"
        return f"{at[what]['sweeper_us_a_node']:.0f} / {at[what]['store_us_a_node']:.0f}"

    heads = ["", *(f"{_number(at['nodes'])} nodes" for at in found["sizes"])]
    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("store, bytes a node", lambda at: _number(at["bytes_a_node"])),
        ("store, µs a beat", lambda at: f"{at['store_us_a_beat']:.0f}"),
        ("store / sweeper, µs to enrol a node and make it ready", lambda at:
            f"{at['growing']['store_us_a_node']:.0f} / {at['growing']['sweeper_us_a_node']:.0f}"),
        ("select, a tenth fits: p50 / p99", lambda at:
            f"{at['select_a_tenth']['p50_ms']:.1f} / {at['select_a_tenth']['p99_ms']:.1f} ms"),
        ("select, 1 of 10 000 fits: p50 / p99", lambda at:
            f"{at['select_one_in_10000']['p50_ms']:.1f} / "
            f"{at['select_one_in_10000']['p99_ms']:.1f} ms"),
        ("page of 100 nodes, p50", lambda at: f"{at['list_page_of_100']['p50_ms']:.0f} ms"),
        ("overview, p50", lambda at: f"{at['overview']['p50_ms']:.0f} ms"),
        ("at rest: sweeper / store, cores", lambda at:
            f"{at['at_rest']['sweeper_cores']:.3f} / {at['at_rest']['store_cores']:.3f}"),
        ("an alarm of a living node: sweeper / store, µs", lambda at: spent(at, "alarms")),
        ("a node that fell silent: sweeper / store, µs", lambda at: spent(at, "fallen_silent")),
        ("events kept", lambda at: f"{at['events_kept']:,}".replace(",", " ")),
        ("longest command", lambda at:
            f"{max(c['longest_ms'] for c in at['slowest_commands']):.0f} ms"),
    ]  # fmt: skip
    table = _table(heads, [[what, *(of(at) for at in found["sizes"])] for what, of in lines])
    return f"{found['primaries']} primaries, {_run(found)}.\n\n{table}"


def beats() -> str:
    """What `python -m bench.scale.beats` measured last."""
    if not (_BENCH / "scale/last/beats.json").exists():
        return "Not measured yet.\n"
    found = _read("scale/last/beats.json")

    def cost(of: str) -> Callable[[dict[str, Any]], str]:
        return lambda at: f"{at[of]['us']:.1f} ({at[of]['in_scripts_us']:.1f})"

    heads = ["store, µs", *(f"{_number(at['nodes'])} nodes" for at in found["sizes"])]
    lines: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("a beat of the same 1 000 nodes (of it in the script)", cost("beat_of_few")),
        ("a beat of nodes drawn from all", cost("beat_of_all")),
        ("bare `SET PX`: the same 1 000 / drawn from all", lambda at:
            f"{at['set_of_few']['us']:.1f} / {at['set_of_all']['us']:.1f}"),
        ("at rest, cores", lambda at: f"{at['at_rest_cores']:.4f}"),
    ]  # fmt: skip
    table = _table(heads, [[what, *(of(at) for at in found["sizes"])] for what, of in lines])
    return (
        f"{_run(found)}; {_number(found['beats_per_s'])} beats a second, {found['batch']} a "
        f"call.\n\n{table}"
    )


_MADE: dict[str, Callable[[], str]] = {
    "rows": rows, "peers": peers, "sizing": sizing, "sockets": sockets, "sizes": sizes,
    "store": store, "boot": boot, "runs": runs, "beats": beats,
}  # fmt: skip


def filled(text: str) -> str:
    """The document with its places filled in."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{_MADE[place[2]]()}\n{place[3]}", text)


_DRAWN: dict[str, Callable[[], str]] = {
    "docs/benchmarks-history.svg": lambda: history.drawn(history.read()),
    "docs/scale-growth.svg": lambda: growth.drawn(
        _read("scale/last/store.json"), _read("scale/last/series.json")
    ),
    "bench/peers/last.svg": lambda: plot.drawn(_read("peers/last.json")),
}


def main() -> int:
    """0: written, or all as it should be; 1: `--check` found a document that says other figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.document", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    stale = False
    for name in (*_DOCS, *_DRAWN):
        path = _ROOT / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        new = _DRAWN[name]() if name in _DRAWN else filled(text)
        if new == text:
            continue
        stale = True
        print(f"{name}: {'says other figures' if check else 'written'}")
        if not check:
            path.write_text(new, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
