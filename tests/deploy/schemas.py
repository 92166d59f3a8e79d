"""The schemas of Kubernetes and of custom resources: a field that is not known is an error.

Those of Kubernetes are from `kubernetes-validate`, read from its wheel and judged by the validator
that the project's other tests use; those of custom resources from npm's `@kubernetes-models`.
"""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from tests.deploy.chart import Document
from tests.deploy.tools import tools

VERSIONS = tuple(f"1.{minor}" for minor in range(28, 38))
"""From the oldest the chart says to the newest whose schemas are known."""
_CRDS = Path(__file__).with_name("crds.mjs")
_REFERENCE = re.compile(r'#/\$defs/([^"]+)"')
_ROOT = "kubernetes_validate/kubernetes-json-schema"


def custom(found: Document) -> bool:
    """Whether an object's kind is not of Kubernetes itself."""
    group = found["apiVersion"].rpartition("/")[0]
    return "." in group and (not group.endswith(".k8s.io") or group.startswith("gateway."))


@cache
def _validator(version: str, kind: str, api_version: str) -> Draft202012Validator | None:
    named = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    folder = f"{_ROOT}/v{version}.0-local-strict"
    with zipfile.ZipFile(tools() / "schemas.zip") as archive:
        try:
            schema = archive.read(f"{folder}/{kind.lower()}-{named}.json").decode()
        except KeyError:
            return None
    # Of the thousand definitions only those it needs, or each takes a second to prepare.
    known = _definitions(version)
    needed: dict[str, Any] = {}
    coming = set(_REFERENCE.findall(schema))
    while coming:
        name = coming.pop()
        needed[name] = known[name]
        coming |= set(_REFERENCE.findall(json.dumps(known[name]))) - needed.keys()
    whole = json.dumps(json.loads(schema) | {"$defs": needed})
    return Draft202012Validator(json.loads(whole.replace("/api/_definitions.json#", "#")))


@cache
def _definitions(version: str) -> dict[str, Any]:
    path = f"{_ROOT}/v{version}.0-local-strict/_definitions.json"
    with zipfile.ZipFile(tools() / "schemas.zip") as archive:
        found: dict[str, Any] = json.loads(archive.read(path))["$defs"]
    return found


def problems(objects: list[Document], version: str) -> Iterator[str]:
    """A sentence for everything that this version of Kubernetes would refuse or drop."""
    for found in objects:
        if custom(found):
            continue
        name = f"{found['kind']} {found['metadata']['name']}"
        validator = _validator(version, found["kind"], found["apiVersion"])
        if validator is None:
            yield f"{name}: Kubernetes {version} has no {found['apiVersion']}"
            continue
        for error in validator.iter_errors(found):
            where = ".".join(map(str, error.instance_path))
            yield f"{name}: {where}: {error.message}"


def custom_problems(objects: list[Document]) -> list[str]:
    """A sentence for every custom resource that its operator would refuse or not understand."""
    done = subprocess.run(
        ["node", str(_CRDS), str(tools() / "node_modules")],
        input=json.dumps([found for found in objects if custom(found)]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()
