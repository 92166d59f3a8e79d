"""Metrics as they are declared; alerts as promtool knows them."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from gateway.api.problems import CODES
from gateway.settings import GatewaySettings
from muster.cli.main import app
from muster.wire.closing import CloseCode
from muster.wire.errors import ErrorCode
from registry.measuring import Measure
from registry.settings import variables
from sweeper.settings import SweeperSettings
from tests.support import measures
from tests.support.prometheus import promtool

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules.yaml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
DECLARED = measures.declared()
SERIES_MOST = 750


def alerts() -> list[dict[str, str]]:
    """The alerts of the rules file."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, str]] = group["rules"]
    return found


def test_the_document_of_metrics_is_as_it_would_be_drawn() -> None:
    text = measures.DOCUMENT.read_text("utf-8")
    assert measures.drawn(text) == text


@pytest.mark.parametrize("process", DECLARED)
def test_no_process_can_have_more_than_so_many_series(process: str) -> None:
    def bounded(measure: Measure) -> int:
        # A transition has one of few ways, though its labels could say many more.
        return 60 if measure.name == "muster_transitions_total" else measure.series_most or 0

    assert sum(map(bounded, DECLARED[process])) < SERIES_MOST


@pytest.mark.parametrize("process", DECLARED)
def test_labels_told_in_words_are_those_that_no_client_can_invent(process: str) -> None:
    told = {
        (m.name, label)
        for m in DECLARED[process]
        for label, values in m.labels.items()
        if isinstance(values, str)
    }
    assert told <= {
        ("muster_build_info", "version"),
        ("muster_build_info", "python"),
        ("muster_http_requests_total", "route"),
    }


def test_what_both_processes_measure_they_measure_alike() -> None:
    gateway, sweeper = ({m.name: m for m in found} for found in DECLARED.values())
    common = set(gateway) & set(sweeper)
    assert common == {
        "muster_build_info",
        "muster_bugs_total",
        "muster_script_seconds",
        "muster_store_errors_total",
    }
    assert all(gateway[name] == sweeper[name] for name in common)


def test_prometheus_finds_no_fault_with_the_configuration_and_the_rules() -> None:
    for arguments in (
        ("check", "config", "--lint=all", str(PROMETHEUS / "prometheus.yml")),
        ("check", "rules", "--lint=all", "--lint-fatal", str(RULES)),
    ):
        run = promtool(*arguments)
        assert run.returncode == 0, run.stdout + run.stderr


def test_alerts_fire_when_they_should_and_not_before() -> None:
    run = promtool("test", "rules", str(PROMETHEUS / "rules_test.yaml"))
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_is_tried_by_a_rule_test_both_ways() -> None:
    tried: dict[str, set[bool]] = {}
    for test in yaml.safe_load((PROMETHEUS / "rules_test.yaml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            tried.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert tried == {rule["alert"]: {True, False} for rule in alerts()}


def test_rules_ask_for_metrics_that_there_are() -> None:
    known = {m.name for found in DECLARED.values() for m in found}
    asked = set(re.findall(r"muster_\w+", " ".join(rule["expr"] for rule in alerts())))
    for name in asked:
        assert name in known or re.sub(r"_(bucket|count|sum)$", "", name) in known, name


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "runbook").glob("Muster*.md")}
    assert pages == {rule["alert"] for rule in alerts()}
    index = (ROOT / "docs" / "runbook" / "README.md").read_text("utf-8")
    for rule in alerts():
        annotations: dict[str, str] = rule["annotations"]  # type: ignore[assignment]
        labels: dict[str, str] = rule["labels"]  # type: ignore[assignment]
        name = rule["alert"]
        assert annotations["runbook"] == f"docs/runbook/{name}.md"
        assert f"| [{name}]({name}.md) | {labels['severity']} |" in index
        page = (ROOT / annotations["runbook"]).read_text("utf-8")
        assert all(part in page for part in ("**Fires when**", "## Look", "```console", "## Do"))


def test_operators_are_told_about_every_error_and_close_code() -> None:
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    told = Counter(cell for row in rows for cell in re.findall(r"`(\w+)`", row))
    codes = [*(c.value for c in ErrorCode), *(str(c.code) for c in CloseCode), *CODES]
    assert told == Counter(codes)


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "docs" / "operations.md",
        ROOT / "docs" / "metrics.md",
        ROOT / "docs" / "load-balancers.md",
        *sorted((ROOT / "docs" / "runbook").glob("*.md")),
    ],
    ids=lambda path: path.stem,
)
def test_links_lead_somewhere_and_settings_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (path.parent / target).exists(), target
    known = {
        *variables(GatewaySettings),
        *variables(SweeperSettings),
        "MUSTER_SERVER",
        "MUSTER_TOKEN",
    }
    families = ("MUSTER_SELECT_MAX_",)
    asked = set(re.findall(r"MUSTER_[A-Z_]+", text))
    assert {name for name in asked if name not in families} <= known


def panels(path: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard."""
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["panels"]
    return found


def test_everything_that_is_measured_is_on_a_dashboard() -> None:
    asked = " ".join(
        target["expr"]
        for path in DASHBOARDS
        for panel in panels(path)
        for target in panel["targets"]
    )
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"muster_\w+", asked)}
    assert shown == {m.name for found in DECLARED.values() for m in found}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_of_a_dashboard_have_ids_and_places_of_their_own(path: Path) -> None:
    ids = [panel["id"] for panel in panels(path)]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        g = panel["gridPos"]
        cells = {
            (x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells


PAGES = [
    ROOT / "docs" / "operations.md",
    ROOT / "docs" / "load-balancers.md",
    *sorted((ROOT / "docs" / "runbook").glob("*.md")),
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_metrics_that_operators_are_sent_to_exist(path: Path) -> None:
    known = {m.name for found in DECLARED.values() for m in found}
    for name in set(re.findall(r"(?<![\w/-])muster_[a-z_]+[a-z]\b(?!\w)", path.read_text("utf-8"))):
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        # Part of a pattern for grep: `^muster_beat`.
        assert base in known or any(each.startswith(f"{name}_") for each in known), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_that_operators_are_told_to_type_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    shown = [*re.findall(r"^\$ (.*)$", text, re.M), *re.findall(r"`(muster [^`]+)`", text)]
    for line in shown:
        for typed in re.findall(r"(?:^|[;|] ?)muster ([^|;>#…]+)", line):
            words = typed.split()
            command: Any = typer.main.get_command(app)
            while (verbs := getattr(command, "commands", None)) and words:
                assert words[0] in verbs, line
                command = verbs[words.pop(0)]
            known = {option for each in command.params for option in each.opts}
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given <= known | {"--help"}, line
