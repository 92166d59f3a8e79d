"""What can go wrong, as exceptions. Each has a `code` to go by and a `next_step` to tell people.

    MusterError
    ├── UnreachableError         no gateway answered; `tried` says why, gateway by gateway
    ├── UnexpectedAnswerError    something answered that is no gateway, or one of another age
    └── ProblemError             a gateway refused, and said why: `status`, `title`, `document`
        ├── InvalidParameterError    what was asked is not what it must be
        ├── NotAllowedError          no token, an unknown one, or one that may not do this
        ├── NotFoundError            no such node, hold or path
        ├── NoAvailableNodeError     no machine can do this now; `reasons`, `nearest`
        ├── ConflictError            it contradicts what was before
        ├── RateLimitedError         too many requests; `retry_after_s`
        ├── UnavailableError         the store can't be asked, or it took too long
        └── InternalError            a bug of Muster's; `trace_id`

After `UnreachableError` and `UnavailableError` it is not known whether a change was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from muster.client.answers import Near

UNREACHABLE = "UNREACHABLE"
UNEXPECTED_ANSWER = "UNEXPECTED_ANSWER"

NEXT_STEPS: Mapping[str, str] = {
    "INVALID_PARAMETER": "mend what was asked",
    "UNAUTHORIZED": "give a token that this gateway knows (for `muster`: in MUSTER_TOKEN); "
    "`muster token new` makes one",
    "FORBIDDEN": "use a token that may do this",
    "API_NOT_CONFIGURED": "give the gateway tokens, or start it with --open-api",
    "NOT_LOCAL": "ask the gateway as localhost and directly, or give it tokens",
    "NO_AVAILABLE_NODE": "wait for a machine, or ask for less",
    "NODE_NOT_FOUND": "look for its id in the list of nodes",
    "HOLD_NOT_FOUND": "nothing: the place is free",
    "NOT_FOUND": "see that the address is a gateway's and this program no newer than it",
    "METHOD_NOT_ALLOWED": "see that the address is a gateway's and this program no newer than it",
    "REQUEST_ID_REUSED": "take a new request_id for every request",
    "TOO_MANY_LABELS": "take some of the operator's labels away first",
    "TOO_LARGE": "ask for less at once",
    "RATE_LIMITED": "ask less often, or raise the gateway's MUSTER_API_RATE_PER_S",
    "INTERNAL_ERROR": "report it with its trace_id; the gateway's log has the rest",
    "OVERLOADED": "ask again later, or another gateway",
    "UNAVAILABLE": "`muster doctor` says what is wrong with the store; then ask again",
    "TIMEOUT": "ask again later; if it goes on, `muster doctor` says what is wrong",
    UNREACHABLE: "see that a gateway runs there and that nothing stands between",
    UNEXPECTED_ANSWER: "see that the address is a gateway's, and not a proxy's or another "
    "program's",
}
"""What to do next, by code."""

_OTHERWISE = "look the code up in the gateway's /docs"


class MusterError(Exception):
    """A request was not served. `code` is for programs, `next_step` for people."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return NEXT_STEPS.get(self.code, _OTHERWISE)

    def __str__(self) -> str:
        return f"{self.what} [{self.code}]; next: {self.next_step}"


class UnreachableError(MusterError):
    """No gateway answered within the client's patience. `tried` → what was met there last."""

    def __init__(self, tried: Mapping[str, str]) -> None:
        self.tried = dict(tried)
        met = "; ".join(f"{server}: {what}" for server, what in self.tried.items())
        super().__init__(UNREACHABLE, f"no gateway answered ({met})")

    @property
    def next_step(self) -> str:
        """What to do about it."""
        if any("CERTIFICATE" in what.upper() for what in self.tried.values()):
            return (
                "have this program trust the authority that signed the gateway's certificate: "
                "its file in SSL_CERT_FILE, or (in Python) an ssl_context"
            )
        return super().next_step


class UnexpectedAnswerError(MusterError):
    """An answer that no gateway gives."""

    def __init__(self, server: str, status: int, expected: str) -> None:
        self.server = server
        self.status = status
        super().__init__(
            UNEXPECTED_ANSWER, f"{server} answered {status}, but not with {expected} as expected"
        )


class ProblemError(MusterError):
    """A gateway refused. `document` is all that it said (RFC 9457)."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.document = dict(document)
        self.title = str(document.get("title", ""))
        super().__init__(str(document.get("code", "")), self.title)

    @property
    def detail(self) -> str:
        """More about it, or ''."""
        return str(self.document.get("detail", ""))


class InvalidParameterError(ProblemError):
    """`parameter` is not what is `expected`, or (then it is '') the whole is too large."""

    @property
    def parameter(self) -> str:
        """Which one, as nmt[0].src_lang."""
        return str(self.document.get("parameter", ""))

    @property
    def expected(self) -> str:
        """What it must be."""
        return str(self.document.get("expected", ""))

    @property
    def did_you_mean(self) -> str | None:
        """The nearest known name."""
        near = self.document.get("did_you_mean")
        return None if near is None else str(near)

    @property
    def next_step(self) -> str:
        """What to write instead."""
        if not self.parameter:
            return super().next_step
        near = self.did_you_mean
        return f"write {near}" if near else f"give {self.parameter} as {self.expected}"


class NotAllowedError(ProblemError):
    """The token is missing, unknown, or may not do this."""


class NotFoundError(ProblemError):
    """No such node, hold or path, or none that the token may see."""


class NoAvailableNodeError(ProblemError):
    """No machine of the whole fleet can do this now."""

    @property
    def reasons(self) -> dict[str, int]:
        """Machines by the first thing each lacks."""
        return dict(self.document.get("reasons", {}))

    @property
    def nearest(self) -> tuple[Near, ...]:
        """The machines that lack least."""
        return msgspec.convert(self.document.get("nearest", ()), tuple[Near, ...])


class ConflictError(ProblemError):
    """It contradicts what was before."""


class RateLimitedError(ProblemError):
    """More requests than a token and address may send."""

    @property
    def retry_after_s(self) -> float:
        """How long to wait."""
        return float(self.document.get("retry_after_ms", 1000)) / 1000


class UnavailableError(ProblemError):
    """The store can't be asked, or it took too long."""


class InternalError(ProblemError):
    """A bug of Muster's."""

    @property
    def trace_id(self) -> str:
        """Under which the gateway's log tells more."""
        return str(self.document.get("trace_id", ""))


_BY_CODE: Mapping[str, type[ProblemError]] = {"NO_AVAILABLE_NODE": NoAvailableNodeError}
_BY_STATUS: Mapping[int, type[ProblemError]] = {
    400: InvalidParameterError,
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    405: NotFoundError,
    409: ConflictError,
    413: InvalidParameterError,
    429: RateLimitedError,
    500: InternalError,
    503: UnavailableError,
}


def problem(status: int, document: Mapping[str, Any]) -> ProblemError:
    """The exception for a problem document. A code that is not known is taken by its status."""
    known = _BY_CODE.get(str(document.get("code"))) or _BY_STATUS.get(status, ProblemError)
    return known(status, document)
