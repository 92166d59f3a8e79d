"""What the chart renders has the shape that Kubernetes and its operators ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import CHART, EXAMPLES, Document, find, rendered
from tests.deploy.schemas import VERSIONS, custom, custom_problems, problems
from tests.support.measures import declared
from tests.support.prometheus import promtool

OTHERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ha", {"ingress": {"controller": "gce"}}),
    ("ha", {"gateway": {"autoscaling": {"metric": "sockets"}}}),
    ("cluster", {"gateway": {"autoscaling": {"metric": "cpu"}}}),
    ("dev", {"store": {"bundled": {"persistence": {"enabled": False}}}}),
    ("dev", {"agent": {"enabled": True}, "networkPolicy": {"enabled": True}}),
    ("onprem", {"gateway": {"service": {"type": "NodePort", "nodePort": 30080}}}),
)


@cache
def _all() -> tuple[Document, ...]:
    objects = [found for example in EXAMPLES for found in rendered(example)]
    return (*objects, *(found for example, values in OTHERS for found in rendered(example, values)))


def test_the_examples_render_every_kind_the_chart_has() -> None:
    texts = [path.read_text("utf-8") for path in Path(CHART, "templates").rglob("*.yaml")]
    known = {kind for text in texts for kind in re.findall(r"^kind: (\w+)$", text, re.M)}
    assert {found["kind"] for found in _all()} == known


@pytest.mark.parametrize("version", VERSIONS)
def test_each_kubernetes_takes_what_is_rendered(version: str) -> None:
    assert list(problems(list(_all()), version)) == []


def test_operators_take_what_is_rendered_for_them() -> None:
    kinds = {found["kind"] for found in _all() if custom(found)}
    assert kinds >= {"ServiceMonitor", "PrometheusRule", "HTTPRoute", "ScaledObject"}
    assert custom_problems(list(_all())) == []


def _unknown(objects: list[Document]) -> None:
    for found in objects:
        if "spec" in found:
            found["spec"]["nonsense"] = 1


def _number(objects: list[Document]) -> None:
    find(objects, "Service", "-gateway")["spec"]["ports"][0]["port"] = "http"


def _old(objects: list[Document]) -> None:
    find(objects, "PodDisruptionBudget", "-gateway")["apiVersion"] = "policy/v1beta1"


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (_unknown, "nonsense"),
        (_number, "is not of type"),
        (_old, "has no policy/v1beta1"),
    ],
)
def test_a_wrong_shape_is_found(broken: Callable[[list[Document]], None], sentence: str) -> None:
    objects = rendered("dev")
    broken(objects)
    assert any(sentence in problem for problem in problems(objects, "1.28"))


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ServiceMonitor", ("endpoints", 0, "interval"), "15 seconds"),
        ("ServiceMonitor", ("endpoints", 0, "bearer"), "x"),
        ("PrometheusRule", ("groups", 0, "rules", 0, "runbook"), "x"),
        ("HTTPRoute", ("rules", 0, "matches", 0, "path", "type"), "Prefix"),
        ("HTTPRoute", ("rules", 0, "timeout"), "0s"),
        ("ScaledObject", ("triggers",), "cpu"),
        ("GCPBackendPolicy", ("default", "timeOutSec"), 3600),
    ],
)
def test_a_wrong_custom_resource_is_found(
    kind: str, path: tuple[str | int, ...], value: object
) -> None:
    example = {"GCPBackendPolicy": "gke"}.get(kind, "cluster")
    objects = rendered(example)
    inner: Any = next(found for found in objects if found["kind"] == kind)["spec"]
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert len(custom_problems(objects)) == 1


def _rules(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> list[str]:
    """What promtool has against the rules of a rendered PrometheusRule."""
    spec = find(rendered("ha"), "PrometheusRule", "-alerts")["spec"]
    change(spec)
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(spec), "utf-8")
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def test_prometheus_takes_the_rendered_rules(tmp_path: Path) -> None:
    assert _rules(tmp_path, lambda spec: None) == []


def test_a_broken_rule_is_found(tmp_path: Path) -> None:
    def broken(spec: dict[str, Any]) -> None:
        spec["groups"][0]["rules"][0]["expr"] = "sum(rate(up[5m])"

    assert _rules(tmp_path, broken) != []


def test_gateways_scale_by_a_metric_that_they_have() -> None:
    by_sockets = {"gateway": {"autoscaling": {"metric": "sockets"}}}
    (metric,) = find(rendered("ha", by_sockets), "HorizontalPodAutoscaler", "-gateway")["spec"][
        "metrics"
    ]
    (trigger,) = find(rendered("cluster"), "ScaledObject", "-gateway")["spec"]["triggers"]
    asked = {
        metric["pods"]["metric"]["name"],
        *re.findall(r"muster_\w+(?={)", trigger["metadata"]["query"]),
    }
    assert asked == {"muster_gateway_sockets"}
    assert asked <= {measure.name for measure in declared()["gateway"]}


def test_prometheus_takes_the_query_that_gateways_scale_by(tmp_path: Path) -> None:
    trigger = find(rendered("cluster"), "ScaledObject", "-gateway")["spec"]["triggers"][0]
    rule = {"record": "muster:scale_by", "expr": trigger["metadata"]["query"]}
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "keda", "rules": [rule]}]}), "utf-8")
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
