"""An agent's settings: what its owner may say, on the command line or in the environment.

Every field is read from `MUSTER_AGENT_` and its name in capitals; lists are comma separated. The
flags of `muster agent run` have the same names and win.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from muster.agent.masking import masked

PREFIX = "MUSTER_AGENT_"
SOCKET_PATH = "/ws/node"

_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_MAY_BE_ZERO = ("drain_timeout_s", "models_debounce_s")
_LABELS_EXPECTED = "name=value, several separated by commas"


class ConfigError(Exception):
    """A setting that can't be used: which one, what was expected, what was given."""

    def __init__(self, name: str, expected: str, got: str) -> None:
        super().__init__(f"{name}: expected {expected}, got {got}")
        self.name = name
        self.expected = expected
        self.got = got


def setting(default: Any, help: str, *, secret: bool = False) -> Any:  # noqa: A002 - reads as argparse does
    """A field with its default and its sentence; a dict's default is copied for each instance."""
    metadata = {"help": help, "secret": secret}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class AgentConfig:
    """What one agent was told. Making one from values that can't be used raises ConfigError."""

    servers: tuple[str, ...] = setting(
        (),
        "The gateways' URLs, ws:// or wss://; the path is /ws/node if none is given. "
        "If one does not answer, the next is tried at once.",
    )
    join_token: str | None = setting(
        None, "The token the operator gave out, where the fleet asks for one.", secret=True
    )
    tls_cert_file: Path | None = setting(
        None, "The certificate (PEM) this machine shows, where the fleet asks for one."
    )
    tls_key_file: Path | None = setting(None, "Its key (PEM), without a passphrase.")
    models_dir: Path | None = setting(
        None, "A folder with one folder for each model, and a model.json in each."
    )
    models_file: Path | None = setting(None, "A models.toml that lists models and features.")
    state_dir: Path | None = setting(
        None, "Where the node's identity is kept; by default the platform's own place."
    )
    labels: Mapping[str, str] = setting(
        {}, "What requests may filter by, as name=value: region, owner and the like."
    )
    accept_public_jobs: bool = setting(
        True, "false: the node is only chosen for requests that say public: false."
    )
    max_concurrent_jobs: int | None = setting(
        None, "How many jobs may run at once; by default as many as there are GPUs."
    )
    simulate: str | None = setting(
        None, 'Cards to pretend, as "RTX 4090:24,RTX 3090:24", to try it without a GPU.'
    )
    drain_timeout_s: float = setting(
        300.0, "How long running jobs may take to finish when the agent is told to stop."
    )
    status_port: int | None = setting(
        None, "A port on 127.0.0.1 for the local API and page; 0: a free one. None by default."
    )
    locale: Literal["zh", "en"] | None = setting(
        None, "The language of what people read; by default the environment's."
    )
    log_format: Literal["auto", "text", "json"] = setting(
        "auto",
        "Lines for people (text) or programs (json); auto: a panel on a terminal, else text.",
    )
    gpu_interval_s: float = setting(5.0, "How often the GPUs are looked at.")
    gpu_deadline_s: float = setting(
        3.0, "A GPU query that takes longer is called hung, and the card not healthy."
    )
    probe_deadline_s: float = setting(10.0, "How long finding the hardware may take.")
    reprobe_interval_s: float = setting(
        30.0, "How often hardware that the server refused is looked at again."
    )
    models_debounce_s: float = setting(
        2.0, "How long models must be left alone before a change is reported."
    )
    connect_timeout_s: float = setting(10.0, "How long connecting to a server may take.")
    backoff_first_s: float = setting(1.0, "The most one waits before the first new try.")
    backoff_most_s: float = setting(30.0, "The most one ever waits before a new try.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "servers", tuple(socket_url(url) for url in self.servers))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, float):
                continue
            if field.name in _MAY_BE_ZERO and value == 0:
                continue
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(field.name, "a number of seconds above 0", str(value))
        if self.max_concurrent_jobs is not None and self.max_concurrent_jobs < 1:
            raise ConfigError("max_concurrent_jobs", "at least 1", str(self.max_concurrent_jobs))
        if self.status_port is not None and not 0 <= self.status_port <= 65535:
            raise ConfigError("status_port", "a port, 0 to 65535", str(self.status_port))
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            lacks = "tls_key_file" if self.tls_cert_file else "tls_cert_file"
            raise ConfigError(lacks, "a file, as certificate and key go together", "none")
        _check_labels(self.labels)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, **given: Any) -> AgentConfig:
        """What was `given` (None: not given), else the environment, else the default.

        An empty variable counts as unset, as container platforms pass empty strings for "none".
        """
        hints = typing.get_type_hints(cls)
        values = {name: value for name, value in given.items() if value is not None}
        for field in dataclasses.fields(cls):
            text = environ.get(variable_of(field.name), "").strip()
            if text and field.name not in values:
                values[field.name] = _parse(field, text, hints[field.name])
        return cls(**values)

    @property
    def state_path(self) -> Path:
        """The folder of what is remembered."""
        return self.state_dir or default_state_dir()


def variable_of(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def default_state_dir(
    environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> Path:
    """Where this platform keeps what a program remembers for its user."""
    if platform == "win32":
        base = environ.get("LOCALAPPDATA", "").strip()
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "muster"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "muster"
    base = environ.get("XDG_STATE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".local" / "state") / "muster"


def socket_url(url: str) -> str:
    """A server's URL as it is dialled; raises ConfigError for what is none."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        usable = False
    if not usable:
        raise ConfigError(
            "servers", "a URL such as wss://dispatcher.example.com", repr(masked(url))
        )
    path = SOCKET_PATH if parts.path in ("", "/") else parts.path
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, parts.query, ""))


def shown_url(url: str) -> str:
    """A server's URL without what may be secret in it: password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def read_labels(texts: Sequence[str]) -> dict[str, str]:
    """Labels from `name=value` each; raises ConfigError."""
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError("labels", _LABELS_EXPECTED, repr(text))
        labels[name.strip()] = value.strip()
    return labels


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > 32:
        raise ConfigError("labels", "at most 32", str(len(labels)))
    for name, value in labels.items():
        if max(len(name.encode()), len(value.encode())) > 256:
            raise ConfigError("labels", "name and value of at most 256 bytes", repr(name[:64]))


def _parse(field: dataclasses.Field[Any], text: str, hint: Any) -> Any:
    name = variable_of(field.name)
    if field.name == "servers":
        return tuple(_listed(text))
    if field.name == "labels":
        return read_labels(_listed(text))
    kinds = [part for part in typing.get_args(hint) or (hint,) if part is not type(None)]
    if all(typing.get_origin(kind) is Literal for kind in kinds):
        kinds = list(typing.get_args(kinds[0]))
    if all(isinstance(kind, str) for kind in kinds):
        if text not in kinds:
            raise ConfigError(name, "one of " + ", ".join(kinds), repr(text))
        return text
    parser, expected = _PARSERS[kinds[0]]
    try:
        return parser(text)
    except ValueError:
        raise ConfigError(name, expected, repr(text)) from None


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "a text"),
    Path: (Path, "a path"),
    bool: (_boolean, "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
}
