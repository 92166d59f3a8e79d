"""Settings: one frozen dataclass per process, read once from the environment.

Every field carries its default and a sentence; its unit is in its name or its type. The variable
is `MUSTER_` and the field's name in capitals. What is printed by `settings`, what the documentation
lists and what the process obeys come from the same fields.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from registry.neighbours import AGENTS, SHARING

PREFIX = "MUSTER_"
MASK = "********"
Source = Literal["default", "environment"]

T = TypeVar("T")


class SettingsError(ValueError):
    """A setting cannot be used as it stands."""

    def __init__(self, variable: str, expected: str, problem: str) -> None:
        self.variable = variable
        self.expected = expected
        self.problem = problem
        super().__init__(f"{variable}: expected {expected}, but {problem}")


@dataclass(frozen=True)
class SettingRow:
    """One setting as a person reads it; a secret's value is masked."""

    name: str
    env: str
    value: str
    default: str
    source: Source
    help: str


def setting(default: Any, help: str, env: str | None = None, secret: bool = False) -> Any:  # noqa: A002 - reads as argparse does
    """A field with its default and its sentence; a list's default is copied for each instance."""
    metadata = {"help": help, "env": env, "secret": secret}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def variable_of(field: dataclasses.Field[Any]) -> str:
    """The environment variable that sets this field."""
    return field.metadata.get("env") or PREFIX + field.name.upper()


def variables(cls: type) -> list[str]:
    """Every environment variable this class reads."""
    return [variable_of(field) for field in dataclasses.fields(cls)]


def load(cls: type[T], environ: Mapping[str, str] = os.environ) -> T:
    """An instance of `cls` from the environment. Raises SettingsError at the first bad value.

    An empty variable counts as unset, as container platforms pass empty strings for "not given".
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in _fields(cls):
        variable = variable_of(field)
        text = environ.get(variable, "").strip()
        if text:
            secret = bool(field.metadata.get("secret"))
            values[field.name] = _parse(variable, text, hints[field.name], secret)
    return cls(**values)


def unknown_variables(cls: type, environ: Mapping[str, str] = os.environ) -> list[str]:
    """A warning for each MUSTER_ variable nobody reads, with the nearest name that is read.

    What other programs of Muster read is no mistake: they may share this environment.
    """
    mine = {*variables(cls), *SHARING}
    warnings = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(AGENTS) or name in mine:
            continue
        nearest = difflib.get_close_matches(name, mine, n=1, cutoff=0.7)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        warnings.append(f"{name} is not a setting and has no effect{hint}")
    return warnings


def rows(instance: Any, environ: Mapping[str, str] = os.environ) -> list[SettingRow]:
    """Every setting with its value and where that came from."""
    made = []
    for field in _fields(type(instance)):
        variable = variable_of(field)
        secret = bool(field.metadata.get("secret"))
        made.append(
            SettingRow(
                name=field.name,
                env=variable,
                value=_shown(field.name, getattr(instance, field.name), secret),
                default=_shown(field.name, _default(field), secret),
                source="environment" if environ.get(variable, "").strip() else "default",
                help=field.metadata.get("help", ""),
            )
        )
    return made


def print_settings(
    cls: type, argv: Sequence[str] = (), environ: Mapping[str, str] = os.environ
) -> int:
    """What the sub-verb `settings` does: a table, or JSON with `--json`. Returns an exit status."""
    unexpected = [argument for argument in argv if argument != "--json"]
    if unexpected:
        sys.stderr.write(f"settings: unknown argument {unexpected[0]}; only --json is known\n")
        return 2
    try:
        table = rows(load(cls, environ), environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if "--json" in argv:
        made = [dataclasses.asdict(row) for row in table]
        sys.stdout.write(json.dumps(made, ensure_ascii=False, indent=2) + "\n")
        return 0
    for row in table:
        where = "" if row.source == "default" else f"  (default {row.default or 'none'})"
        sys.stdout.write(f"{row.env}={row.value}  [{row.source}]{where}\n    {row.help}\n")
    return 0


def without_password(url: str) -> str:
    """The URL with its password masked, for logs and tables."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    if not separator or not at:
        return url
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{colon}{MASK if colon else ''}@{host}{slash}{path}"


def _fields(cls: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _shown(name: str, value: Any, secret: bool) -> str:
    if value is None or value == []:
        return ""
    if secret:
        return MASK
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return without_password(str(value)) if name.endswith("_url") else str(value)


def _parse(variable: str, text: str, kind: Any, secret: bool) -> Any:
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    given = "it is not one" if secret else f"it is {text!r}"
    if typing.get_origin(kind) is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if text not in choices:
            raise SettingsError(variable, "one of " + ", ".join(choices), given)
        return text
    if kind is str:
        return text
    parser, expected = _PARSERS[kind]
    try:
        return parser(text)
    except ValueError:
        raise SettingsError(variable, expected, given) from None


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(text)


def _decimal(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_PARSERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    bool: (_boolean, "true or false"),
    int: (int, "a whole number"),
    float: (_decimal, "a number"),
}


_SCHEMES = tuple(
    f"{scheme}://"
    for scheme in (
        "redis",
        "rediss",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
        "unix",
    )
)


class Checks:
    """What a settings class asserts about itself once made; errors name the variable."""

    def require(self, name: str, holds: bool, expected: str) -> None:
        """Raise SettingsError for the field `name` unless `holds`."""
        if holds:
            return
        field = next(f for f in dataclasses.fields(self) if f.name == name)  # type: ignore[arg-type]
        secret = bool(field.metadata.get("secret"))
        shown = _shown(name, getattr(self, name), secret) or "empty"
        raise SettingsError(variable_of(field), expected, f"it is {shown}")

    def require_positive(self, except_for: Iterable[str] = ()) -> None:
        """Every number is above zero, but for those named, which may also be zero."""
        zero_allowed = set(except_for)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if field.name in zero_allowed:
                self.require(field.name, value >= 0, "zero or a positive number")
            else:
                self.require(field.name, value > 0, "a positive number")


@dataclass(frozen=True)
class RegistrySettings(Checks):
    """What every process that touches the store must agree on."""

    redis_url: str = setting(
        "redis://127.0.0.1:6379/0",
        "The store: redis://, redis+sentinel:// or redis+cluster://, with rediss by TLS.",
    )
    redis_ca_file: str | None = setting(
        None, "Whom to believe the store's certificate (PEM); unset: the system's authorities."
    )
    redis_cert_file: str | None = setting(
        None, "This process's own certificate chain (PEM), if the store asks for one."
    )
    redis_key_file: str | None = setting(None, "Its key (PEM), without a passphrase.")
    redis_check_hostname: bool = setting(
        True, "The store's certificate must name the host by which it is reached."
    )
    redis_sentinel_user: str | None = setting(
        None, "As whom sentinels know us; the URL's user is the one of the servers they watch."
    )
    redis_sentinel_password: str | None = setting(
        None, "The password of that user at the sentinels.", secret=True
    )
    redis_prefix: str = setting("muster", "What every key begins with; braces are refused.")
    redis_timeout_s: float = setting(5.0, "How long one answer of the store may take.")
    heartbeat_interval_s: float = setting(15.0, "How often a node is told to beat.")
    heartbeat_timeout_s: float = setting(
        45.0, "Observed silence after which a node is offline, and the life of its TTL key."
    )
    warmup_timeout_s: float = setting(
        60.0, "How long a node may be registering before it counts as degraded."
    )
    drain_timeout_s: float = setting(3600.0, "How long a draining node may finish its jobs.")
    retention_s: float = setting(86400.0, "How long an offline node's record is kept.")
    presence_ttl_s: float = setting(
        10.0, "A gateway not heard of for this long is counted as gone."
    )
    gateway_grace_s: float = setting(
        90.0,
        "Nodes of a gateway that is gone are held up to this long after their last beat.",
    )
    required_models: list[str] = setting(
        [],
        "Kinds and model ids, all of which a node must have ready; empty: any core capability.",
    )
    flap_damping: bool = setting(
        False, "Keep a node that degrades repeatedly degraded for longer before one pass lifts it."
    )
    flap_window_s: float = setting(900.0, "Degradations within this time count as flapping.")
    flap_hold_s: float = setting(
        60.0, "A flapping node stays degraded this long for each of its degradations."
    )
    unobserved_gap_s: float = setting(
        5.0, "A longer gap in observing is time in which nobody could have heard a node."
    )
    max_lag_s: float = setting(
        5.0, "A script call that ran more than this after it was packed is refused."
    )
    history_length: int = setting(20, "How many verdicts of a node people can see.")
    window_length: int = setting(5, "How many verdicts the rules look at.")
    events_per_partition: int = setting(
        10000, "About how many transitions each of the 64 partitions remembers."
    )
    hold_most_s: float = setting(3600.0, "The longest time a hold may be asked for.")
    request_keep_s: float = setting(
        300.0, "How long the answer to a request_id is kept at least, to be given again."
    )
    list_looks_most: int = setting(
        5000, "Nodes one unsorted page of a list looks at before it is given, however short."
    )
    explain_most: int = setting(
        1000, "Fleets up to this size are counted whole when nobody fits; of larger ones a sample."
    )
    overview_most: int = setting(
        5000, "Fleets up to this size are counted whole in an overview; of larger ones a sample."
    )
    mass_expiry_fraction: float = setting(
        0.3, "This share of the fleet going silent within one time-out raises an alert."
    )
    mass_expiry_min: int = setting(20, "Fewer silent nodes than this never raise that alert.")
    offline_brake: bool = setting(
        False,
        "Call nodes offline slowly while much of the fleet falls silent at once. None of them is "
        "selected meanwhile; only the word waits.",
    )
    offline_brake_per_s: float = setting(
        1.0, "How many nodes of the whole fleet a second are called offline under the brake."
    )
    offline_brake_most_s: float = setting(300.0, "The longest time the brake holds.")

    def __post_init__(self) -> None:
        self.require_positive(except_for=self.may_be_zero())
        self.require(
            "redis_url",
            self.redis_url.startswith(_SCHEMES),
            "a URL of redis://, rediss://, redis+sentinel:// or redis+cluster://",
        )
        self._require_files()
        self.require(
            "redis_prefix",
            bool(self.redis_prefix) and not set("{}") & set(self.redis_prefix),
            "a name without braces, as they decide a key's slot",
        )
        self.require(
            "heartbeat_timeout_s",
            self.heartbeat_timeout_s > self.heartbeat_interval_s,
            f"more than the heartbeat interval ({self.heartbeat_interval_s} s)",
        )
        self.require("window_length", self.window_length >= 3, "at least 3: the rules ask for 3")
        self.require(
            "history_length",
            self.history_length >= self.window_length,
            f"at least the window's length ({self.window_length})",
        )
        self.require("mass_expiry_fraction", self.mass_expiry_fraction <= 1, "at most 1")

    def may_be_zero(self) -> tuple[str, ...]:
        """Numbers for which zero means something; a process adds its own."""
        return ("flap_hold_s",)

    def _require_files(self) -> None:
        for name in ("redis_ca_file", "redis_cert_file", "redis_key_file"):
            path = getattr(self, name)
            if path is not None:
                tls = self.redis_url.startswith("rediss")
                self.require(name, tls, "nothing, as MUSTER_REDIS_URL does not begin with rediss")
                self.require(name, os.access(path, os.R_OK), "a PEM file that can be read")
        both = (self.redis_cert_file is None) == (self.redis_key_file is None)
        self.require("redis_key_file", both, "to be set if, and only if, MUSTER_REDIS_CERT_FILE is")
