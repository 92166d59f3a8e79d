"""The chart itself broken in one place: what it renders is found wrong by the check for that."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy import meaning
from tests.deploy.chart import CHART, NAMESPACE, RELEASE, Document, documents, helm
from tests.deploy.meaning import CHECKS, Problems
from tests.deploy.talking import talking

Check = Callable[[list[Document]], Problems]

# Template, what stands there, what stands there instead, example, who finds it.
BROKEN: tuple[tuple[str, str, str, str, Check], ...] = (
    ("gateway.yaml", "targetPort: http", "targetPort: web", "ha", meaning.ports),
    ("gateway.yaml", "containerPort: 8080", "containerPort: 8081", "ha", meaning.ports),
    (
        "sweeper.yaml",
        "path: /readyz, port: metrics",
        "path: /readyz, port: http",
        "ha",
        meaning.ports,
    ),
    ("_names.tpl", "-gateway.{{", "-gw.{{", "dev", meaning.ports),
    ("_pod.tpl", "MUSTER_DRAIN_WINDOW_S:", "MUSTER_DRAIN_S:", "ha", meaning.settings),
    ("_pod.tpl", 'MUSTER_PORT: "8080"', 'MUSTER_PORT: "http"', "ha", meaning.settings),
    ("_pod.tpl", "enableServiceLinks: false", "enableServiceLinks: true", "ha", meaning.settings),
    ("agent.yaml", "MUSTER_AGENT_STATE_DIR", "MUSTER_AGENT_STATE", "onprem", meaning.settings),
    ("gateway.yaml", "key: fleet-secret", "key: fleet_secret", "dev", meaning.references),
    ("_store.tpl", "{{ .part }}-password", "{{ .part }}password", "ha", meaning.references),
    ("_pod.tpl", "store-tls/ca.crt", "store-tls/ca.pem", "ha", meaning.references),
    ("_names.tpl", '"%s-secrets"', '"%s-secret"', "dev", meaning.references),
    (
        "gateway.yaml",
        "maxUnavailable: {{ $gateway.pdb.maxUnavailable }}",
        "maxUnavailable: 0",
        "ha",
        meaning.budgets,
    ),
    ("gateway.yaml", "$gateway.drainWindowSeconds 10 }}", "0 }}", "ha", meaning.grace),
    ("gateway.yaml", "minReadySeconds", "revisionHistoryLimit", "ha", meaning.grace),
    ("gateway.yaml", "drainWindowSeconds 600 }}", "drainWindowSeconds 0 }}", "ha", meaning.grace),
    ("agent.yaml", "add $agent.drainTimeoutSeconds 30", "add 30", "onprem", meaning.grace),
    ("agent.yaml", "minReadySeconds: 30", "minReadySeconds: 0", "onprem", meaning.grace),
    (
        "sweeper.yaml",
        '"muster.selector" $part | nindent 6',
        '"x" . | nindent 6',
        "ha",
        meaning.selectors,
    ),
    (
        "_pod.tpl",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "ha",
        meaning.hardening,
    ),
    ("_pod.tpl", "capabilities: {drop: [ALL]}", "capabilities: {}", "ha", meaning.restricted),
    (
        "exposure.yaml",
        'proxy-read-timeout: "3600"',
        'proxy-read-timeout: "60"',
        "ha",
        meaning.timeouts,
    ),
    (
        "exposure.yaml",
        "timeouts: {request: 0s",
        "timeouts: {request: 30s",
        "cluster",
        meaning.timeouts,
    ),
    ("networkpolicy.yaml", "port: 53}", "port: 54}", "ha", talking),
    ("networkpolicy.yaml", "port: valkey", "port: 6380", "dev", talking),
    ("networkpolicy.yaml", '"gateway" "sweeper"', '"gateway" "gateway"', "dev", talking),
)


@pytest.mark.parametrize(
    ("template", "old", "new", "example", "check"), BROKEN, ids=[f"{b[0]}: {b[2]}" for b in BROKEN]
)
def test_a_broken_chart_is_found(
    template: str, old: str, new: str, example: str, check: Check, tmp_path: Path
) -> None:
    chart = tmp_path / "muster"
    shutil.copytree(CHART, chart)
    file = chart / "templates" / template
    text = file.read_text("utf-8")
    assert old in text
    extra = '{{- define "x" -}}app.kubernetes.io/name: other{{- end -}}\n'
    file.write_text(extra + text.replace(old, new), "utf-8")
    values = str(chart / "examples" / f"{example}.yaml")
    given = ("-n", NAMESPACE, "-f", values, "--set", "networkPolicy.enabled=true")
    done = helm("template", RELEASE, str(chart), *given)
    assert done.returncode == 0, done.stderr
    assert list(check(documents(done.stdout))) != []


def test_every_check_has_a_chart_that_it_finds_broken() -> None:
    # Names and labels are made in one place; `names` is shown on objects in test_meaning.py.
    assert {entry[4] for entry in BROKEN} | {meaning.names} == {*CHECKS, talking}
