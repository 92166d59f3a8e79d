"""The chart, rendered by real Helm, and ways to look at what comes out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import tools

CHART = Path(__file__).resolve().parents[2] / "helm" / "muster"
EXAMPLES = tuple(sorted(path.stem for path in (CHART / "examples").glob("*.yaml")))
RELEASE, NAMESPACE = "fleet", "gpus"

Document = dict[str, Any]

# Secrets that examples name and somebody else makes, and their keys.
FOREIGN_SECRETS: Mapping[str, tuple[str, ...]] = {
    "muster-production": ("fleet-secret", "api-tokens", "admin-token", "join-tokens", "join-token"),
    "muster-store-users": ("gateway-password", "sweeper-password", "sentinel-password"),
    "muster-store-tls": ("ca.crt", "tls.crt", "tls.key"),
    "memorystore-ca": ("ca.crt",),
    "muster-gateway-tls": ("tls.crt", "tls.key"),
    "muster-tls": ("tls.crt", "tls.key"),
    "muster-join-token": ("join-token",),
    "muster-store-urls": ("gateway-url", "sweeper-url"),
}


def helm(
    *arguments: str, major: int = 4, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """One run of Helm."""
    program = tools() / ("helm" if major == 4 else "helm3")
    return subprocess.run(
        [str(program), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def template(
    example: str | None = None, *more: str, major: int = 4, values: Mapping[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """`helm template` with an example's values and others on top; whatever comes of it."""
    arguments = ["template", RELEASE, str(CHART), "-n", NAMESPACE]
    if example:
        arguments += ["-f", str(CHART / "examples" / f"{example}.yaml")]
    if values is not None:
        arguments += ["-f", "-"]
    given = yaml.safe_dump(dict(values)) if values is not None else None
    return helm(*arguments, *more, major=major, stdin=given)


def documents(text: str) -> list[Document]:
    """The objects of a rendered text."""
    return [document for document in yaml.safe_load_all(text) if document]


@cache
def _rendered(example: str) -> str:
    done = template(example)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(example: str, values: Mapping[str, Any] | None = None) -> list[Document]:
    """The objects of an example, anew each time, so that a test may change them."""
    if values is None:
        return documents(_rendered(example))
    done = template(example, values=values)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def find(objects: list[Document], kind: str, name: str) -> Document:
    """An object by kind and the end of its name."""
    for found in objects:
        if found["kind"] == kind and found["metadata"]["name"].endswith(name):
            return found
    raise AssertionError(f"no {kind} …{name} among the rendered objects")


@dataclass(frozen=True)
class Workload:
    """Something that makes pods, or a pod."""

    kind: str
    name: str
    namespace: str
    selector: Mapping[str, str]
    labels: Mapping[str, str]
    spec: Document
    replicas: int
    """How many pods at least; of a DaemonSet one."""

    @property
    def part(self) -> str:
        """gateway, sweeper, store, agent or test."""
        return self.labels["app.kubernetes.io/component"]

    @property
    def containers(self) -> list[Document]:
        """Its containers, the initial ones too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def workloads(objects: list[Document]) -> list[Workload]:
    """All of them."""
    return list(_workloads(objects))


def _workloads(objects: list[Document]) -> Iterator[Workload]:
    least = {
        scaler["spec"]["scaleTargetRef"]["name"]: scaler["spec"].get(
            "minReplicas", scaler["spec"].get("minReplicaCount")
        )
        for scaler in objects
        if scaler["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    }
    for found in objects:
        meta = found["metadata"]
        if found["kind"] == "Pod":
            labels = meta["labels"]
            yield Workload("Pod", meta["name"], meta["namespace"], labels, labels, found["spec"], 1)
        elif found["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            spec = found["spec"]
            pod = spec["template"]
            yield Workload(
                found["kind"],
                meta["name"],
                meta["namespace"],
                spec["selector"]["matchLabels"],
                pod["metadata"]["labels"],
                pod["spec"],
                spec.get("replicas", least.get(meta["name"], 1)),
            )


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a selector's labels are among these."""
    return all(labels.get(name) == value for name, value in selector.items())


def environment(
    workload: Workload, objects: list[Document], secrets: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What the process of a workload finds in its environment; secrets are stood in for by their
    key, or by what `secrets` says of that key."""
    container = workload.spec["containers"][0]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            name = source["configMapRef"]["name"]
            for other in objects:
                if other["kind"] == "ConfigMap" and other["metadata"]["name"] == name:
                    found |= other["data"]
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            key = variable["valueFrom"]["secretKeyRef"]["key"]
            found[variable["name"]] = (secrets or {}).get(key, f"the-{key}")
        else:
            value = str(variable.get("value", ""))
            for name, known in list(found.items()):
                value = value.replace(f"$({name})", known)
            found[variable["name"]] = value
    return found
