"""The objects of a release fit each other; each check finds what it is for on a broken release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.app import make_app
from gateway.settings import GatewaySettings
from tests.deploy import meaning
from tests.deploy.chart import EXAMPLES, Document, find, rendered, workloads
from tests.deploy.meaning import CHECKS, Problems
from tests.deploy.talking import talking

ALL: tuple[Callable[[list[Document]], Problems], ...] = (*CHECKS, talking)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("check", ALL, ids=lambda check: check.__name__)
def test_what_an_example_renders_fits_together(
    example: str, check: Callable[[list[Document]], Problems]
) -> None:
    assert list(check(rendered(example))) == []


OTHERS: dict[str, dict[str, Any]] = {
    "names of its own": {
        "fullnameOverride": "muster",
        "namespaceOverride": "elsewhere",
        "commonLabels": {"team": "ml"},
    },
    "a cluster that chooses users": {
        "podSecurityContext": {"runAsGroup": None, "fsGroup": None},
    },
    "whole URLs from a secret": {"store": {"urlSecret": "muster-store-urls"}},
    "everything that watches": {
        "monitoring": {
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "networkPolicy": {"enabled": True},
    },
    "a certificate for the store": {
        "store": {
            "mode": "cluster",
            "hosts": ["10.0.0.1:6379", "10.0.0.2:6379"],
            "tls": {
                "enabled": True,
                "existingSecret": "muster-store-tls",
                "clientCertificate": True,
                "checkHostname": False,
            },
        },
    },
    "agents and join tokens": {
        "secrets": {"requireJoinToken": True},
        "agent": {"enabled": True, "simulate": "RTX 4090:24", "labels": {"hall": 2}},
        "networkPolicy": {
            "enabled": True,
            "gatewayFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        },
    },
    "agents in a namespace of their own": {
        "secrets": {"requireJoinToken": True},
        "agent": {
            "enabled": True,
            "hostNetwork": False,
            "namespace": "gpu-agents",
            "joinTokenSecret": "muster-join-token",
        },
        "networkPolicy": {
            "enabled": True,
            "gatewayFrom": [{"namespaceSelector": {"matchLabels": {"team": "schedulers"}}}],
        },
    },
    "settings": {
        "settings": {"MUSTER_HEARTBEAT_INTERVAL_S": 10},
        "gateway": {
            "settings": {"MUSTER_BATCH_MAX": 100, "MUSTER_HOST": "::"},
            "preStopSeconds": 0,
            "drainWindowSeconds": 1200,
        },
        "agent": {"enabled": True, "drainTimeoutSeconds": 7200, "hostNetwork": False},
    },
}


@pytest.mark.parametrize("values", OTHERS.values(), ids=OTHERS)
def test_what_other_values_render_fits_together(values: dict[str, Any]) -> None:
    objects = rendered("dev", values)
    assert [problem for check in ALL for problem in check(objects)] == []


def test_a_new_version_of_the_chart_alone_starts_nothing_anew() -> None:
    for example in EXAMPLES:
        for workload in workloads(rendered(example)):
            if workload.kind != "Pod":
                assert not [name for name in workload.labels if name.endswith(("chart", "version"))]


def test_no_label_of_other_clusters_keeps_agents_from_gkes_machines() -> None:
    pod = find(rendered("gke"), "DaemonSet", "-agent")["spec"]["template"]["spec"]
    assert not pod.get("nodeSelector")
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert [e["key"] for e in term["matchExpressions"]] == ["cloud.google.com/gke-accelerator"]


def routes() -> list[str]:
    """What a gateway serves."""
    app = make_app(GatewaySettings())
    return [str(getattr(route, "path", "")) for route in app.routes]


@pytest.mark.parametrize("example", ["ha", "cluster", "gke"])
def test_all_a_gateway_serves_is_reached_from_outside_but_its_insides(example: str) -> None:
    assert list(meaning.exposed(rendered(example), routes())) == []


def _gateway(objects: list[Document]) -> Document:
    spec: Document = find(objects, "Deployment", "-gateway")["spec"]["template"]["spec"]
    return spec


def _container(objects: list[Document]) -> Document:
    container: Document = _gateway(objects)["containers"][0]
    return container


def _labels(kind: str, name: str) -> Callable[[list[Document]], None]:
    def broken(objects: list[Document]) -> None:
        selector = find(objects, kind, name)["spec"]["selector"]
        selector.get("matchLabels", selector)["app.kubernetes.io/component"] = "gatway"

    return broken


def _set(kind: str, name: str, *path: str | int, to: Any) -> Callable[[list[Document]], None]:
    def broken(objects: list[Document]) -> None:
        inner: Any = find(objects, kind, name)
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = to

    return broken


def _variable(kind: str, name: str, variable: str, value: str) -> Callable[[list[Document]], None]:
    def broken(objects: list[Document]) -> None:
        pod = find(objects, kind, name)["spec"]
        container = pod.get("template", {"spec": pod})["spec"]["containers"][0]
        container["env"] = [v for v in container["env"] if v["name"] != variable]
        container["env"].append({"name": variable, "value": value})

    return broken


def _settings(name: str, value: str | None) -> Callable[[list[Document]], None]:
    def broken(objects: list[Document]) -> None:
        data = find(objects, "ConfigMap", "-gateway")["data"]
        if value is None:
            del data[name]
        else:
            data[name] = value

    return broken


def _remove(kind: str, name: str) -> Callable[[list[Document]], None]:
    def broken(objects: list[Document]) -> None:
        objects.remove(find(objects, kind, name))

    return broken


def _first_of(kind: str, name: str, field: str) -> Callable[[list[Document]], None]:
    """Without the first rule of a NetworkPolicy's ingress or egress."""

    def broken(objects: list[Document]) -> None:
        find(objects, kind, name)["spec"][field].pop(0)

    return broken


def _last_of(kind: str, name: str, field: str) -> Callable[[list[Document]], None]:
    def broken(objects: list[Document]) -> None:
        find(objects, kind, name)["spec"][field].pop()

    return broken


def _twice(objects: list[Document]) -> None:
    objects.append(find(objects, "Service", "-gateway"))


def _no_port(objects: list[Document]) -> None:
    _container(objects)["ports"][0]["name"] = "web"


def _other_port(objects: list[Document]) -> None:
    _container(objects)["ports"][0]["containerPort"] = 8081


def _links(objects: list[Document]) -> None:
    _gateway(objects)["enableServiceLinks"] = True


def _mount(objects: list[Document]) -> None:
    _container(objects)["volumeMounts"][0]["mountPath"] = "/etc/muster/token"


def _volume(objects: list[Document]) -> None:
    _gateway(objects)["volumes"][0]["name"] = "tokns"


def _password_last(objects: list[Document]) -> None:
    env = _container(objects)["env"]
    env.append(env.pop(0))


def _root(objects: list[Document]) -> None:
    _gateway(objects)["securityContext"]["runAsNonRoot"] = False


def _writable(objects: list[Document]) -> None:
    _container(objects)["securityContext"]["readOnlyRootFilesystem"] = False


def _latest(objects: list[Document]) -> None:
    _container(objects)["image"] = "registry.example.com/muster:latest"


def _agent(**security: object) -> Callable[[list[Document]], None]:
    def broken(objects: list[Document]) -> None:
        pod = find(objects, "DaemonSet", "-agent")["spec"]["template"]["spec"]
        pod["containers"][0]["securityContext"] |= security

    return broken


def _folder(objects: list[Document]) -> None:
    _gateway(objects)["volumes"].append({"name": "x", "hostPath": {"path": "/srv"}})


def _side_car(objects: list[Document]) -> None:
    _gateway(objects)["containers"].append({"name": "proxy", "image": "proxy:1"})


def _everybody_from_the_store(objects: list[Document]) -> None:
    del find(objects, "NetworkPolicy", "-store")["spec"]["ingress"][0]["from"]


def _everywhere(objects: list[Document]) -> None:
    find(objects, "NetworkPolicy", "-sweeper")["spec"]["egress"].append({})


@dataclass(frozen=True)
class Broken:
    """An example, how it is broken, and which check must find it."""

    id: str
    example: str
    break_it: Callable[[list[Document]], None]
    check: Callable[[list[Document]], Problems]
    values: dict[str, Any] | None = None


POLICED = {"networkPolicy": {"enabled": True}}
GRACE = ("spec", "template", "spec", "terminationGracePeriodSeconds")
BROKEN = (
    Broken("an object twice", "dev", _twice, meaning.names),
    Broken(
        "no namespace",
        "dev",
        lambda objects: find(objects, "Service", "-gateway")["metadata"].pop("namespace"),
        meaning.names,
    ),
    Broken(
        "a service elsewhere than its pods",
        "dev",
        _set("Service", "-gateway", "metadata", "namespace", to="default"),
        meaning.names,
    ),
    Broken("a deployment's selector", "dev", _labels("Deployment", "-gateway"), meaning.selectors),
    Broken("a service's selector", "dev", _labels("Service", "-gateway"), meaning.selectors),
    Broken(
        "a budget's selector", "dev", _labels("PodDisruptionBudget", "-sweeper"), meaning.selectors
    ),
    Broken("a monitor's selector", "ha", _labels("ServiceMonitor", "-gateway"), meaning.selectors),
    Broken(
        "a spread that counts others",
        "dev",
        _set(
            "Deployment",
            "-gateway",
            "spec",
            "template",
            "spec",
            "topologySpreadConstraints",
            0,
            "labelSelector",
            "matchLabels",
            "app.kubernetes.io/component",
            to="sweeper",
        ),
        meaning.selectors,
    ),
    Broken("a port's name", "dev", _no_port, meaning.ports),
    Broken("a port nobody listens on", "dev", _other_port, meaning.ports),
    Broken(
        "a probe's port",
        "dev",
        _set(
            "Deployment",
            "-sweeper",
            "spec",
            "template",
            "spec",
            "containers",
            0,
            "readinessProbe",
            "httpGet",
            "port",
            to="http",
        ),
        meaning.ports,
    ),
    Broken(
        "an ingress to nobody",
        "ha",
        _set(
            "Ingress",
            "-gateway",
            "spec",
            "rules",
            0,
            "http",
            "paths",
            0,
            "backend",
            "service",
            "name",
            to="fleet-muster",
        ),
        meaning.ports,
    ),
    Broken(
        "a route to another port",
        "cluster",
        _set("HTTPRoute", "-gateway", "spec", "rules", 0, "backendRefs", 0, "port", to=80),
        meaning.ports,
    ),
    Broken(
        "a store at a port without a service",
        "dev",
        _variable(
            "Deployment",
            "-sweeper",
            "MUSTER_REDIS_URL",
            "redis://fleet-muster-store.gpus.svc:6380/0",
        ),
        meaning.ports,
    ),
    Broken(
        "a monitor's port",
        "ha",
        _set("ServiceMonitor", "-sweeper", "spec", "endpoints", 0, "port", to="http"),
        meaning.ports,
    ),
    Broken(
        "replicas beside an autoscaler",
        "ha",
        _set("Deployment", "-gateway", "spec", "replicas", to=2),
        meaning.ports,
    ),
    Broken("service links", "dev", _links, meaning.settings),
    Broken(
        "a misspelt setting",
        "dev",
        _settings("MUSTER_HEARTBEAT_INTERVALL_S", "15"),
        meaning.settings,
    ),
    Broken("a wrong value", "dev", _settings("MUSTER_PORT", "tcp://10.0.0.1"), meaning.settings),
    Broken(
        "a prefix that sweepers do not know",
        "dev",
        _settings("MUSTER_REDIS_PREFIX", "other"),
        meaning.settings,
    ),
    Broken(
        "an interval that sweepers do not know",
        "dev",
        _settings("MUSTER_HEARTBEAT_INTERVAL_S", "10"),
        meaning.settings,
    ),
    Broken(
        "an authority that sweepers do not know",
        "ha",
        _settings("MUSTER_REDIS_CA_FILE", None),
        meaning.settings,
    ),
    Broken(
        "an authority that is not mounted",
        "ha",
        _settings("MUSTER_REDIS_CA_FILE", "/etc/muster/store-tls/authority.crt"),
        meaning.references,
    ),
    Broken(
        "a store by TLS and certificates for one without",
        "ha",
        _variable("Deployment", "-gateway", "MUSTER_REDIS_URL", "redis://h:6379/0"),
        meaning.settings,
    ),
    Broken(
        "an agent's misspelt setting",
        "gke",
        _variable("DaemonSet", "-agent", "MUSTER_AGENT_SERVER", "ws://h"),
        meaning.settings,
    ),
    Broken("no secret", "dev", _remove("Secret", "-secrets"), meaning.references),
    Broken("no settings", "dev", _remove("ConfigMap", "-gateway"), meaning.references),
    Broken("no account", "dev", _remove("ServiceAccount", ""), meaning.references),
    Broken(
        "a secret without a key",
        "dev",
        lambda objects: find(objects, "Secret", "-secrets")["stringData"].pop("fleet-secret"),
        meaning.references,
    ),
    Broken("a file nowhere", "dev", _mount, meaning.references),
    Broken("a volume's name", "dev", _volume, meaning.references),
    Broken("a password that comes after its URL", "dev", _password_last, meaning.references),
    Broken(
        "a budget that never lets go",
        "dev",
        _set("PodDisruptionBudget", "-sweeper", "spec", "maxUnavailable", to=0),
        meaning.budgets,
    ),
    Broken(
        "a budget of all",
        "ha",
        _set("PodDisruptionBudget", "-gateway", "spec", "maxUnavailable", to="100%"),
        meaning.budgets,
    ),
    Broken(
        "a gateway killed while it drains",
        "dev",
        _set("Deployment", "-gateway", *GRACE, to=30),
        meaning.grace,
    ),
    Broken(
        "gateways that all drain at once",
        "ha",
        _set("Deployment", "-gateway", "spec", "minReadySeconds", to=0),
        meaning.grace,
    ),
    Broken(
        "a drain longer than its grace",
        "dev",
        _settings("MUSTER_DRAIN_WINDOW_S", "120"),
        meaning.grace,
    ),
    Broken(
        "an agent killed with its jobs",
        "gke",
        _set("DaemonSet", "-agent", *GRACE, to=300),
        meaning.grace,
    ),
    Broken("root", "dev", _root, meaning.hardening),
    Broken("a writable root", "dev", _writable, meaning.hardening),
    Broken("an image that is not pinned", "dev", _latest, meaning.hardening),
    Broken("agents that may gain privileges", "onprem", _agent(privileged=True), meaning.hardening),
    Broken("agents with capabilities", "onprem", _agent(capabilities={}), meaning.hardening),
    Broken("a folder of the machine", "ha", _folder, meaning.restricted),
    Broken("a container beside it that may gain privileges", "ha", _side_car, meaning.restricted),
    Broken(
        "the machine's network",
        "ha",
        _set("Deployment", "-sweeper", "spec", "template", "spec", "hostNetwork", to=True),
        meaning.restricted,
    ),
    Broken(
        "agents whose token is in another namespace",
        "dev",
        _set("DaemonSet", "-agent", "metadata", "namespace", to="elsewhere"),
        meaning.references,
        {"agent": {"enabled": True}, "secrets": {"requireJoinToken": True}},
    ),
    Broken(
        "nginx's 60 s",
        "ha",
        _set(
            "Ingress",
            "-gateway",
            "metadata",
            "annotations",
            "nginx.ingress.kubernetes.io/proxy-read-timeout",
            to="60",
        ),
        meaning.timeouts,
    ),
    Broken(
        "a route's time-out",
        "cluster",
        lambda objects: find(objects, "HTTPRoute", "-gateway")["spec"]["rules"][0].pop("timeouts"),
        meaning.timeouts,
    ),
    Broken("Google's 30 s", "gke", _remove("GCPBackendPolicy", "-gateway"), meaning.timeouts),
    Broken(
        "gateways that may not ask for names",
        "dev",
        _first_of("NetworkPolicy", "-gateway", "egress"),
        talking,
        POLICED,
    ),
    Broken(
        "sweepers that may not reach the store",
        "dev",
        _last_of("NetworkPolicy", "-sweeper", "egress"),
        talking,
        POLICED,
    ),
    Broken(
        "a store without its gateways",
        "dev",
        _first_of("NetworkPolicy", "-store", "ingress"),
        talking,
        POLICED,
    ),
    Broken(
        "gateways nobody may reach",
        "dev",
        _first_of("NetworkPolicy", "-gateway", "ingress"),
        talking,
        POLICED,
    ),
    Broken(
        "sweepers nobody may scrape",
        "dev",
        _last_of("NetworkPolicy", "-sweeper", "ingress"),
        talking,
        POLICED,
    ),
    Broken("a store for everybody", "dev", _everybody_from_the_store, talking, POLICED),
    Broken("sweepers that may everything", "dev", _everywhere, talking, POLICED),
    Broken(
        "sentinels without the primary's port",
        "ha",
        lambda objects: find(objects, "NetworkPolicy", "-gateway")["spec"]["egress"][1][
            "ports"
        ].pop(),
        talking,
    ),
)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.id)
def test_a_broken_release_is_found(broken: Broken) -> None:
    objects = rendered(broken.example, broken.values)
    broken.break_it(objects)
    assert list(broken.check(objects)) != []


@pytest.mark.parametrize(
    ("paths", "problem"),
    [
        ([{"path": "/", "pathType": "Prefix"}], "leads to /metrics"),
        ([{"path": "/v1", "pathType": "Prefix"}], "does not lead to /ws/node"),
    ],
)
def test_wrong_paths_to_the_outside_are_found(paths: list[Document], problem: str) -> None:
    objects = rendered("ha", {"exposure": {"paths": paths}})
    found = list(meaning.exposed(objects, routes()))
    assert any(problem in sentence for sentence in found)
