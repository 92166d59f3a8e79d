"""NetworkPolicies against who really talks to whom.

Who talks to whom is read from the processes' own environment; the policies are judged as a cluster
would: a pod that no policy selects may everything, one that is selected only what a rule says, and
a connection needs both ends' leave. A pod on its machine's network has the machine's address, so
no selector finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from tests.deploy.chart import NAMESPACE, Document, Workload, environment, matches, workloads

_URLS = {"gateway-url": "redis://:x@elsewhere:6379/0", "sweeper-url": "redis://:x@elsewhere:6379/0"}


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod of the release, a foreign pod, or an address."""

    name: str
    labels: Mapping[str, str] | None = None
    """A pod's; None: only an address."""
    namespace: str = NAMESPACE
    namespace_labels: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Talk:
    """Somebody opens connections to somebody at a port."""

    source: End
    target: End
    port: int


MONITOR = End(
    "Prometheus",
    {"app": "prometheus"},
    "monitoring",
    {"kubernetes.io/metadata.name": "monitoring"},
)
STRANGER = End("a stranger's pod", {"app": "stranger"}, "elsewhere", {})
NEIGHBOUR = End("another pod of the namespace", {"app": "neighbour"})
OUTSIDE = End("an address outside")


def _end(workload: Workload) -> End:
    if workload.spec.get("hostNetwork"):
        return End(workload.name)
    there = {"kubernetes.io/metadata.name": workload.namespace}
    return End(workload.name, workload.labels, workload.namespace, there)


def wanted(objects: list[Document]) -> Iterator[Talk]:
    """What must be possible."""
    services = _services(objects)
    for workload in workloads(objects):
        own = environment(workload, objects, _URLS)
        for variable in ("MUSTER_REDIS_URL", "MUSTER_SERVER", "MUSTER_AGENT_SERVERS"):
            for host, port in _addresses(own.get(variable, "")):
                target = End(host)
                if host in services:
                    part = services[host]
                    target = _end(part)
                    port = _first_port(part)
                if workload.part == "agent" and target.labels is None:
                    continue
                yield Talk(_end(workload), target, port)
        if workload.part in ("gateway", "sweeper"):
            yield Talk(_end(workload), End("the cluster's names"), 53)
            yield Talk(MONITOR, _end(workload), _first_port(workload))


def _services(objects: list[Document]) -> dict[str, Workload]:
    """Who answers at which name in the cluster."""
    found = {}
    for service in (o for o in objects if o["kind"] == "Service"):
        meta = service["metadata"]
        for workload in workloads(objects):
            if matches(service["spec"]["selector"], workload.labels):
                found[f"{meta['name']}.{meta['namespace']}.svc"] = workload
    return found


def unwanted(objects: list[Document]) -> Iterator[Talk]:
    """What must not be possible where there are policies."""
    for workload in workloads(objects):
        if workload.part == "store":
            neighbour = replace(NEIGHBOUR, namespace=workload.namespace)
            for source in (STRANGER, neighbour, OUTSIDE, MONITOR):
                yield Talk(source, _end(workload), 6379)
        if workload.part == "sweeper":
            for source in (STRANGER, OUTSIDE):
                yield Talk(source, _end(workload), 9090)
        if workload.part in ("gateway", "sweeper"):
            yield Talk(_end(workload), STRANGER, 80)


def _addresses(text: str) -> Iterator[tuple[str, int]]:
    scheme = text.split("://")[0]
    for host in urlsplit(text).netloc.rpartition("@")[2].split(","):
        if host:
            name, _, port = host.partition(":")
            yield name, int(port or {"wss": 443, "https": 443}.get(scheme, 80))
    if "sentinel" in scheme:
        yield "the primary the sentinels name", 6379


def _first_port(workload: Workload) -> int:
    found: int = workload.spec["containers"][0]["ports"][0]["containerPort"]
    return found


def talking(objects: list[Document]) -> Iterator[str]:
    """A sentence for each connection that is needed and forbidden, or forbidden nowhere."""
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    if not policies:
        return
    for talk in wanted(objects):
        for refused in _refusals(talk, policies, objects):
            yield f"{talk.source.name} needs {talk.target.name} at {talk.port}; {refused}"
    for talk in unwanted(objects):
        if not list(_refusals(talk, policies, objects)):
            yield f"{talk.source.name} reaches {talk.target.name} at {talk.port}"


def _refusals(talk: Talk, policies: list[Document], objects: list[Document]) -> Iterator[str]:
    for own, other, direction, peers in (
        (talk.source, talk.target, "Egress", "to"),
        (talk.target, talk.source, "Ingress", "from"),
    ):
        mine = [
            policy
            for policy in policies
            if own.labels is not None
            and policy["metadata"]["namespace"] == own.namespace
            and matches(policy["spec"]["podSelector"].get("matchLabels", {}), own.labels)
            and direction in policy["spec"]["policyTypes"]
        ]
        rules = [rule for policy in mine for rule in policy["spec"].get(direction.lower(), [])]
        if mine and not any(
            _port(rule, talk, objects) and _peer(rule.get(peers), other, own) for rule in rules
        ):
            yield f"no rule of {own.name}'s {direction} allows it"


def _port(rule: Mapping[str, Any], talk: Talk, objects: list[Document]) -> bool:
    if "ports" not in rule:
        return True
    names = {
        port["name"]: port["containerPort"]
        for workload in workloads(objects)
        if workload.name == talk.target.name
        for container in workload.containers
        for port in container.get("ports", [])
    }
    return any(names.get(port["port"], port["port"]) == talk.port for port in rule["ports"])


def _peer(peers: list[Mapping[str, Any]] | None, other: End, own: End) -> bool:
    if not peers:
        return True
    return any(_is(peer, other, own) for peer in peers)


def _is(peer: Mapping[str, Any], other: End, own: End) -> bool:
    if "ipBlock" in peer:
        return other.labels is None
    if other.labels is None:
        # Whether a foreign name is a pod of the namespaces told is the operator's to know.
        return "namespaceSelector" in peer and other is not OUTSIDE and other.name != own.name
    pods = matches((peer.get("podSelector") or {}).get("matchLabels", {}), other.labels)
    if "namespaceSelector" not in peer:
        return pods and other.namespace == own.namespace
    there = other.namespace_labels or {}
    return pods and matches((peer["namespaceSelector"] or {}).get("matchLabels", {}), there)
