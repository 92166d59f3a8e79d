"""The pages' scripts that need no browser, run by Node.js: whose fault a machine's time was, what a
job needs in its three forms, what is known of the fleet, what stands above the pages."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.pages.files import everything
from tests.support.foreign import missing

HOUR = 3_600_000
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts as a package of modules."""
    here = tmp_path_factory.mktemp("scripts")
    for name, file in everything().items():
        (here / name).write_bytes(file.content)
    (here / "package.json").write_text('{"type": "module"}')
    # What the modules ask of a browser when they are loaded.
    (here / "browser.js").write_text("globalThis.navigator ??= { language: 'en' };")
    return here


def run(scripts: Path, imports: str, expression: str, **given: Any) -> Any:
    """The value of an expression in JavaScript, with what was given under its names."""
    names = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    value = f"console.log(JSON.stringify({expression}));"
    program = f"import './browser.js';\n{imports}\n{names}{value}"
    (scripts / "run.js").write_text(program)
    node = shutil.which("node")
    if node is None:
        missing("Node.js")
        raise AssertionError
    done = subprocess.run(
        [node, "run.js"], cwd=scripts, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def transition(at: int, before: str, after: str, reason: str, **more: Any) -> dict[str, Any]:
    facts = {"since": more.pop("since", 0), "reason": more.pop("was", "healthy")}
    return {
        "type": "transition", "at": at, "from": before, "to": after, "reason": reason,
        "version": at, "evidence": {"facts": facts, **more},
    }  # fmt: skip


def uptime(
    scripts: Path,
    row: dict[str, Any],
    events: list[dict[str, Any]],
    outages: list[dict[str, Any]] | None = None,
    blame: str | None = None,
) -> list[tuple[str, float, float]]:
    """A day's parts as (kind, hours from, hours to)."""
    found = run(
        scripts,
        'import { brief, outage, parts } from "./uptime.js";',
        f"parts(row, events.map(brief).filter(Boolean), gaps.map(outage).filter(Boolean), 0, {DAY},"
        " blame)",
        row=row, events=events, gaps=outages or [], blame=blame,
    )  # fmt: skip
    return [(part["kind"], part["from"] / HOUR, part["to"] / HOUR) for part in found]


READY = {"status": "ready", "reason": "healthy", "since": 0}


def test_what_was_before_the_first_event_is_in_its_evidence(scripts: Path) -> None:
    fell = transition(10 * HOUR, "ready", "degraded", "gpu_unavailable", since=4 * HOUR)
    rose = transition(11 * HOUR, "degraded", "ready", "recovered")
    assert uptime(scripts, READY | {"since": 11 * HOUR}, [fell, rose]) == [
        ("unknown", 0, 4), ("up", 4, 10), ("theirs", 10, 11), ("up", 11, 24),
    ]  # fmt: skip


def test_a_machine_without_events_is_what_its_row_says_since_then(scripts: Path) -> None:
    assert uptime(scripts, READY, []) == [("up", 0, 24)]
    assert uptime(scripts, READY | {"since": 6 * HOUR}, []) == [("unknown", 0, 6), ("up", 6, 24)]


@pytest.mark.parametrize(
    ("blame", "kind"), [("node", "theirs"), ("platform", "ours"), (None, "theirs")]
)
def test_silence_counts_against_whose_fault_it_was(
    scripts: Path, blame: str | None, kind: str
) -> None:
    silent = {"status": "offline", "reason": "heartbeat_timeout", "since": 20 * HOUR}
    gone = transition(20 * HOUR, "ready", "offline", "heartbeat_timeout", blame=blame)
    assert uptime(scripts, silent, [gone]) == [("up", 0, 20), (kind, 20, 24)]
    # The event may not be kept any more: then the explanation of the row says it.
    assert uptime(scripts, silent | {"since": 0}, [], blame=blame) == [(kind, 0, 24)]


def test_warming_up_after_our_outage_is_part_of_it_and_else_counts_for_nobody(
    scripts: Path,
) -> None:
    back = [
        {"type": "revive", "at": 8 * HOUR, "to": "registering", "version": 8 * HOUR},
        transition(9 * HOUR, "registering", "ready", "healthy"),
    ]
    row = READY | {"since": 9 * HOUR}
    for blame, kind in (("platform", "ours"), ("node", "theirs")):
        gone = transition(6 * HOUR, "ready", "offline", "heartbeat_timeout", blame=blame)
        after = "ours" if blame == "platform" else "planned"
        expected = [("up", 0, 6), (kind, 6, 8), (after, 8, 9), ("up", 9, 24)]
        if kind == after:
            expected[1:3] = [(kind, 6, 9)]
        assert uptime(scripts, row, [gone, *back]) == expected


def test_time_that_nobody_watched_is_ours_but_not_of_what_was_planned(scripts: Path) -> None:
    gap = {"type": "unobserved", "at": 12 * HOUR, "detail": {"ms": 2 * HOUR, "partitions": 64}}
    assert uptime(scripts, READY, [], [gap]) == [("up", 0, 10), ("ours", 10, 12), ("up", 12, 24)]
    drained = {"status": "draining", "reason": "operator", "since": 0}
    assert uptime(scripts, drained, [], [gap]) == [("planned", 0, 24)]
    back = {"type": "unobserved", "at": 12 * HOUR, "detail": {"ms": -5000, "partitions": 64}}
    assert uptime(scripts, READY, [], [back]) == [("up", 0, 24)]


def test_the_share_counts_neither_our_outages_nor_what_was_planned(scripts: Path) -> None:
    def sum_of(*kinds: str) -> dict[str, Any]:
        pieces = [{"from": n, "to": n + 1, "kind": kind} for n, kind in enumerate(kinds)]
        found: dict[str, Any] = run(
            scripts, 'import { sum } from "./uptime.js";', "sum(pieces)", pieces=pieces
        )
        return found

    assert sum_of("up", "theirs", "ours", "planned", "unknown", "up", "up")["share"] == 0.75
    assert sum_of("ours", "planned")["share"] is None


NEEDS = (
    "kind=nmt&src_lang=zh&tgt_lang=en&models=a%2Cb&labels=region%3Deu%7Cus%2C+owner!%3Dlab"
    "&min_gpu_memory_gb=16&cpu_percent=50&private=1&unknown=x"
)


def test_what_a_job_needs_is_the_same_in_the_address_the_body_and_the_query(scripts: Path) -> None:
    made = run(
        scripts,
        'import { body, fromAddress, query, toAddress } from "./needs.js";',
        "[body, query, toAddress].map((form) => form(fromAddress(address)))",
        address=NEEDS,
    )
    assert made[0] == {
        "kind": "nmt",
        "src_lang": "zh",
        "tgt_lang": "en",
        "models": ["a", "b"],
        "labels": {"region": ["eu", "us"], "owner": {"not": ["lab"]}},
        "min_gpu_memory_gb": 16,
        "ceilings": {"cpu_percent": 50},
        "public": False,
    }
    assert made[1] == (
        "kind=nmt&src_lang=zh&tgt_lang=en&min_gpu_memory_gb=16&cpu_percent=50&model=a&model=b"
        "&label=region%3Deu%2Cus&label=owner%21%3Dlab&public=false"
    )
    assert "unknown" not in made[2]


def test_the_command_to_copy_says_at_a_shell_what_the_page_asked(scripts: Path) -> None:
    command = run(
        scripts,
        'import { curl } from "./needs.js";',
        "curl('http://h:1', { labels: \"owner=o'hara\" }, true)",
    )
    say = command.replace("curl ", "printf '%s\\n' ", 1)
    words = subprocess.run(
        ["sh", "-c", say], env={"MUSTER_TOKEN": "T"}, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[:3] == ["-X", "POST", "http://h:1/v1/select/explain"]
    assert "Authorization: Bearer T" in words
    assert json.loads(words[-1]) == {"labels": {"owner": "o'hara"}}


def banners(scripts: Path, **state: Any) -> list[tuple[str, str | None]]:
    plain = {
        "link": "live",
        "problem": None,
        "numbersProblem": None,
        "numbers": None,
        "stale": None,
    }
    found = run(
        scripts,
        'import { told } from "./banners.js";',
        "told({ state, gap: false, now: 100000 })",
        state=plain | state,
    )
    return [(one["name"], one.get("to_do")) for one in found]


NUMBERS: dict[str, Any] = {
    "now": 100_000,
    "sweepers": 2,
    "watch": {"partitions": 64, "watched": 64, "stalest_ms": 900},
    "brake": None,
    "mass_expiry": None,
}


def test_nothing_stands_above_a_page_while_all_is_well(scripts: Path) -> None:
    assert banners(scripts, numbers=NUMBERS) == []


def test_a_banner_says_what_is_wrong_and_what_can_be_done(scripts: Path) -> None:
    away = {"code": "UNAVAILABLE"}
    unwatched = NUMBERS | {"watch": {"partitions": 64, "watched": 3, "stalest_ms": None}}
    assert banners(scripts, link="reconnecting", stale=1) == [("stale", "again")]
    assert banners(scripts, numbersProblem=away, numbers=unwatched) == [("store", "again")]
    assert banners(scripts, numbers=unwatched) == [("watch", None)]
    brake = {"since": 1, "until": 200_000, "waiting": 7}
    assert banners(scripts, numbers=NUMBERS | {"brake": brake}) == [("brake", "release")]
    mass = {"at": 90_000, "lost": 30, "living": 5}
    assert banners(scripts, numbers=NUMBERS | {"mass_expiry": mass}) == [("mass", None)]
    old = {"at": 90_000 - HOUR, "lost": 30, "living": 5}
    assert banners(scripts, numbers=NUMBERS | {"mass_expiry": old}) == []


def test_who_enters_another_token_sees_nothing_of_what_the_former_one_was_shown(
    scripts: Path,
) -> None:
    (scripts / "workers.js").write_text(
        """globalThis.setInterval = () => 0;
        export const made = [];
        globalThis.Worker = class {
          constructor() { made.push(this); }
          postMessage() {}
          terminate() { this.ended = true; }
        };"""
    )
    had, has, counted, ended = run(
        scripts,
        'import { made } from "./workers.js";\nimport { start, state } from "./link.js";',
        """(() => {
          start();
          made[0].onmessage({ data: { kind: "rows", rows: [row] } });
          const had = state.rows.size;
          start();
          return [had, state.rows.size, state.counts.ready, made.map(({ ended }) => !!ended)];
        })()""",
        row={"node_id": "theirs", "status": "ready", "version": 1},
    )
    assert (had, has, counted) == (1, 0, 0)
    assert ended == [True, False]


STREAM = """
const { past } = await import('./api.js');
const asked = [];
globalThis.fetch = async (path) => {
  const [, since] = /since=(\\d+)/.exec(path);
  const back = Date.now() - Number(since);
  asked.push(Math.round(back / 1000));
  const count = Math.floor(back / EVERY);
  return new Response(Array.from({ length: count }, (_, n) => `data: {"at": ${n}}\n\n`).join(''));
};
const found = (await past('', 3600000)).length;
"""


@pytest.mark.parametrize(
    ("every_ms", "asked_s", "found"),
    [(10, [10], 500), (1000, [10, 60, 360, 2160], 500), (100_000, [10, 60, 360, 2160, 3600], 36)],
)
def test_of_a_busy_hour_only_its_last_stretch_is_read(
    scripts: Path, every_ms: int, asked_s: list[int], found: int
) -> None:
    told = run(scripts, STREAM.replace("EVERY", str(every_ms)), "{ asked, found }")
    assert told == {"asked": asked_s, "found": found}


SILENT = """
const { each } = await import('./api.js');
let now = 0;
const timers = [];
globalThis.setTimeout = (deed, ms) => timers.push({ deed, at: now + ms });
globalThis.clearTimeout = (id) => { if (id) timers[id - 1].deed = null; };
const heard = [];
const spoken = ['data: {"at": 1}\\n\\n', ': still there\\n\\n', ': still there\\n\\n'];
globalThis.fetch = async (_, { signal }) => new Response(new ReadableStream({
  start(stream) {
    const say = (text) => stream.enqueue(new TextEncoder().encode(text));
    spoken.forEach((text, place) => setTimeout(() => say(text), 100 * place));
    signal.addEventListener('abort', () => stream.error(signal.reason));
  },
}));
let ended = null;
each('since=0', (event) => heard.push(event.at), 150)
  .then(() => 'well', (error) => error.name).then((how) => { ended = how; });
while (!ended && now < 1000) {
  for (let turns = 0; turns < 20; turns += 1) await new Promise(setImmediate);
  if (ended) break;
  now += 50;
  for (const timer of timers) {
    const { deed } = timer;
    if (deed && timer.at <= now) { timer.deed = null; deed(); }
  }
}
"""
"""Time passes for the script as the test says, so that no busy machine makes it impatient."""


def test_a_past_of_which_nothing_more_is_heard_is_given_up(scripts: Path) -> None:
    ended, heard, lasted_ms = run(scripts, SILENT, "[ended, heard, now]")
    assert (ended, heard) == ("AbortError", [1])
    # Each word of the gateway, though no event, is a reason to wait on: the last came after 200 ms.
    assert lasted_ms == 200 + 150
