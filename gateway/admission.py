"""Whose id is it? One pure decision, from what the store knows and what the newcomer showed.

Three rules stand behind the rest. The right token always wins over a socket; a wrong one never
wins anything. Without a token only an id whose socket is gone can be had. And of one machine's
own attempts the later one wins, whatever order they finish in.

It does not look at the message's content, and asks nobody: where the answer depends on whether a
socket lives, it says `Ask` and is called again with what was found out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.tokens import TokenCheck
from registry.model import Existing, Status


class Holder(Enum):
    """What is known of the socket that holds the id."""

    UNKNOWN = "unknown"  # its gateway is present and was not asked yet
    ABSENT = "absent"  # its gateway's presence has lapsed
    ALIVE = "alive"
    GONE = "gone"
    NO_PONG = "no_pong"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a newcomer showed. `own_sid` is the session this same socket has or had, else ''."""

    token: TokenCheck
    boot_id: str = ""
    attempt: int = 0
    address: str = ""
    own_sid: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that bear on ownership; times in milliseconds."""

    require_token: bool
    takeover_limit: int
    takeover_window_ms: int
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class Accept:
    """The id is the newcomer's. `takeovers` is what the record shall remember of quarrels."""

    kind: str
    takeovers: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The id is somebody else's, for ever (None) or perhaps only for now."""

    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Only the gateway that holds the socket knows whether it lives."""

    gateway: str
    sid: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two machines fight over one identity; the newcomer has to go."""


@dataclass(frozen=True, slots=True)
class Outrun:
    """A later attempt of the same machine is registered already."""


Decision = Accept | Conflict | Ask | Duplicate | Outrun


def decide(
    existing: Existing | None, attempt: Attempt, policy: Policy, holder: Holder, now_ms: int
) -> Decision:
    """Decides one registration; `now_ms` is the store's clock, for counting takeovers."""
    if attempt.token is TokenCheck.WRONG:
        return Conflict()
    if existing is None:
        return Accept("register")
    known = attempt.token is TokenCheck.RIGHT
    if attempt.own_sid and existing.sid == attempt.own_sid:
        return Accept("resume" if known else "register", existing.takeovers)
    live = not existing.closed and existing.status != Status.OFFLINE
    if live and _outrun(existing, attempt):
        return Outrun()
    if known:
        return _take_over(existing, attempt, policy, live and holder is not Holder.ABSENT, now_ms)
    if existing.token_shown or policy.require_token:
        return Conflict()
    if existing.closed:
        return Accept("register", existing.takeovers)
    if holder is Holder.UNKNOWN:
        return Ask(existing.gateway, existing.sid)
    if holder is Holder.ALIVE:
        return Conflict(policy.retry_after_ms)
    return Accept("register", existing.takeovers)


def _outrun(existing: Existing, attempt: Attempt) -> bool:
    return (
        attempt.boot_id != ""
        and existing.boot_id == attempt.boot_id
        and attempt.attempt < existing.attempt
    )


def _take_over(
    existing: Existing, attempt: Attempt, policy: Policy, live: bool, now_ms: int
) -> Decision:
    if not live or not _another_machine(existing, attempt):
        return Accept("resume", existing.takeovers)
    recent = (
        [
            at
            for at in map(int, existing.takeovers.split(","))
            if now_ms - at < policy.takeover_window_ms
        ]
        if existing.takeovers
        else []
    )
    if len(recent) >= policy.takeover_limit:
        return Duplicate()
    return Accept("resume", ",".join(map(str, [*recent, now_ms])))


def _another_machine(existing: Existing, attempt: Attempt) -> bool:
    return existing.boot_id != attempt.boot_id or existing.address != attempt.address
