"""`python deploy/sbom.py > muster.cdx.json`: what Muster is made of, as CycloneDX 1.6.

Names, versions and hashes are those of requirements.lock, licences and who needs whom what the
installed packages say of themselves. What only tests and development need has the scope `excluded`.
The same lock gives the same document.

`--installed` names only what is installed beside the Python that runs it: so each image gets its
own list, and is not built with anything in it that the lock does not name.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_WHO = re.compile(r"^([A-Za-z0-9._-]+)\s*(?:\[([^]]*)])?")
_SHIPPED = ("server", "agent", "client")


def document(*, installed: bool = False) -> dict[str, Any]:
    """The whole of it, or what is installed here. Exits where the lock does not name all that."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = dict(_locked(LOCK.read_text()))
    if installed:
        locked = _installed(project["name"], locked)
    own = project["dependencies"] + [
        need for extra in _SHIPPED for need in project["optional-dependencies"][extra]
    ]
    shipped = _closure(own, locked)
    reference = f"pkg:pypi/{project['name']}@{project['version']}"
    components = [
        _component(name, version, hashes, needed=name in shipped)
        for name, (version, hashes) in sorted(locked.items())
    ]
    text = json.dumps([project["version"], components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, text)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": reference,
                "name": project["name"],
                "version": project["version"],
                "licenses": [{"expression": project["license"]}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": reference, "dependsOn": _references(map(_name, own), locked)},
            *(
                {"ref": _reference(name, locked), "dependsOn": _references(needs, locked)}
                for name in sorted(locked)
                if (needs := _needs(name))
            ),
        ],
    }


def _locked(text: str) -> Iterator[tuple[str, tuple[str, list[str]]]]:
    """Each pinned package: its name, version and hashes."""
    for block in re.split(r"\n(?=\S)", text):
        if pinned := _PINNED.match(block):
            yield _name(pinned[1]), (pinned[2], sorted(_HASH.findall(block)))


def _installed(own: str, locked: dict[str, Any]) -> dict[str, Any]:
    """Those of the locked that are installed here."""
    here = {_name(each.name): each.version for each in metadata.distributions()}
    here.pop(own, None)
    for name, version in here.items():
        if name not in locked or locked[name][0] != version:
            sys.exit(f"{name} {version} is installed, and not in {LOCK.name}")
    return {name: locked[name] for name in here}


def _component(name: str, version: str, hashes: list[str], *, needed: bool) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "scope": "required" if needed else "excluded",
        # One of each file of the release: pip takes any of them.
        "properties": [{"name": "muster:sha256", "value": value} for value in hashes],
    }
    if licence := _licence(name):
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def _licence(name: str) -> str:
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ""  # of another system than this one
    classifiers = [c for c in about.get_all("Classifier") or [] if c.startswith("License :: ")]
    said = about.get("License-Expression") or about.get("License") or ""
    return said if 0 < len(said) < 80 else "; ".join(c.rpartition(" :: ")[2] for c in classifiers)


def _needs(name: str, extras: frozenset[str] = frozenset()) -> list[str]:
    """Whom a package needs, with these of its extras."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    asked = [line.partition(";") for line in lines]
    return sorted(
        {
            _name(need)
            for need, _, marker in asked
            if "extra" not in marker or any(f"'{e}'" in marker.replace('"', "'") for e in extras)
        }
    )


def _closure(needs: Iterable[str], locked: dict[str, Any]) -> set[str]:
    """All that these need, and what those need."""
    found: set[str] = set()
    left = [(_name(need), _extras(need)) for need in needs]
    while left:
        name, extras = left.pop()
        if name in locked and name not in found:
            found.add(name)
            left += [(need, frozenset()) for need in _needs(name, extras)]
    return found


def _extras(need: str) -> frozenset[str]:
    match = _WHO.match(need)
    return frozenset((match[2] or "").replace(" ", "").split(",")) if match else frozenset()


def _name(need: str) -> str:
    match = _WHO.match(need.strip())
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else need


def _references(names: Iterable[str], locked: dict[str, Any]) -> list[str]:
    return sorted({_reference(name, locked) for name in names if name in locked})


def _reference(name: str, locked: dict[str, Any]) -> str:
    return f"pkg:pypi/{name}@{locked[name][0]}"


if __name__ == "__main__":
    json.dump(
        document(installed="--installed" in sys.argv[1:]), sys.stdout, indent=2, ensure_ascii=False
    )
    sys.stdout.write("\n")
