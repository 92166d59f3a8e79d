"""What the images are built from, and that each holds the list of what it is made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.images import IMAGES, LISTED

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=IMAGES.values())
def lines(request: pytest.FixtureRequest) -> list[str]:
    """The commands of a Dockerfile, each in one line."""
    text = re.sub(r"\\\n\s*", "", (ROOT / request.param).read_text("utf-8"))
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_all_that_is_copied_is_there_and_is_let_through(lines: list[str]) -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ")]
    own = {path for paths in copied if not paths[0].startswith("--from") for path in paths}
    assert {"requirements.lock", "gateway", "deploy/sbom.py"} <= own <= let_through
    assert all((ROOT / path).exists() for path in own)


def test_the_list_of_what_is_in_an_image_is_made_when_only_that_is_left(lines: list[str]) -> None:
    (build,) = [line for line in lines if "pip install" in line]
    steps = [step.strip() for step in build.removeprefix("RUN ").split("&&")]
    made = steps.index(f"/opt/muster/bin/python deploy/sbom.py --installed > {LISTED}")
    changes = [at for at, step in enumerate(steps) if re.search("pip (un)?install ", step)]
    assert len(changes) == 2
    assert max(changes) < made
    last = lines[max(at for at, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "COPY --from=build /opt/muster /opt/muster" in last


@pytest.mark.parametrize("page", ["docs/security.md", "docs/kubernetes.md"])
def test_the_pages_say_where_it_lies(page: str) -> None:
    assert f"`{LISTED}`" in (ROOT / page).read_text("utf-8")
