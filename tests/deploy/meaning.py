"""What the schemas of Kubernetes can't see: whether the objects of a release fit each other.

Each check takes all objects of a release and returns a sentence for everything that does not hold.
They are pure; tests run them on every example, and on examples broken on purpose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from gateway.settings import GatewaySettings
from muster.agent.config import AgentConfig, ConfigError
from muster.agent.config import variable_of as agent_variable
from registry.settings import (
    RegistrySettings,
    SettingsError,
    load,
    unknown_variables,
    variables,
)
from sweeper.settings import SweeperSettings
from tests.deploy.chart import (
    FOREIGN_SECRETS,
    Document,
    Workload,
    environment,
    matches,
    workloads,
)

Problems = Iterator[str]
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_URLS = {"gateway-url": "redis://:x@h:6379/0", "sweeper-url": "redis://:x@h:6379/0"}
_SOCKET_PATH = "/ws/node"
_SILENCE_S = 90
"""Sockets silent for longer are closed by the gateway itself."""


def _named(objects: list[Document], kind: str) -> dict[str, Document]:
    return {o["metadata"]["name"]: o for o in objects if o["kind"] == kind}


def _selected(selector: Mapping[str, str], objects: list[Document]) -> list[Workload]:
    return [w for w in workloads(objects) if matches(selector, w.labels)]


def _ports(workload: Workload) -> dict[str, int]:
    """Ports by name."""
    return {
        port["name"]: port["containerPort"]
        for container in workload.containers
        for port in container.get("ports", [])
    }


def names(objects: list[Document]) -> Problems:
    """No two objects have one name; all but agents are in one namespace, and carry labels."""
    seen = set()
    places = {o["metadata"].get("namespace") for o in objects if o["kind"] != "DaemonSet"}
    if len(places) > 1:
        yield f"the objects are in {sorted(map(str, places))}"
    for found in objects:
        meta = found["metadata"]
        key = (found["kind"], meta["name"])
        if key in seen:
            yield f"two objects are {key[0]} {key[1]}"
        seen.add(key)
        if len(meta["name"]) > 63:
            yield f"{key[0]} {key[1]}: the name is longer than 63 characters"
        if "namespace" not in meta:
            yield f"{key[0]} {key[1]} has no namespace"
        if "app.kubernetes.io/instance" not in meta.get("labels", {}):
            yield f"{key[0]} {key[1]} does not carry the release's labels"


def selectors(objects: list[Document]) -> Problems:
    """Who selects pods or services finds those it means, and no others."""
    for workload in workloads(objects):
        if not matches(workload.selector, workload.labels):
            yield f"{workload.kind} {workload.name} does not select its own pods"
        others = [w.name for w in _selected(workload.selector, objects) if w.name != workload.name]
        if others:
            yield f"{workload.kind} {workload.name} also selects pods of {others}"
        for spread in workload.spec.get("topologySpreadConstraints", []):
            if not matches(spread["labelSelector"]["matchLabels"], workload.labels):
                yield f"{workload.name}: a topology spread counts other pods"
    for kind, field in (
        ("Service", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        for name, found in _named(objects, kind).items():
            selector = found["spec"][field]
            chosen = _selected(selector.get("matchLabels", selector), objects)
            if [w.name for w in chosen] != [name]:
                yield f"{kind} {name} selects pods of {[w.name for w in chosen]}"
    services = _named(objects, "Service")
    for name, monitor in _named(objects, "ServiceMonitor").items():
        wanted = monitor["spec"]["selector"]["matchLabels"]
        chosen_services = [
            s for s in services.values() if matches(wanted, s["metadata"].get("labels", {}))
        ]
        if [s["metadata"]["name"] for s in chosen_services] != [name]:
            yield f"ServiceMonitor {name} does not select the Service of its name, or others too"
        if (
            monitor["metadata"]["namespace"]
            not in monitor["spec"]["namespaceSelector"]["matchNames"]
        ):
            yield f"ServiceMonitor {name} looks in another namespace"


def ports(objects: list[Document]) -> Problems:
    """Every port that is named somewhere is there, and the process listens on it."""
    services = _named(objects, "Service")
    offered: dict[str, dict[str, int]] = {}
    for name, service in services.items():
        offered[name] = {p["name"]: p["port"] for p in service["spec"]["ports"]}
        for workload in _selected(service["spec"]["selector"], objects):
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in _ports(workload):
                    yield f"Service {name}: {workload.name} has no port {port['targetPort']}"
                elif service["spec"].get("clusterIP") == "None" and (
                    port["port"] != _ports(workload)[port["targetPort"]]
                ):
                    yield f"Service {name} is headless, and its port is not the pods'"
    for workload in workloads(objects):
        own = environment(workload, objects)
        for variable, port_name in (("MUSTER_PORT", "http"), ("MUSTER_SWEEPER_PORT", "metrics")):
            listens = own.get(variable)
            if listens is not None and str(_ports(workload).get(port_name)) != listens:
                yield f"{workload.name} listens on {listens}, its port {port_name} is another"
        for container in workload.containers:
            for probe in _PROBES:
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if port is not None and port not in _ports(workload):
                    yield f"{workload.name}: {probe} asks port {port}, which it has not"
        places = {f"{service['metadata']['namespace']}.svc" for service in services.values()}
        yield from _addresses(workload, own, offered, places)
    for where, name, port in _backends(objects):
        if name not in services:
            yield f"{where} leads to the Service {name}, which is not there"
        elif port not in offered[name] and port not in offered[name].values():
            yield f"{where}: the Service {name} has no port {port}"
    for name, monitor in _named(objects, "ServiceMonitor").items():
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint["port"] not in offered.get(name, {}):
                yield f"ServiceMonitor {name}: its Service has no port {endpoint['port']}"
    for scaler in (o for o in objects if o["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")):
        target = scaler["spec"]["scaleTargetRef"]["name"]
        if target not in _named(objects, "Deployment"):
            yield f"{scaler['kind']} scales {target}, which is not there"
        elif "replicas" in _named(objects, "Deployment")[target]["spec"]:
            yield f"{target} says its replicas, which {scaler['kind']} decides"


def _addresses(
    workload: Workload,
    own: Mapping[str, str],
    offered: Mapping[str, Mapping[str, int]],
    places: set[str],
) -> Problems:
    for variable in ("MUSTER_REDIS_URL", "MUSTER_SERVER", "MUSTER_AGENT_SERVERS"):
        for url in own.get(variable, "").split(","):
            host, _, port = urlsplit(url).netloc.rpartition("@")[2].partition(":")
            service, _, place = host.partition(".")
            if place not in places:
                continue
            if int(port) not in offered.get(service, {}).values():
                yield f"{workload.name}: {variable} is {url}, which no Service offers"


def _backends(objects: list[Document]) -> Iterator[tuple[str, str, Any]]:
    for name, ingress in _named(objects, "Ingress").items():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                port = service["port"]
                yield f"Ingress {name}", service["name"], port.get("name", port.get("number"))
    for name, route in _named(objects, "HTTPRoute").items():
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                yield f"HTTPRoute {name}", backend["name"], backend["port"]
    for kind in ("GCPBackendPolicy", "HealthCheckPolicy"):
        for name, policy in _named(objects, kind).items():
            service = next(
                (s for s in _named(objects, "Service") if s == policy["spec"]["targetRef"]["name"]),
                policy["spec"]["targetRef"]["name"],
            )
            yield f"{kind} {name}", service, "http"


def asked(objects: list[Document]) -> set[tuple[str, str]]:
    """Every path that Kubernetes, Prometheus or a load balancer asks of a part: (part, path)."""
    found = set()
    for workload in workloads(objects):
        for container in workload.containers:
            for probe in _PROBES:
                if "httpGet" in container.get(probe, {}):
                    found.add((workload.part, container[probe]["httpGet"]["path"]))
    for monitor in _named(objects, "ServiceMonitor").values():
        part = monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]
        found |= {(part, endpoint["path"]) for endpoint in monitor["spec"]["endpoints"]}
    for ingress in _named(objects, "Ingress").values():
        for note, value in ingress["metadata"].get("annotations", {}).items():
            if re.search(r"check-http$|healthcheck-path$|health-check-uri$", note):
                found.add(("gateway", value))
    for config in _named(objects, "BackendConfig").values():
        found.add(("gateway", config["spec"]["healthCheck"]["requestPath"]))
    for policy in _named(objects, "HealthCheckPolicy").values():
        checks = policy["spec"]["default"]["config"]
        found |= {("gateway", c["requestPath"]) for c in checks.values() if isinstance(c, dict)}
    return found


def settings(objects: list[Document]) -> Problems:
    """Processes know every variable they are given, and start with what it says."""
    for workload in workloads(objects):
        own = environment(workload, objects, _URLS)
        container = workload.spec["containers"][0]
        if workload.spec.get("enableServiceLinks", True) is not False:
            yield f"{workload.name}: a Service called muster would set MUSTER_PORT"
        if workload.part in ("gateway", "sweeper"):
            cls = GatewaySettings if workload.part == "gateway" else SweeperSettings
            if container["args"] != [workload.part]:
                yield f"{workload.name} runs {container['args']}"
            yield from (f"{workload.name}: {warning}" for warning in unknown_variables(cls, own))
            try:
                load(cls, _readable(own))
            except SettingsError as error:
                yield f"{workload.name} does not start: {error}"
        elif workload.part in ("agent", "test"):
            known = {agent_variable(name) for name in AgentConfig.__dataclass_fields__}
            known |= {"MUSTER_SERVER", "MUSTER_TOKEN"} if workload.part == "test" else set()
            for name in own:
                if name.startswith("MUSTER_") and name not in known:
                    yield f"{workload.name}: {name} is not a setting"
            try:
                AgentConfig.load(own)
            except ConfigError as error:
                yield f"{workload.name} does not start: {error}"
    for name in sorted(_AGREED):
        said = {
            environment(workload, objects, _URLS).get(name)
            for workload in workloads(objects)
            if workload.part in ("gateway", "sweeper")
        }
        if len(said) > 1:
            yield f"gateways and sweepers do not agree on {name}"


def _readable(own: Mapping[str, str]) -> dict[str, str]:
    """The environment with files of secrets as if they were here; `references` asks for them."""
    return {
        name: __file__ if name.endswith("_FILE") and value.startswith("/etc/muster/") else value
        for name, value in own.items()
    }


# But for who logs in there.
_AGREED = {*variables(RegistrySettings)} - {"MUSTER_REDIS_URL"}


def references(objects: list[Document]) -> Problems:
    """Every secret, key, config map, volume and account that is referred to is there."""
    made = _named(objects, "Secret")
    maps = {name: tuple(m["data"]) for name, m in _named(objects, "ConfigMap").items()}
    accounts = {*_named(objects, "ServiceAccount"), "default"}
    for workload in workloads(objects):
        if workload.spec.get("serviceAccountName", "default") not in accounts:
            yield f"{workload.name}: no account {workload.spec['serviceAccountName']}"
        secrets = dict(FOREIGN_SECRETS) | {
            name: tuple(found["stringData"])
            for name, found in made.items()
            if found["metadata"]["namespace"] == workload.namespace
        }
        for kind, name, key in _referred(workload):
            known = secrets if kind == "secret" else maps
            if name not in known:
                yield f"{workload.name} refers to the {kind} {name}, which is not there"
            elif key is not None and key not in known[name]:
                yield f"{workload.name}: the {kind} {name} has no key {key}"
        volumes = {volume["name"] for volume in workload.spec.get("volumes", [])}
        volumes |= {"data"} if workload.kind == "StatefulSet" else set()
        mounted = {
            mount["name"]
            for container in workload.containers
            for mount in container.get("volumeMounts") or []
        }
        for name in mounted - volumes:
            yield f"{workload.name} mounts the volume {name}, which is not there"
        for name in volumes - mounted:
            yield f"{workload.name} mounts nowhere the volume {name}"
        for variable, value in environment(workload, objects).items():
            if "$(" in value:
                yield f"{workload.name}: {variable} refers to a variable that comes later, or never"
        yield from _files(workload, objects)


def _referred(workload: Workload) -> Iterator[tuple[str, str, str | None]]:
    for container in workload.containers:
        for variable in container.get("env", []):
            if "secretKeyRef" in variable.get("valueFrom", {}):
                found = variable["valueFrom"]["secretKeyRef"]
                yield "secret", found["name"], found["key"]
        for source in container.get("envFrom", []):
            for kind, field in (("secret", "secretRef"), ("config map", "configMapRef")):
                if field in source:
                    yield kind, source[field]["name"], None
        for mount in container.get("volumeMounts") or []:
            for volume in workload.spec.get("volumes", []):
                if volume["name"] == mount["name"] and "configMap" in volume and "subPath" in mount:
                    yield "config map", volume["configMap"]["name"], mount["subPath"]
    for volume in workload.spec.get("volumes", []):
        if "secret" in volume:
            for item in volume["secret"].get("items", [{"key": None}]):
                yield "secret", volume["secret"]["secretName"], item["key"]
        if "configMap" in volume:
            yield "config map", volume["configMap"]["name"], None


def _files(workload: Workload, objects: list[Document]) -> Problems:
    """Files that settings name are in a secret that is mounted there."""
    places: dict[str, tuple[str, ...]] = {}
    volumes = {volume["name"]: volume for volume in workload.spec.get("volumes", [])}
    for mount in workload.spec["containers"][0].get("volumeMounts") or []:
        secret = volumes.get(mount["name"], {}).get("secret")
        if secret is None:
            continue
        made = _named(objects, "Secret").get(secret["secretName"], {}).get("stringData")
        keys = tuple(made) if made else FOREIGN_SECRETS.get(secret["secretName"], ())
        items = tuple(item["path"] for item in secret.get("items", []))
        places[mount["mountPath"]] = items or keys
    for variable, value in environment(workload, objects).items():
        if variable.endswith("_FILE") and value.startswith("/etc/muster/"):
            directory, _, name = value.rpartition("/")
            if name not in places.get(directory, ()):
                yield f"{workload.name}: {variable} is {value}, and nothing is mounted there"


def budgets(objects: list[Document]) -> Problems:
    """A budget lets machines be emptied, and not all pods be taken at once."""
    for name, budget in _named(objects, "PodDisruptionBudget").items():
        for workload in _selected(budget["spec"]["selector"]["matchLabels"], objects):
            at_once = _allowed(budget["spec"], workload.replicas)
            if at_once < 1:
                yield f"PodDisruptionBudget {name} never lets a pod of {workload.replicas} go"
            elif at_once >= workload.replicas > 1:
                yield f"PodDisruptionBudget {name} lets all {workload.replicas} pods go at once"


def _allowed(spec: Mapping[str, Any], replicas: int) -> int:
    def count(value: int | str, *, up: bool) -> int:
        if isinstance(value, int):
            return value
        share = int(value.rstrip("%")) * replicas
        return -(-share // 100) if up else share // 100

    if "maxUnavailable" in spec:
        return count(spec["maxUnavailable"], up=True)
    return replicas - count(spec["minAvailable"], up=True)


def grace(objects: list[Document]) -> Problems:
    """Who is told to stop has the time it was promised."""
    for workload in workloads(objects):
        own = environment(workload, objects, _URLS)
        given = workload.spec.get("terminationGracePeriodSeconds", 30)
        if workload.part == "gateway":
            stop = workload.spec["containers"][0].get("lifecycle", {}).get("preStop", {})
            before = float(stop["exec"]["command"][1]) if stop else 0.0
            drains = load(GatewaySettings, _readable(own)).drain_window_s
            if given < before + drains + 5:  # uvicorn gives answers under way five seconds
                yield f"{workload.name}: {before:g} s, {drains:g} s of draining and 5 s > {given} s"
            rollout = _named(objects, workload.kind)[workload.name]["spec"]
            pace = rollout.get("minReadySeconds", 0)
            if rollout.get("progressDeadlineSeconds", 600) <= pace:
                yield f"{workload.name}: Kubernetes refuses a deadline of {pace} s and less"
            if pace < before + drains:
                yield f"{workload.name}: the next one is stopped while this one still drains"
        elif workload.part == "agent":
            jobs = AgentConfig.load(own).drain_timeout_s
            if given <= jobs:
                yield f"{workload.name}: jobs may take {jobs:g} s, it is killed after {given} s"
            rollout = _named(objects, workload.kind)[workload.name]["spec"]
            if rollout.get("minReadySeconds", 0) <= AgentConfig.load(own).probe_deadline_s:
                yield f"{workload.name}: the next one is replaced before this one knows its cards"


_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def restricted(objects: list[Document]) -> Problems:
    """What PodSecurity's policy `restricted` asks of pods; agents can't, and may live elsewhere."""
    for workload in workloads(objects):
        if workload.part == "agent":
            continue
        pod = workload.spec
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(name):
                yield f"{workload.name}: {name}"
        for volume in pod.get("volumes", []):
            for kind in volume.keys() - {"name"} - _VOLUMES:
                yield f"{workload.name}: the volume {volume['name']} is a {kind}"
        for container in workload.containers:
            own = pod.get("securityContext", {}) | container.get("securityContext", {})
            where = f"{workload.name}, {container['name']}"
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{where}: a port of its machine"
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{where}: may gain privileges"
            added = set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}
            if own.get("capabilities", {}).get("drop") != ["ALL"] or added:
                yield f"{where}: keeps capabilities"
            if own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0:
                yield f"{where}: may run as root"
            if own.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
                yield f"{where}: is without seccomp"


def hardening(objects: list[Document]) -> Problems:
    """Nobody runs as root, writes to the root, gains anything, or may ask Kubernetes."""
    for workload in workloads(objects):
        pod = workload.spec.get("securityContext", {})
        if workload.spec.get("automountServiceAccountToken") is not False:
            yield f"{workload.name} has a token of Kubernetes"
        if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{workload.name} is without seccomp"
        for container in workload.containers:
            own = pod | container.get("securityContext", {})
            where = f"{workload.name}, {container['name']}"
            if container["name"] != "own-state" and not (
                own.get("runAsNonRoot") and own.get("runAsUser")
            ):
                yield f"{where}: may run as root"
            if not own.get("readOnlyRootFilesystem"):
                yield f"{where}: may write to its root"
            if own.get("privileged"):
                if workload.part != "agent":
                    yield f"{where}: may everything"
                if own.get("allowPrivilegeEscalation") is False:
                    yield f"{where}: Kubernetes refuses privileged without escalation"
            elif own.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: may gain privileges"
            elif own.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{where}: keeps capabilities"
            image = container["image"]
            if ":" not in image.rsplit("/", 1)[-1] or image.endswith(":latest"):
                yield f"{where}: its image {image} is not pinned"


# How each controller is told for how long a socket may be silent. Traefik sets no such limit.
_WAITS = {
    "nginx.ingress.kubernetes.io/": "proxy-read-timeout",
    "haproxy.org/": "timeout-tunnel",
    "haproxy-ingress.github.io/": "timeout-tunnel",
    "alb.ingress.kubernetes.io/": "load-balancer-attributes",
}


def timeouts(objects: list[Document]) -> Problems:
    """Sockets that are silent for as long as they may be are not cut in between."""
    for name, ingress in _named(objects, "Ingress").items():
        notes = ingress["metadata"].get("annotations", {})
        for controller, wait in _WAITS.items():
            if not any(note.startswith(controller) for note in notes):
                continue
            seconds = _seconds(notes.get(controller + wait, "60"))
            if seconds <= _SILENCE_S:
                yield f"Ingress {name}: {controller}{wait}: {seconds:g} s of silence cut a socket"
        if notes.get("nginx.ingress.kubernetes.io/proxy-buffering") == "on":
            yield f"Ingress {name} keeps events back"
    for name, service in _named(objects, "Service").items():
        told = service["metadata"].get("annotations", {}).get("cloud.google.com/backend-config")
        for config in json.loads(told).values() if told else ():
            found = _named(objects, "BackendConfig").get(config, {"spec": {"timeoutSec": 30}})
            if found["spec"]["timeoutSec"] < 3600:
                yield f"Service {name}: its sockets are cut after {found['spec']['timeoutSec']} s"
    policies = [p["spec"]["default"] for p in _named(objects, "GCPBackendPolicy").values()]
    for name, route in _named(objects, "HTTPRoute").items():
        for rule in route["spec"]["rules"]:
            paths = {match["path"]["value"] for match in rule["matches"]}
            if not paths & {_SOCKET_PATH, "/v1/events"}:
                continue
            unbounded = rule.get("timeouts", {}).get("request") == "0s"
            if not unbounded and not any(p["timeoutSec"] >= 3600 for p in policies):
                yield f"HTTPRoute {name} ends {sorted(paths)} after the proxy's own time-out"


def _seconds(text: str) -> float:
    found = re.search(r"([0-9]+)(h|m|s)?$", text)
    assert found is not None, text
    return int(found[1]) * {"h": 3600, "m": 60}.get(found[2] or "", 1)


def exposed(objects: list[Document], routes: Iterable[str]) -> Problems:
    """Whoever is outside reaches everything the application serves, but not its insides."""
    inside = {"/metrics", "/healthz", "/readyz"}
    for name, paths in _outside(objects):
        for route in routes:
            reached = any(
                route == path or (prefix and route.startswith(path.rstrip("/") + "/"))
                for path, prefix in paths
            )
            if route in inside and reached:
                yield f"{name} leads to {route}"
            if route not in inside and not reached:
                yield f"{name} does not lead to {route}"


def _outside(objects: list[Document]) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    for name, ingress in _named(objects, "Ingress").items():
        yield (
            f"Ingress {name}",
            [
                (path["path"], path["pathType"] == "Prefix")
                for rule in ingress["spec"]["rules"]
                for path in rule["http"]["paths"]
            ],
        )
    for name, route in _named(objects, "HTTPRoute").items():
        yield (
            f"HTTPRoute {name}",
            [
                (match["path"]["value"], match["path"]["type"] == "PathPrefix")
                for rule in route["spec"]["rules"]
                for match in rule["matches"]
            ],
        )


CHECKS: tuple[Callable[[list[Document]], Problems], ...] = (
    names,
    selectors,
    ports,
    settings,
    references,
    budgets,
    grace,
    hardening,
    restricted,
    timeouts,
)
"""All but `exposed`, which asks the application, and those of tests/deploy/talking.py."""
