"""The units of deploy/systemd as systemd reads them, and whether they fit the programs.

Each check takes a unit and returns a sentence for everything that does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.settings import GatewaySettings
from registry.settings import SettingsError, load, unknown_variables
from sweeper.settings import SweeperSettings

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "deploy" / "systemd"
PROGRAM = "/opt/muster/bin/muster"
CONFIG = "/etc/muster/"

Problems = Iterator[str]
_Settings = GatewaySettings | SweeperSettings
CLASSES: dict[str, type[_Settings]] = {"gateway": GatewaySettings, "sweeper": SweeperSettings}
PORTS = {"gateway": "MUSTER_PORT", "sweeper": "MUSTER_SWEEPER_PORT"}
_ANSWERS_S = 5.0
"""What is given to answers under way when a process stops."""
_WRONG_SETTING = "2"
"""The exit status of a process that can't start with its settings."""


@dataclass
class Unit:
    """A unit's directives, each with all its values, and the environment files beside it."""

    kind: str
    values: dict[str, list[str]]
    files: dict[str, str] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """A directive's last value."""
        return self.values.get(name, [""])[-1]

    def environment(self, instance: str) -> dict[str, str]:
        """What the process finds, in the order systemd reads it."""
        found: dict[str, str] = {}
        for pair in self.values.get("Environment", []):
            name, _, value = pair.replace("%i", instance).partition("=")
            found[name] = value
        for path in self.values.get("EnvironmentFile", []):
            found |= variables(self.files.get(path.removeprefix("-"), ""))
        return found


def variables(text: str) -> dict[str, str]:
    """The assignments of an environment file."""
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))


def unit(kind: str) -> Unit:
    """The unit of gateways or of sweepers."""
    values: dict[str, list[str]] = {}
    text = (SYSTEMD / f"muster-{kind}@.service").read_text("utf-8")
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        values.setdefault(name, []).append(value)
    files = {CONFIG + path.name: path.read_text("utf-8") for path in SYSTEMD.glob("*.env")}
    return Unit(kind, values, files)


def settings(found: Unit) -> Problems:
    """The examples of /etc/muster hold settings that exist, and the instance's name is the port."""
    own = found.environment("8123")
    cls = CLASSES[found.kind]
    yield from unknown_variables(cls, own)
    for path, text in found.files.items():
        for name in re.findall(r"^#([A-Z_]+)=", text, re.MULTILINE):
            yield from (f"{path}: {w}" for w in unknown_variables(cls, {name: "x"}))
        if variables(text).keys() & set(PORTS.values()):
            yield f"{path} gives all instances one port"
    try:
        load(cls, own)
    except SettingsError as error:
        yield f"it does not start: {error}"
    if own.get(PORTS[found.kind]) != "8123":
        yield "the instance's name is not its port"
    for path in found.values.get("EnvironmentFile", []):
        if path.removeprefix("-") not in found.files:
            yield f"there is no example of {path}"


def command(found: Unit) -> Problems:
    """What is started is the program's verb, and nobody else."""
    if found.values.get("ExecStart") != [f"{PROGRAM} {found.kind}"]:
        yield f"it starts {found.values.get('ExecStart')}"


def stopping(found: Unit) -> Problems:
    """It is asked by the signal it drains at, and is given the time."""
    given = float(found.one("TimeoutStopSec") or 90)
    read = load(CLASSES[found.kind], found.environment("8123"))
    drains = read.drain_window_s if isinstance(read, GatewaySettings) else 0.0
    if given < drains + _ANSWERS_S:
        yield f"{drains:g} s of draining and {_ANSWERS_S:g} s > {given:g} s"
    if found.one("KillSignal") not in ("", "SIGTERM"):
        yield f"it is stopped by {found.one('KillSignal')}"


def lasting(found: Unit) -> Problems:
    """It comes back, however long its surroundings are away; a wrong setting waits for a person."""
    if found.one("Restart") != "always" or found.one("StartLimitIntervalSec") != "0":
        yield "it gives up"
    if _WRONG_SETTING not in found.one("RestartPreventExitStatus").split():
        yield "it is started again and again with a wrong setting"
    if found.one("Type") != "notify" or found.one("NotifyAccess") not in ("", "main"):
        yield "nobody learns when it is ready"
    if found.one("TimeoutStartSec") != "infinity":
        yield "it is killed while it waits for the store"
    if found.one("WantedBy") != "multi-user.target":
        yield "it does not start with the machine"


def limits(found: Unit) -> Problems:
    """A gateway may have a descriptor for each machine; nobody is root."""
    if found.kind == "gateway" and int(found.one("LimitNOFILE") or 1024) < 65536:
        yield "few sockets may be open"
    if found.one("DynamicUser") != "yes":
        yield "it has no user of its own"
    if "AF_UNIX" not in found.one("RestrictAddressFamilies"):
        yield "it can't say that it is ready"
