"""docs/kubernetes.md: what it calls tried is tried, and what it names is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart import CHART, EXAMPLES, template
from tests.deploy.cluster import cluster
from tests.deploy.tools import tools

ROOT = CHART.parents[1]
TEXT = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
TRIED = re.findall(r"<!-- tried -->\n```sh\n(.*?)```", TEXT, re.S)


@pytest.mark.timeout(300)
def test_what_the_page_calls_tried_works_on_the_stand_in(tmp_path: Path) -> None:
    for name in ("helm", "deploy"):
        (tmp_path / name).symlink_to(ROOT / name)
    script = "set -eu\n" + "".join(TRIED)
    path = f"{tools()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    with cluster(tmp_path) as made:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={"PATH": path, "KUBECONFIG": str(made.kubeconfig), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        there = made.there()
    assert made.refused == []
    assert ("Deployment", "muster-gateway") in there
    assert not {name for _, name in there} & {"muster-secrets", "muster-store"}, "of the trial"


def test_every_value_the_page_names_is_one_of_the_chart() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    named = re.findall(r"`([a-z][A-Za-z]+(?:\.[A-Za-z]+)+)\b[^`/]*`", TEXT)
    sections = {name for name, value in values.items() if isinstance(value, dict)}
    checked = 0
    for path in named:
        inner = values
        if path.split(".")[0] not in sections:
            continue
        for part in path.split("."):
            assert part in inner, path
            inner = inner[part]
        checked += 1
    assert checked > 30


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_named_beside_the_chart(example: str) -> None:
    assert f"(examples/{example}.yaml)" in (CHART / "README.md").read_text("utf-8")
    assert template(example).returncode == 0
