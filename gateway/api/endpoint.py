"""One row of the table of endpoints, and what its handler is given."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct
from starlette.responses import Response

from gateway.access import Principal
from gateway.api.shortfalls import Shortfalls
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings
from gateway.standing import Standing
from gateway.tail import Tail
from muster.wire.bearer import Role
from muster.wire.errors import Locale
from registry.registry import Registry

LAST_EVENT_ID = "Last-Event-ID"

EVERYWHERE = (
    "INVALID_PARAMETER",
    "UNAUTHORIZED",
    "API_NOT_CONFIGURED",
    "NOT_LOCAL",
    "TOO_LARGE",
    "RATE_LIMITED",
    "INTERNAL_ERROR",
    "OVERLOADED",
    "UNAVAILABLE",
)
"""Codes that any endpoint may answer with."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its handler sees it: who asks what. `path` has the parts that braces name;
    `still_admitted` says, later, whether the asker would be let in again."""

    who: Principal
    registry: Registry
    settings: GatewaySettings
    shortfalls: Shortfalls
    locale: Locale
    path: Mapping[str, str]
    query: Any
    body: Any
    tail: Tail
    metrics: Metrics
    standing: Standing
    last_event_id: str | None
    still_admitted: Callable[[], bool]


Handler = Callable[[Call], Awaitable[Struct | Response | None]]


@dataclass(frozen=True, slots=True)
class Example:
    """A request that shows what the endpoint is for."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What can be asked with one method of one path.

    Without `answer` it is 204; one that is not `timed` may take as long as it takes, one that is
    `without_store` is answered in time also while the store is not. One that
    `streams` answers with events of the shape `answer`, from `Last-Event-ID` on. `name` is the
    operation's in the OpenAPI document. `codes` are problems beside those of `EVERYWHERE`,
    `problem` is one of them with a request that meets it. `links` name operations that go on from
    the answer: their path's part → where in the answer it stands (a JSON pointer)."""

    method: str
    path: str
    name: str
    role: Role
    handler: Handler
    summary: str
    text: str
    example: Example
    answer: Any = None
    query: type[Struct] | None = None
    body: Any = None
    codes: tuple[str, ...] = ()
    timed: bool = True
    without_store: bool = False
    streams: bool = False
    problem: tuple[str, Example] | None = None
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`GET /v1/nodes`"""
        return f"{self.method} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """Names of the path's own parts."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def every_code(self) -> tuple[str, ...]:
        """All problems it may answer with."""
        admins = ("FORBIDDEN",) if self.role is Role.ADMIN else ()
        found = (*self.codes, *admins, *EVERYWHERE, *(("TIMEOUT",) if self.timed else ()))
        spared = ("UNAVAILABLE", "TIMEOUT") if self.without_store else ()
        return tuple(code for code in found if code not in spared)
