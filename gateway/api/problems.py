"""Every problem the API answers with: its code, when it comes, and what a program does then.

Problems are RFC 9457 documents. `code` is what programs go by and never changes its meaning;
`title` is for people and may change.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.api.answers import Near, RemovedBy


class Problem(Struct, frozen=True, kw_only=True):
    """A request that was not served as asked."""

    type: Annotated[str, Meta(description="Where the code is told: `/docs#` and the code.")]
    title: Annotated[str, Meta(description="For people.")]
    status: Annotated[int, Meta(description="The HTTP status.")]
    code: Annotated[str, Meta(description="For programs; never changes its meaning.")]
    detail: str | UnsetType = UNSET


class InvalidParameter(Problem, frozen=True, kw_only=True):
    """A query parameter or a field of the body is not what it must be."""

    parameter: Annotated[str, Meta(description="Which one, as nmt[0].src_lang.")]
    expected: str
    did_you_mean: Annotated[str | UnsetType, Meta(description="The nearest known name.")] = UNSET


class NoAvailableNode(Problem, frozen=True, kw_only=True):
    """Nobody fits; why, and who nearly does."""

    reasons: Annotated[dict[str, int], Meta(description="Machines by the first thing each lacks.")]
    examined: Annotated[int, Meta(description="Machines that were looked at.")]
    total: Annotated[int, Meta(description="Machines there are.")]
    sampled: Annotated[
        bool, Meta(description="Whether only a random sample was looked at, as there are many.")
    ]
    nearest: Annotated[list[Near], Meta(description="At most 5.")]


class NodeNotFound(Problem, frozen=True, kw_only=True):
    """There is no such node, or no more."""

    removed: Annotated[
        RemovedBy | UnsetType,
        Meta(
            description="Of a node that was taken off, as long as its record is kept; not to "
            "tokens with an owner."
        ),
    ] = UNSET


class Forbidden(Problem, frozen=True, kw_only=True):
    """The token may not do this."""

    role: Annotated[str | UnsetType, Meta(description="The role that is needed.")] = UNSET


class TooLarge(Problem, frozen=True, kw_only=True):
    """The body is too large."""

    max_bytes: int


class RateLimited(Problem, frozen=True, kw_only=True):
    """Too many requests."""

    retry_after_ms: int


class Overloaded(Problem, frozen=True, kw_only=True):
    """There is no place for this now."""

    retry_after_ms: int


class InternalError(Problem, frozen=True, kw_only=True):
    """Our bug; the log tells more under this id."""

    trace_id: str


class Code(Struct, frozen=True):
    """One code: its status, when it comes, what to do, the document's type, and the headers that
    come with it."""

    code: str
    status: int
    when: str
    to_do: str
    document: type[Problem] = Problem
    headers: tuple[str, ...] = ()


CODES = {
    code.code: code
    for code in (
        Code(
            "INVALID_PARAMETER",
            400,
            "a parameter or field is unknown, missing or not what it must be",
            "mend the request: `parameter` says where, `expected` what",
            InvalidParameter,
        ),
        Code(
            "UNAUTHORIZED",
            401,
            "this gateway asks for a token, and none or an unknown one came",
            "send `Authorization: Bearer …`",
            headers=("WWW-Authenticate",),
        ),
        Code(
            "FORBIDDEN",
            403,
            "the token's role or owner does not allow this",
            "use another token",
            Forbidden,
        ),
        Code(
            "API_NOT_CONFIGURED",
            403,
            "the gateway can be reached from outside and has no tokens",
            "configure tokens, or `--open-api`; `detail` says how",
        ),
        Code(
            "NOT_LOCAL",
            403,
            "without tokens, a request came that is not plainly this machine's own",
            "ask `http://localhost` directly, or configure tokens",
        ),
        Code(
            "NO_AVAILABLE_NODE",
            404,
            "no machine of the whole fleet can do this now",
            "wait, or ask for less: `reasons` and `nearest` say what stands in the way",
            NoAvailableNode,
        ),
        Code(
            "NODE_NOT_FOUND",
            404,
            "no node has this id (any more), or the token may not see it",
            "look into the list; `removed` says who took it off, when and why",
            NodeNotFound,
        ),
        Code(
            "HOLD_NOT_FOUND",
            404,
            "the hold has ended, never was, or the token may not see its node",
            "nothing: the place is free",
        ),
        Code("NOT_FOUND", 404, "nothing is at this path", "look at `/docs`"),
        Code(
            "METHOD_NOT_ALLOWED",
            405,
            "the path does not know this method",
            "use one that `Allow` names",
            headers=("Allow",),
        ),
        Code(
            "REQUEST_ID_REUSED",
            409,
            "this `request_id` was used for another request",
            "take a new id for every request",
        ),
        Code(
            "TOO_MANY_LABELS",
            409,
            "with these, a node would have more than 32 labels of an operator",
            "take some away first",
        ),
        Code(
            "TOO_LARGE",
            413,
            "the body is larger than this gateway takes",
            "send less",
            TooLarge,
        ),
        Code(
            "RATE_LIMITED",
            429,
            "more requests than one token and address may send",
            "wait as long as `Retry-After` says",
            RateLimited,
            ("Retry-After",),
        ),
        Code(
            "INTERNAL_ERROR",
            500,
            "a bug of ours",
            "report `trace_id`; the log has the rest",
            InternalError,
        ),
        Code(
            "OVERLOADED",
            503,
            "this gateway answers as many requests as it can at a time, or has as many connections",
            "wait as long as `Retry-After` says, or ask another gateway; nothing was changed",
            Overloaded,
            ("Retry-After",),
        ),
        Code(
            "UNAVAILABLE",
            503,
            "the store can't be asked right now, or a record changes faster than it can be read",
            "retry; what was asked to change may or may not have been changed",
            headers=("Retry-After",),
        ),
        Code(
            "TIMEOUT",
            503,
            "the answer took too long and was given up",
            "retry later; what was asked to change may or may not have been changed",
            headers=("Retry-After",),
        ),
    )
}
"""By code, in the order of their status."""
