"""Draws what the chart says of itself: `python -m tests.deploy.document`.

The table of helm/muster/README.md comes from values.yaml, the names of settings in
values.schema.json from the programs that read them. `--check` says whether both are as drawn.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from gateway.settings import GatewaySettings
from muster.agent.config import AgentConfig, variable_of
from registry.settings import variables
from sweeper.settings import SweeperSettings

CHART = Path(__file__).resolve().parents[2] / "helm" / "muster"
BEGIN = "<!-- values: drawn from values.yaml by `make docs` -->"
END = "<!-- end -->"

# What a process is told by other values of the chart, or must not be told at all: secrets would
# stand in a ConfigMap for everybody to read.
OF_THE_CHART = {
    "MUSTER_ALLOW_SIMULATED",
    "MUSTER_API_TOKENS",
    "MUSTER_API_TOKENS_FILE",
    "MUSTER_DRAIN_WINDOW_S",
    "MUSTER_JOIN_TOKENS",
    "MUSTER_OPEN_API",
    "MUSTER_PORT",
    "MUSTER_REDIS_CA_FILE",
    "MUSTER_REDIS_CERT_FILE",
    "MUSTER_REDIS_CHECK_HOSTNAME",
    "MUSTER_REDIS_KEY_FILE",
    "MUSTER_REDIS_PREFIX",
    "MUSTER_REDIS_SENTINEL_PASSWORD",
    "MUSTER_REDIS_SENTINEL_USER",
    "MUSTER_REDIS_URL",
    "MUSTER_SECRET",
    "MUSTER_SWEEPER_PORT",
    "MUSTER_TLS_CERT_FILE",
    "MUSTER_TLS_KEY_FILE",
    "MUSTER_TRUSTED_PROXIES",
    "MUSTER_AGENT_DRAIN_TIMEOUT_S",
    "MUSTER_AGENT_JOIN_TOKEN",
    "MUSTER_AGENT_LABELS",
    "MUSTER_AGENT_LOG_FORMAT",
    "MUSTER_AGENT_MODELS_DIR",
    "MUSTER_AGENT_SERVERS",
    "MUSTER_AGENT_SIMULATE",
    "MUSTER_AGENT_STATE_DIR",
}

_KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):")
_COMMENT = re.compile(r"^ *# ?(.*)$")


@dataclass(frozen=True)
class Row:
    """One value: its path, its default as one line of YAML, and the sentence above it."""

    path: str
    default: str
    says: str


def rows(text: str) -> Iterator[Row]:
    """Every value of a values.yaml that is not a map of further ones."""
    values: dict[str, Any] = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    says: list[str] = []
    for line in text.splitlines():
        if comment := _COMMENT.match(line):
            said = comment[1]
            if said.startswith("-- "):
                says = [said.removeprefix("-- ")]
            elif says:
                says.append(said)
            continue
        key = _KEY.match(line)
        if not key:
            says = []
            continue
        depth = len(key[1])
        path = [part for part in path if part[0] < depth] + [(depth, key[2])]
        names = [name for _, name in path]
        value: Any = values
        for name in names:
            value = value[name]
        if not (line.endswith(":") and isinstance(value, dict)):
            yield Row(".".join(names), json.dumps(value, ensure_ascii=False), " ".join(says))
        says = []


def table(text: str) -> str:
    """The rows as Markdown."""
    lines = ["| value | default | |", "|---|---|---|"]
    for row in rows(text):
        cells = (f"`{row.path}`", f"`{row.default}`", row.says)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def readme(old: str, values: str) -> str:
    """README.md with its table as it should be."""
    before, _, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"README.md needs {BEGIN} and {END}"
    return f"{before}{BEGIN}\n{table(values)}\n{END}{after}"


def settings() -> dict[str, list[str]]:
    """Names for the schema: what each process reads and the chart does not give it."""
    gateway = set(variables(GatewaySettings))
    sweeper = set(variables(SweeperSettings))
    agent = {variable_of(field.name) for field in fields(AgentConfig)}
    named = {
        "sharedSetting": gateway & sweeper,
        "gatewaySetting": gateway - (sweeper - {"MUSTER_HOST", *LOGS}),
        "sweeperSetting": sweeper - (gateway - {"MUSTER_HOST", *LOGS}),
        "agentSetting": agent,
    }
    return {kind: sorted(names - OF_THE_CHART) for kind, names in named.items()}


LOGS = ("MUSTER_LOG_FORMAT", "MUSTER_LOG_LEVEL")


def schema(old: str) -> str:
    """values.schema.json with the names as they should be."""
    document: dict[str, Any] = json.loads(old)
    for kind, names in settings().items():
        document["$defs"][kind] = {"enum": names}
    return json.dumps(document, indent=2) + "\n"


def drawn() -> dict[Path, str]:
    """Each file with what it should say."""
    values = (CHART / "values.yaml").read_text("utf-8")
    read_me, schema_file = CHART / "README.md", CHART / "values.schema.json"
    return {
        read_me: readme(read_me.read_text("utf-8"), values),
        schema_file: schema(schema_file.read_text("utf-8")),
    }


def main(argv: list[str]) -> int:
    """The exit status."""
    stale = [path for path, text in drawn().items() if path.read_text("utf-8") != text]
    if "--check" in argv:
        for path in stale:
            sys.stderr.write(f"{path.name} is not as drawn: python -m tests.deploy.document\n")
        return 1 if stale else 0
    for path, text in drawn().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
