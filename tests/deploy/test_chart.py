"""The chart as Helm sees it: linted, packed, refusing nonsense, telling how it is reached."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.chart import (
    CHART,
    EXAMPLES,
    NAMESPACE,
    RELEASE,
    documents,
    find,
    helm,
    template,
    workloads,
)
from tests.deploy.chart import rendered as objects_of
from tests.deploy.meaning import timeouts
from tests.deploy.schemas import VERSIONS, problems
from tests.deploy.tools import tools

ROOT = CHART.parents[1]


@pytest.mark.parametrize("major", [3, 4])
def test_helm_finds_nothing_wrong(major: int) -> None:
    for example in EXAMPLES:
        values = str(CHART / "examples" / f"{example}.yaml")
        done = helm("lint", "--strict", str(CHART), "-f", values, major=major)
        assert done.returncode == 0, done.stdout + done.stderr


def _without_secrets(text: str) -> list[str]:
    """The objects but for what is random; each Helm has an order of its own."""
    return sorted(str(found) for found in documents(text) if found["kind"] != "Secret")


@pytest.mark.parametrize("example", EXAMPLES)
def test_helm_3_renders_what_helm_4_does(example: str) -> None:
    old, new = template(example, major=3), template(example)
    assert (old.returncode, new.returncode) == (0, 0), old.stderr + new.stderr
    assert _without_secrets(old.stdout) == _without_secrets(new.stdout)


def test_the_packed_chart_renders_what_the_folder_does(tmp_path: Path) -> None:
    done = helm("package", str(CHART), "-d", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.glob("*.tgz")
    values = ("-n", NAMESPACE, "-f", str(CHART / "examples" / "ha.yaml"))
    found = helm("template", RELEASE, str(packed), *values)
    assert found.returncode == 0, found.stderr
    assert _without_secrets(found.stdout) == _without_secrets(template("ha").stdout)


NONSENSE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"gateway": {"replica": 3}}, "additional properties 'replica' not allowed"),
    ({"gateway": {"replicas": "many"}}, "/gateway/replicas"),
    ({"settings": {"MUSTER_HEARTBEAT_INTERVALL_S": 10}}, "MUSTER_HEARTBEAT_INTERVALL_S"),
    ({"settings": {"MUSTER_SECRET": "x"}}, "MUSTER_SECRET"),
    ({"gateway": {"settings": {"MUSTER_REDIS_SENTINEL_PASSWORD": "x"}}}, "SENTINEL_PASSWORD"),
    ({"gateway": {"settings": {"MUSTER_HEARTBEAT_INTERVAL_S": 10}}}, "HEARTBEAT_INTERVAL_S"),
    ({"secrets": {"fleetSecret": "short"}}, "/secrets/fleetSecret"),
    ({"secrets": {"apiTokens": ["mst_in_the_clear"]}}, "/secrets/apiTokens/0"),
    ({"exposure": {"paths": [{"path": "/metrics", "pathType": "Exact"}]}}, "/exposure/paths/0"),
    ({"image": {"tag": "latest"}}, "/image/tag"),
    ({"store": {"mode": "standalone"}}, "store.hosts"),
    ({"store": {"mode": "redis"}}, "/store/mode"),
    ({"store": {"tls": {"enabled": True}}}, "the bundled store speaks no TLS"),
    ({"store": {"auth": {"gatewayUser": "me"}}}, "the bundled store knows muster-gateway"),
    ({"fullnameOverride": "fleet.eu"}, "no Service may be called fleet.eu-gateway"),
    ({"fullnameOverride": "2nd"}, "no Service may be called 2nd-gateway"),
    (
        {"gateway": {"autoscaling": {"scaleDownStabilizationSeconds": 7200}}},
        "/gateway/autoscaling/scaleDownStabilizationSeconds",
    ),
    ({"sweeper": {"replicas": 1}}, "/sweeper/replicas"),
    ({"sweeper": {"pdb": {"maxUnavailable": 2}}}, "sweeper.pdb.maxUnavailable: all 2"),
    (
        {"gateway": {"replicas": 3, "pdb": {"maxUnavailable": "70%"}}},
        "gateway.pdb.maxUnavailable: all 3",
    ),
    ({"gateway": {"tls": {"enabled": True}}}, "gateway.tls.secretName"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
    ({"ingress": {"enabled": True, "tls": {"enabled": True}}}, "ingress.host"),
    (
        {"gateway": {"autoscaling": {"enabled": True, "minReplicas": 4, "maxReplicas": 3}}},
        "minReplicas is more than maxReplicas",
    ),
    (
        {"allowSimulated": False, "agent": {"enabled": True, "simulate": "RTX 4090:24"}},
        "agent.simulate needs allowSimulated",
    ),
    (
        {
            "agent": {"enabled": True, "namespace": "gpu-agents"},
            "secrets": {"requireJoinToken": True},
        },
        "agent.joinTokenSecret",
    ),
    (
        {
            "agent": {"enabled": True},
            "networkPolicy": {
                "enabled": True,
                "gatewayFrom": [{"podSelector": {"matchLabels": {"a": "b"}}}],
            },
        },
        "networkPolicy.gatewayFrom",
    ),
)


@pytest.mark.parametrize(("values", "sentence"), NONSENSE, ids=lambda part: str(part)[:60])
def test_nonsense_is_refused_by_its_name(values: dict[str, Any], sentence: str) -> None:
    done = template("dev", values=values)
    assert done.returncode != 0
    assert sentence in done.stderr


def _notes(values: dict[str, Any], example: str = "dev") -> str:
    """What Helm says after installing."""
    given = ("-f", str(CHART / "examples" / f"{example}.yaml"), "-f", "-")
    arguments = ("install", RELEASE, str(CHART), "-n", NAMESPACE, "--dry-run=client", *given)
    done = helm(*arguments, stdin=yaml.safe_dump(values))
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "port-forward service/fleet-muster-gateway 8080:8080"),
        ({"gateway": {"service": {"type": "NodePort"}}}, "jsonpath='{.spec.ports[0].nodePort}'"),
        ({"gateway": {"service": {"type": "LoadBalancer"}}}, "{.status.loadBalancer.ingress[0]}"),
        ({"ingress": {"enabled": True, "host": "m.example.com"}}, "ws://m.example.com/ws/node"),
        (
            {"ingress": {"enabled": True, "host": "m.example.com", "tls": {"enabled": True}}},
            "wss://m.example.com/ws/node",
        ),
        (
            {"httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}], "hostnames": ["m.org"]}},
            "https://m.org/v1",
        ),
        ({"ingress": {"enabled": True}}, "gateway.trustedProxies"),
        ({}, "Not for production"),
        ({}, "helm test fleet"),
        ({"secrets": {"existingSecret": "mine"}}, "api-tokens of the secret mine"),
    ],
)
def test_the_notes_say_how_it_is_reached(values: dict[str, Any], sentence: str) -> None:
    assert sentence in _notes(values)


def test_the_notes_of_production_speak_of_no_trial() -> None:
    notes = _notes({}, "ha")
    assert "wss://muster.example.com/ws/node" in notes
    for word in ("helm test", "trials", "simulated", "admin-token", "trustedProxies"):
        assert word not in notes


def test_the_test_of_a_release_is_there_only_where_simulated_machines_are_let_in() -> None:
    (hook,) = [o for o in objects_of("dev") if o["kind"] == "Pod"]
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert not [o for o in objects_of("dev", {"allowSimulated": False}) if o["kind"] == "Pod"]
    for example in EXAMPLES:
        simulated = [o for o in objects_of(example) if o["kind"] == "Pod"]
        assert bool(simulated) == (example == "dev")


WAITS = {
    "nginx": "nginx.ingress.kubernetes.io/proxy-read-timeout",
    "haproxy": "haproxy.org/timeout-tunnel",
    "haproxy-ingress": "haproxy-ingress.github.io/timeout-tunnel",
    "alb": "alb.ingress.kubernetes.io/load-balancer-attributes",
}


@pytest.mark.parametrize("controller", ["traefik", "gce", "none", *WAITS])
def test_no_controller_cuts_silent_sockets(controller: str) -> None:
    objects = objects_of("ha", {"ingress": {"controller": controller}})
    assert list(timeouts(objects)) == []
    notes = find(objects, "Ingress", "-gateway")["metadata"]["annotations"]
    if controller in WAITS:
        del notes[WAITS[controller]]
        assert list(timeouts(objects)) != []
    if controller == "gce":
        objects.remove(find(objects, "BackendConfig", "-gateway"))
        assert list(timeouts(objects)) != []


@pytest.mark.parametrize(
    ("paths", "leads"),
    [
        ([("/v1", "Prefix")], {"/v1", "/v1/events"}),
        ([("/ws/node", "Exact")], {"/ws/node"}),
        ([("/v1/nodes", "Exact")], {"/v1/nodes"}),
    ],
)
def test_a_route_leads_to_what_is_exposed_and_nowhere_else(
    paths: list[tuple[str, str]], leads: set[str]
) -> None:
    exposed = [{"path": path, "pathType": kind} for path, kind in paths]
    route = find(objects_of("cluster", {"exposure": {"paths": exposed}}), "HTTPRoute", "-gateway")
    matches = [match for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert {match["path"]["value"] for match in matches} == leads


TLS = {"gateway": {"tls": {"enabled": True, "secretName": "muster-gateway-tls"}}}


@pytest.mark.parametrize(
    ("controller", "annotation"),
    [
        ("nginx", "nginx.ingress.kubernetes.io/backend-protocol: HTTPS"),
        ("haproxy", "haproxy.org/server-ssl: 'true'"),
        ("haproxy-ingress", "haproxy-ingress.github.io/secure-backends: 'true'"),
        ("alb", "alb.ingress.kubernetes.io/healthcheck-protocol: HTTPS"),
        ("traefik", "traefik.ingress.kubernetes.io/service.serversscheme: https"),
        ("gce", """cloud.google.com/app-protocols: '{"http": "HTTPS"}'"""),
    ],
)
def test_gateways_that_speak_tls_are_spoken_to_by_tls(controller: str, annotation: str) -> None:
    chosen = {"ingress": {"controller": controller}}
    assert annotation in yaml.safe_dump(objects_of("ha", chosen | TLS), width=200)
    assert annotation not in yaml.safe_dump(objects_of("ha", chosen), width=200)


def test_googles_gateway_is_told_that_gateways_speak_tls() -> None:
    (port,) = find(objects_of("gke", TLS), "Service", "-gateway")["spec"]["ports"]
    assert port["appProtocol"] == "HTTPS"
    (port,) = find(objects_of("gke"), "Service", "-gateway")["spec"]["ports"]
    assert "appProtocol" not in port


def test_gateways_are_scaled_down_one_at_a_time_and_late() -> None:
    scaler = find(objects_of("ha"), "HorizontalPodAutoscaler", "-gateway")["spec"]
    keda = find(objects_of("cluster"), "ScaledObject", "-gateway")["spec"]["advanced"]
    for down in (scaler["behavior"], keda["horizontalPodAutoscalerConfig"]["behavior"]):
        assert down["scaleDown"]["stabilizationWindowSeconds"] >= 300
        assert down["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 180}]


def test_the_bundled_store_keeps_what_it_has_on_a_disk_of_its_own() -> None:
    objects = objects_of("dev")
    store = find(objects, "StatefulSet", "-store")["spec"]
    (claim,) = store["volumeClaimTemplates"]
    (container,) = store["template"]["spec"]["containers"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in container["volumeMounts"]
    config = find(objects, "ConfigMap", "-store")["data"]["valkey.conf"].split("\n")
    assert {
        "dir /data",
        "appendonly yes",
        "maxmemory-policy noeviction",
        "hash-max-listpack-value 2048",
    } <= set(map(str.strip, config))


MORE: dict[str, Any] = {
    "nodeSelector": {"pool": "muster"},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "podAnnotations": {"an.example.com/annotation": "a"},
    "podLabels": {"label": "l"},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "more"}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "extraContainers": [{"name": "beside", "image": "beside:1"}],
    "initContainers": [{"name": "before", "image": "before:1"}],
}
"""What everybody's cluster asks of pods differently."""


@pytest.mark.parametrize("example", ["dev", "onprem"])
def test_what_is_asked_of_pods_besides_comes_to_each_kind_of_pod(example: str) -> None:
    of_agents = {name: value for name, value in MORE.items() if name != "initContainers"}
    values = {
        "imagePullSecrets": [{"name": "registry"}],
        "gateway": MORE,
        "sweeper": MORE,
        "agent": {"enabled": True, **of_agents},
    }
    objects = objects_of(example, values)
    for version in (VERSIONS[0], VERSIONS[-1]):
        assert list(problems(objects, version)) == []
    for workload in workloads(objects):
        if workload.part not in ("gateway", "sweeper", "agent"):
            continue
        found = find(objects, workload.kind, workload.name)["spec"]["template"]
        pod, (own, *beside) = found["spec"], found["spec"]["containers"]
        assert pod["imagePullSecrets"] == values["imagePullSecrets"]
        assert pod["nodeSelector"].items() >= MORE["nodeSelector"].items()
        for name in ("tolerations", "affinity", "priorityClassName"):
            assert pod[name] == MORE[name], (workload.name, name)
        for name in ("annotations", "labels"):
            told = MORE[f"pod{name.capitalize()}"]
            assert found["metadata"][name].items() >= told.items(), (workload.name, name)
        for name, extra, of in (
            ("env", "extraEnv", own),
            ("envFrom", "extraEnvFrom", own),
            ("volumeMounts", "extraVolumeMounts", own),
            ("volumes", "extraVolumes", pod),
        ):
            assert MORE[extra][0] in of[name], (workload.name, name)
        assert beside == MORE["extraContainers"], workload.name
        if workload.part != "agent":
            assert pod["initContainers"] == MORE["initContainers"], workload.name


def _store_of(chart: Path, *more: str) -> dict[str, Any]:
    """The annotations of the bundled store's pod."""
    values = str(chart / "examples" / "dev.yaml")
    done = helm("template", RELEASE, str(chart), "-n", NAMESPACE, "-f", values, *more)
    assert done.returncode == 0, done.stderr
    pod = find(documents(done.stdout), "StatefulSet", "-store")["spec"]["template"]
    annotations: dict[str, Any] = pod["metadata"]["annotations"]
    return annotations


def test_the_bundled_store_starts_anew_when_its_users_or_its_file_changed(tmp_path: Path) -> None:
    chart = tmp_path / "muster"
    shutil.copytree(CHART, chart)
    first = _store_of(chart)
    assert _store_of(chart) == first, "passwords are made anew where no cluster is asked"
    assert _store_of(chart, "--set", "store.prefix=other") != first
    assert _store_of(chart, "--set", "store.bundled.maxmemory=101mb") != first
    users = chart / "files" / "users.acl"
    users.write_text(users.read_text("utf-8").replace("~muster:{*}:due ", ""), "utf-8")
    assert _store_of(chart) != first


@pytest.mark.parametrize("dockerfile", ["deploy/Dockerfile", "deploy/agent/Dockerfile"])
def test_hadolint_finds_nothing_in_our_images(dockerfile: str, tmp_path: Path) -> None:
    text = (ROOT / dockerfile).read_text("utf-8")
    assert _hadolint(text) == ""
    assert "DL3008" in _hadolint(text + "RUN apt-get install -y curl\n")


def _hadolint(text: str) -> str:
    program = str(tools() / "hadolint")
    done = subprocess.run([program, "-"], input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
