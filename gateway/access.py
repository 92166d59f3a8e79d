"""Who a request to /v1 is from, and what they may do.

Three rules. Where there are tokens, one of them is asked for, on loopback too. Without any, a
gateway that only this machine can reach is open to it, but not to web pages in its browsers. And a
gateway that others can reach without tokens is closed, unless it was told to be open.

Only hashes are kept here, and a presented token is compared with all of them in constant time.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from gateway.clock import monotonic
from gateway.loopback import is_loopback
from gateway.problem import ProblemError
from gateway.reloading import Reloading
from gateway.settings import GatewaySettings
from muster.wire.bearer import Entry, Role, digest, entries
from registry.logs import log
from registry.settings import SettingsError

logger = logging.getLogger("muster.gateway")

HOW_TO_CONFIGURE = (
    "`muster token new --name NAME --role admin` makes a token and the line for "
    "MUSTER_API_TOKENS_FILE (or MUSTER_API_TOKENS); --open-api (MUSTER_OPEN_API=true) lets "
    "everybody in without"
)
_READ_METHODS = ("GET", "HEAD", "OPTIONS")
_ALSO_FOR_READERS = re.compile(r"POST /v1/select(/explain)?|DELETE /v1/holds/[^/]+")
_PROXIED = ("X-Forwarded-For", "Forwarded")
"""Headers of a request that a proxy passes on for somebody else."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. With an `owner` they see and change only machines labelled `owner=…`."""

    name: str
    role: Role
    owner: str | None = None


LOCAL = Principal("local", Role.ADMIN)
ANYONE = Principal("anyone", Role.ADMIN)


class Access:
    """Answers who asks. Raises SettingsError when made if the tokens can't be read."""

    def __init__(self, settings: GatewaySettings, now: Callable[[], float] = monotonic) -> None:
        self._fixed = entries(settings.api_tokens, "entry")
        self._file: Reloading[list[Entry]] | None = None
        self._open = settings.open_api
        self._on_loopback = settings.on_loopback
        if settings.api_tokens_file:
            self._file = _watch(settings.api_tokens_file, now)

    @property
    def enforced(self) -> bool:
        """Whether a token is asked for."""
        return bool(self._fixed) or self._file is not None

    def who(self, scope: Scope) -> Principal:
        """Whose request this is. Raises ProblemError if nobody's who may ask."""
        headers = Headers(scope=scope)
        if self.enforced:
            return self._holder(headers)
        if not self._open and not self._on_loopback:
            raise ProblemError(
                403,
                "API_NOT_CONFIGURED",
                "this gateway can be reached from outside and has no API tokens",
                detail=HOW_TO_CONFIGURE,
            )
        _refuse_other_origins(headers)
        if self._open:
            return ANYONE
        _refuse_other_machines(headers, scope)
        return LOCAL

    def announce(self) -> None:
        """Logs, once the gateway starts, who will be let in."""
        if self.enforced:
            log(logger, logging.INFO, "api_asks_for_tokens", count=len(self._entries()))
        elif self._open:
            log(logger, logging.WARNING, "api_open_to_everybody")
        elif self._on_loopback:
            log(logger, logging.INFO, "api_open_to_this_machine")
        else:
            log(logger, logging.WARNING, "api_closed", fix=HOW_TO_CONFIGURE)

    def _holder(self, headers: Mapping[str, str]) -> Principal:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("Bearer", "a token is needed: Authorization: Bearer …")
        presented = digest(token.strip()).encode()
        holder: Entry | None = None
        for entry in self._entries():  # all of them, whichever fits: constant time
            if hmac.compare_digest(entry.hash.encode(), presented):
                holder = entry
        if holder is None:
            raise _unauthorized('Bearer error="invalid_token"', "this token is not known here")
        return Principal(holder.name, holder.role, holder.owner)

    def _entries(self) -> Sequence[Entry]:
        return self._fixed + self._file.current() if self._file else self._fixed


def role_needed(method: str, path: str) -> Role:
    """The role a request to /v1 needs. What is not named here is for admins alone."""
    if method in _READ_METHODS or _ALSO_FOR_READERS.fullmatch(f"{method} {path}"):
        return Role.READ
    return Role.ADMIN


def demand(principal: Principal, role: Role) -> None:
    """Raises ProblemError unless the principal may do what needs this role."""
    if not principal.role.covers(role):
        raise ProblemError(
            403,
            "FORBIDDEN",
            f"this needs the role {role.value}; {principal.name} has {principal.role.value}",
            {"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
            role=role.value,
        )


def require(request: Request, role: Role) -> Principal:
    """Who asks, if they have this role; for endpoints. Raises ProblemError otherwise."""
    principal: Principal = request.state.principal
    demand(principal, role)
    return principal


def _watch(path: str, now: Callable[[], float]) -> Reloading[list[Entry]]:
    try:
        return Reloading("api_tokens_file", [path], _read, now)
    except (OSError, ValueError) as error:
        expected = "a readable file of entries, one a line"
        raise SettingsError("MUSTER_API_TOKENS_FILE", expected, f"{path}: {error}") from error


def _read(contents: Sequence[bytes]) -> list[Entry]:
    """A file without entries is no mistake: it takes everybody's access away."""
    try:
        text = contents[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = contents[0].count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: expected UTF-8") from None
    return entries(text.split("\n"))


def _unauthorized(challenge: str, title: str) -> ProblemError:
    return ProblemError(401, "UNAUTHORIZED", title, {"WWW-Authenticate": challenge})


def _refuse_other_origins(headers: Mapping[str, str]) -> None:
    """A browser says which page a request comes from; another site's must not act for its user."""
    origin = headers.get("origin")
    if origin is None:
        return
    scheme, _, place = origin.lower().partition("://")
    default = _DEFAULT_PORTS.get(scheme, ":")
    host = headers.get("host", "").lower()
    if not host or place.removesuffix(default) != host.removesuffix(default):
        raise _foreign("Origin", "this request comes from a page of another site")


def _refuse_other_machines(headers: Headers, scope: Scope) -> None:
    """A name that someone made point here (DNS rebinding), or a proxy that speaks for others."""
    host = headers.get("host", "")
    name, colon, port = host.rpartition(":")
    if not is_loopback(name if colon and port.isdigit() else host):
        raise _foreign("Host", "this gateway answers without a token only as localhost")
    passed_on = [header for header in _PROXIED if header in headers]
    client = scope.get("client")
    if passed_on or (client and not is_loopback(client[0])):
        header = passed_on[0] if passed_on else _PROXIED[0]
        raise _foreign(header, "this gateway answers without a token only locally")


def _foreign(header: str, title: str) -> ProblemError:
    detail = f"ask http://localhost and its port directly, or configure tokens: {HOW_TO_CONFIGURE}"
    return ProblemError(403, "NOT_LOCAL", title, header=header, detail=detail)
