"""deploy/compose.yaml as Compose itself reads it.

A copy of deploy/ is made, its secrets are made by the script that users run, and then
`docker-compose config`, which holds every file to the official schema, says what would be started.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.deploy.tools import tools

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROFILES = ("simulated", "monitoring", "cli")

Document = dict[str, Any]


def copied(directory: Path) -> Path:
    """A copy of deploy/, as a clone has it."""
    kept = shutil.ignore_patterns(".env", "muster.env", "users.acl.draft", "compose.override.yaml")
    shutil.copytree(DEPLOY, directory, ignore=kept)
    (directory / "compose" / "users.acl").unlink(missing_ok=True)
    return directory


def secrets_made(deploy: Path) -> str:
    """What the script says that makes .env and the store's users."""
    script = deploy / "compose" / "secrets.sh"
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def asked(
    deploy: Path, *arguments: str, files: tuple[str, ...] = ("compose.yaml",)
) -> subprocess.CompletedProcess[str]:
    """One run of Compose in a copy of deploy/, with nothing of this environment."""
    named = [word for file in files for word in ("-f", str(deploy / file))]
    chosen = [word for profile in PROFILES for word in ("--profile", profile)]
    return subprocess.run(
        [str(tools() / "docker-compose"), *named, *chosen, *arguments],
        cwd=deploy,
        env={"PATH": os.environ["PATH"], "HOME": str(deploy)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def resolved(deploy: Path, *files: str) -> Document:
    """All services, with every variable in its place."""
    done = asked(deploy, "config", "--format", "json", files=files or ("compose.yaml",))
    assert done.returncode == 0, done.stderr
    document: Document = json.loads(done.stdout)
    return document


@cache
def shared() -> tuple[Path, str]:
    """A copy with secrets, and what Compose makes of it, once for all who only read."""
    directory = Path(mkdtemp(prefix="muster-compose-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    deploy = copied(directory / "deploy")
    secrets_made(deploy)
    return deploy, json.dumps(resolved(deploy))


def service_image(service: Document) -> Document:
    """What the service's image says of itself, if it is one of ours, else nothing."""
    build = service.get("build")
    return image(str(build["dockerfile"])) if build else {}


@cache
def image(dockerfile: str) -> Document:
    """User, environment, entry point and command of a Dockerfile's last stage."""
    text = (ROOT / dockerfile).read_text("utf-8").replace("\\\n", " ")
    found: Document = {"env": {}}
    for line in text[text.rindex("\nFROM ") :].splitlines():
        word, _, rest = line.partition(" ")
        if word == "ENV":
            found["env"] |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("ENTRYPOINT", "CMD"):
            found[word.lower()] = json.loads(rest)
        elif word in ("USER", "EXPOSE", "STOPSIGNAL", "VOLUME"):
            found[word.lower()] = rest
    return found


def environment(service: Document) -> dict[str, str]:
    """What the process finds: the image's variables, then the composition's."""
    own: dict[str, str] = service.get("environment") or {}
    inherited: dict[str, str] = service_image(service).get("env", {})
    return {**inherited, **{name: str(value) for name, value in own.items()}}


def command(service: Document) -> list[str]:
    """What is started: entry point and arguments."""
    made = service_image(service)
    entry = service.get("entrypoint") or made.get("entrypoint", [])
    return [*entry, *(service.get("command") or made.get("cmd", []))]


def part(service: Document) -> str:
    """gateway, sweeper, agent, or the image's name."""
    words = command(service)
    if words[:1] == ["muster"]:
        return words[1]
    name = str(service["image"]).rpartition("/")[2]
    return name.partition(":")[0]


def mounts(service: Document, document: Document) -> dict[str, str]:
    """Paths in the container of what is lent it, and where that is: a path, or a volume's name."""
    found = {}
    for config in service.get("configs") or []:
        found[str(config["target"])] = str(document["configs"][config["source"]]["file"])
    for volume in service.get("volumes") or []:
        found[str(volume["target"])] = str(volume["source"])
    return found


def seconds(text: str) -> float:
    """A time as Compose writes it: 1m30s, 40s."""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(ms|s|m|h)", text))
