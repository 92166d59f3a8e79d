"""A stand-in for a cluster: it keeps the objects it is given, and nothing ever runs.

As much of the API of Kubernetes as Helm and kubectl need to install, look up, upgrade, roll back
and remove a release. Fields that Kubernetes does not know it refuses too. There is no scheduler, no
controller and no other admission, so it says nothing about whether pods start.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.deploy import protobuf
from tests.deploy.chart import Document
from tests.deploy.schemas import problems
from tests.deploy.tools import tools

VERSION = "1.34"
KINDS: dict[str, dict[str, str]] = {
    "v1": {
        "configmaps": "ConfigMap",
        "secrets": "Secret",
        "services": "Service",
        "serviceaccounts": "ServiceAccount",
        "pods": "Pod",
        "namespaces": "Namespace",
    },
    "apps/v1": {
        "deployments": "Deployment",
        "statefulsets": "StatefulSet",
        "daemonsets": "DaemonSet",
    },
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "networking.k8s.io/v1": {"ingresses": "Ingress", "networkpolicies": "NetworkPolicy"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "monitoring.coreos.com/v1": {
        "servicemonitors": "ServiceMonitor",
        "prometheusrules": "PrometheusRule",
    },
}


@dataclass
class Cluster:
    """What is kept, by (path of the collection, name), and how programs are run against it."""

    kubeconfig: Path
    objects: dict[tuple[str, str], Document] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    version: int = 0

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One run of Helm 4."""
        return self._run("helm", *arguments)

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints. Raises AssertionError if it fails."""
        done = self._run("kubectl", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        home = str(self.kubeconfig.parent)
        return subprocess.run(
            [str(tools() / program), *arguments],
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": home, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def there(self) -> set[tuple[str, str]]:
        """Kind and name of everything but Helm's own records."""
        return {
            (found["kind"], name)
            for (_, name), found in self.objects.items()
            if not name.startswith("sh.helm.release.")
        }

    def secret(self, name: str) -> dict[str, str]:
        """What a secret holds."""
        found = next(o for (_, n), o in self.objects.items() if n == name and o["kind"] == "Secret")
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def put(self, collection: str, found: Document) -> Document | None:
        """Keeps an object as a cluster would; None if it would be refused."""
        wrong = list(problems([found], VERSION))
        if wrong:
            self.refused += wrong
            return None
        text = found.pop("stringData", None)
        if text:
            coded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
            found["data"] = found.get("data", {}) | coded
        self.version += 1
        meta = found["metadata"]
        meta["resourceVersion"] = str(self.version)
        meta.setdefault("uid", f"00000000-0000-0000-0000-{self.version:012d}")
        meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self.objects[collection, meta["name"]] = found
        return found


def _merged(old: Any, change: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(change, dict):
        return change
    kept = {key: value for key, value in old.items() if key not in change}
    new = {key: _merged(old.get(key), value) for key, value in change.items() if value is not None}
    return kept | new


class _Api(BaseHTTPRequestHandler):
    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the parent's
        """Nothing."""

    def _answer(self, body: Document, status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _no(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
        self._answer(status | {"code": code, "reason": reason, "message": message}, code)

    def _body(self) -> Document:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if text.startswith(protobuf.MAGIC):
            return protobuf.decoded(text)
        found: Document = (json.loads if text.startswith(b"{") else yaml.safe_load)(text)
        return found

    def _place(self) -> tuple[str, str, str]:
        """The collection's path, the object's name or "", the API's group and version."""
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        length = 2 if parts[0] == "api" else 3
        group, rest, namespace = "/".join(parts[1:length]), parts[length:], ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        name = rest[1] if len(rest) > 1 else ""
        return f"{namespace}/{group}/{rest[0]}", name, group

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.strip("/")
        if path == "version":
            self._answer({"major": "1", "minor": VERSION[2:], "gitVersion": f"v{VERSION}.0"})
        elif path == "api":
            self._answer({"kind": "APIVersions", "versions": ["v1"]})
        elif path == "apis":
            self._answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()})
        elif path.removeprefix("apis/").removeprefix("api/") in KINDS:
            self._answer(_resources(path.removeprefix("apis/").removeprefix("api/")))
        elif path == "openapi/v3":
            paths = {_root(each): {"serverRelativeURL": f"/openapi/v3/{each}"} for each in KINDS}
            self._answer({"paths": paths})
        elif path.startswith("openapi/v3/"):
            self._answer(_openapi(path.removeprefix("openapi/v3/")))
        elif path.startswith(("api/", "apis/")):
            self._get()
        else:
            self._no(404, "NotFound", path)

    def _get(self) -> None:
        collection, name, group = self._place()
        objects = self.cluster.objects
        if not name:
            asked = parse_qs(urlsplit(self.path).query).get("labelSelector", [""])[0]
            items = [o for (where, _), o in objects.items() if where == collection]
            items = [o for o in items if _selected(o, asked)]
            kind = KINDS[group][collection.rsplit("/", 1)[-1]]
            self._answer(
                {"kind": f"{kind}List", "apiVersion": group, "metadata": {}, "items": items}
            )
        elif (collection, name) in objects:
            self._answer(objects[collection, name])
        else:
            self._no(404, "NotFound", f'{collection} "{name}" not found')

    def _keep(self, collection: str, found: Document, status: int) -> None:
        kept = self.cluster.put(collection, found)
        if kept is None:
            self._no(400, "BadRequest", self.cluster.refused[-1])
        else:
            self._answer(kept, status)

    def do_POST(self) -> None:
        found = self._body()
        collection, _, _ = self._place()
        if (collection, found["metadata"]["name"]) in self.cluster.objects:
            self._no(409, "AlreadyExists", f"{collection} {found['metadata']['name']}")
        else:
            self._keep(collection, found, 201)

    def do_PUT(self) -> None:
        collection, _, _ = self._place()
        self._keep(collection, self._body(), 200)

    def do_PATCH(self) -> None:
        change = self._body()
        collection, name, _ = self._place()
        old = self.cluster.objects.get((collection, name))
        if self.headers["Content-Type"].startswith("application/apply-patch"):
            # One manager owns all: what it applies is what there is.
            meta = {k: v for k, v in (old or {}).get("metadata", {}).items() if k == "uid"}
            change["metadata"] = meta | change["metadata"]
            self._keep(collection, change, 200 if old else 201)
        elif old is None:
            self._no(404, "NotFound", name)
        else:
            self._keep(collection, _merged(old, change), 200)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        collection, name, _ = self._place()
        if self.cluster.objects.pop((collection, name), None) is None:
            self._no(404, "NotFound", name)
        else:
            self._answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})


def _selected(found: Document, asked: str) -> bool:
    labels = found["metadata"].get("labels", {})
    pairs = (pair.partition("=") for pair in asked.split(",") if pair)
    return all(labels.get(name) == value.lstrip("=") for name, _, value in pairs)


def _root(group_version: str) -> str:
    return f"apis/{group_version}" if "/" in group_version else f"api/{group_version}"


def _openapi(group_version: str) -> Document:
    """No schemas: only that the server itself judges fields, so that programs leave it to it."""
    group, _, version = group_version.rpartition("/")
    judges = [{"name": "fieldValidation", "in": "query"}]
    paths = {}
    for name, kind in KINDS[group_version].items():
        gvk = {"group": group, "version": version, "kind": kind}
        patch = {"parameters": judges, "x-kubernetes-group-version-kind": gvk}
        paths[f"/{_root(group_version)}/{name}/{{name}}"] = {"patch": patch}
    return {"openapi": "3.0.0", "info": {"title": "", "version": ""}, "paths": paths}


def _groups() -> list[Document]:
    made = []
    for group_version in KINDS:
        group, slash, version = group_version.partition("/")
        if slash:
            versions = [{"groupVersion": group_version, "version": version}]
            made.append({"name": group, "versions": versions, "preferredVersion": versions[0]})
    return made


def _resources(group_version: str) -> Document:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": [
            {"name": name, "singularName": kind.lower(), "kind": kind, "verbs": verbs}
            | {"namespaced": kind != "Namespace"}
            for name, kind in KINDS[group_version].items()
        ],
    }


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """A cluster on loopback, empty; `directory` gets the file by which programs find it."""
    made = Cluster(directory / "kubeconfig")
    api = type("Api", (_Api,), {"cluster": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), api)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    made.kubeconfig.write_text(yaml.safe_dump(config), "utf-8")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
