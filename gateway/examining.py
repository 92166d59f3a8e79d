"""The doctor: what is well and what is not, seen from one gateway, each with what to do.

Pure: what was looked at in, findings out. Looking is `gateway.api.doctor`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from registry.model import Problem
from registry.overview import Watch

Level = Literal["ok", "note", "warning", "fatal"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "fatal")

_SKEW_WARNED_MS = 1000
_DESCRIPTORS_FEW = 4096
_DESCRIPTORS_FULL = 0.85
_STORE_CHECKS = {
    "version": "the store is new enough",
    "eviction": "the store drops nothing by itself (noeviction)",
    "persistence": "the store keeps an append-only file",
    "memory": "the store's memory has a limit, and is far from it",
    "role": "the store is a primary",
}
_OF_THIS_GATEWAY = {
    "subscribed": (
        "messages of other processes arrive here",
        "this gateway's subscription is down: its nodes learn of changes only with their next beat",
        "it subscribes again by itself; if not, look for what cuts idle connections to the store",
    ),
    "announced": (
        "others count this gateway as living",
        "others do not count this gateway as living: its nodes may be called offline after 90 s",
        "look whether the store answers it in time, and whether it gets enough CPU",
    ),
    "not_draining": (
        "this gateway is not stopping",
        "this gateway is stopping",
        "ask another one",
    ),
}


class Finding(Struct, frozen=True):
    """What one check found."""

    check: str
    level: Annotated[
        Level, Meta(description="`note`: as one may want it; `fatal`: promises are not kept.")
    ]
    what: str
    to_do: Annotated[str | None, Meta(description="null where all is well.")] = None


class Diagnosis(Struct, frozen=True):
    """How one gateway finds the system at `now` (ms, the store's clock; 0 if it was never heard),
    worst first."""

    now: int
    gateway: str
    level: Annotated[Level, Meta(description="The worst of the findings.")]
    findings: list[Finding]


@dataclass(frozen=True)
class StoreSeen:
    """What the store says of itself and of who runs. `skew_ms` is this machine's clock less the
    store's; `user` is '' where the store does not say."""

    skew_ms: int
    problems: Sequence[Problem]
    infos: Sequence[Mapping[str, Any]]
    user: str
    gateways: int
    sweepers: int
    watch: Watch


@dataclass(frozen=True)
class Seen:
    """What was looked at at `now` (ms, the store's clock as far as it is known). `store` is with
    which words it could not be asked, if it could not; `refused` is with which words it refuses to
    write, '' where it does not."""

    now: int
    store: StoreSeen | str
    gap_ms: int
    standing: Mapping[str, bool]
    refused: str
    secret: bool
    open_api: bool
    descriptors: tuple[int, int]
    turned_away: int


def diagnosis(gateway: str, seen: Seen) -> Diagnosis:
    """All findings, the worst first."""
    found = [
        *_of_the_store(seen), *_standing(seen.standing), _descriptors(*seen.descriptors),
        _turned_away(seen.turned_away), _secret(seen.secret), _access(seen.open_api),
    ]  # fmt: skip
    found.sort(key=lambda finding: -LEVELS.index(finding.level))
    return Diagnosis(seen.now, gateway, found[0].level, found)


def _of_the_store(seen: Seen) -> Iterator[Finding]:
    """What the store must be asked for, if it answers."""
    store = seen.store
    if isinstance(store, str):
        yield Finding(
            "store_answers",
            "fatal",
            f"this gateway can't ask the store: {store}",
            "look whether it runs and can be reached from here, as "
            "docs/runbook/MusterGatewayOutOfStore.md shows; its set-up and who else runs can't be "
            "told meanwhile",
        )
        return
    yield Finding("store_answers", "ok", "the store answers")
    yield from (_writes(seen.refused), *_set_up(store), *_replicas(store.infos))
    yield from (*_user(store.user), _skew(store.skew_ms))
    # Who runs and how well is written down by those who run: not while nothing can be.
    if not seen.refused:
        yield from (_sweepers(store.sweepers), _lag(store.watch, seen.gap_ms))
        yield _gateways(store.gateways)


def _writes(refused: str) -> Finding:
    if not refused:
        return Finding("store_writes", "ok", "the store takes what it is sent")
    return Finding(
        "store_writes",
        "fatal",
        f"the store refuses writes: {refused}",
        "look at its memory, role, replicas and disk, as docs/runbook/MusterStoreRefusesWrites.md "
        "shows; who else runs can't be told meanwhile",
    )


def _set_up(store: StoreSeen) -> Iterator[Finding]:
    for problem in store.problems:
        level: Level = "fatal" if problem.severity == "fatal" else "warning"
        yield Finding(f"store_{problem.check}", level, problem.what, problem.fix)
    bad = {problem.check for problem in store.problems}
    for check, text in _STORE_CHECKS.items():
        if check not in bad:
            yield Finding(f"store_{check}", "ok", text)


def _replicas(infos: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    fewest = min((int(info.get("connected_slaves", 0)) for info in infos), default=0)
    if fewest == 0:
        yield Finding(
            "store_replicas",
            "note",
            "the store has no replica: while its machine is down nobody is selected",
            "fine for one machine; else run replicas with Sentinel or a Cluster",
        )
    else:
        yield Finding("store_replicas", "ok", f"each primary has {fewest} or more replicas")


def _user(user: str) -> Iterator[Finding]:
    if user == "default":
        yield Finding(
            "store_user",
            "note",
            "the store is used as its default user, who may do everything",
            "load the users of deploy/store/users.acl, who may do only what they need, and name "
            "them in MUSTER_REDIS_URL: muster-gateway at gateways, muster-sweeper at sweepers",
        )
    else:
        yield Finding("store_user", "ok", "the store knows Muster as a user of its own")


def _skew(ms: int) -> Finding:
    if abs(ms) < _SKEW_WARNED_MS:
        return Finding("clock", "ok", f"this machine and the store differ by {abs(ms)} ms")
    side = "ahead of" if ms > 0 else "behind"
    return Finding(
        "clock",
        "warning",
        f"this machine's clock is {abs(ms) / 1000:.1f} s {side} the store's",
        "nothing is decided by it, but logs do not fit together: run an NTP client on both",
    )


def _sweepers(count: int) -> Finding:
    if count == 0:
        return Finding(
            "sweepers",
            "fatal",
            "no sweeper runs: nobody becomes ready, and nobody is called offline",
            "start `muster sweeper`, two or more, with the same MUSTER_REDIS_URL and "
            "MUSTER_REDIS_PREFIX",
        )
    if count == 1:
        return Finding(
            "sweepers", "warning", "only one sweeper runs", "start another: it takes over in 10 s"
        )
    return Finding("sweepers", "ok", f"{count} sweepers run")


def _lag(watch: Watch, gap_ms: int) -> Finding:
    if watch.watched == watch.partitions:
        return Finding(
            "sweeper_lag", "ok", f"every partition was looked at {watch.stalest_ms} ms ago or later"
        )
    late = watch.partitions - watch.watched
    return Finding(
        "sweeper_lag",
        "fatal",
        f"{late} of {watch.partitions} partitions were not looked at for {gap_ms / 1000:g} s",
        "read the sweepers' logs: they are gone, do not reach the store, or lack CPU",
    )


def _gateways(count: int) -> Finding:
    if count > 1:
        return Finding("gateways", "ok", f"{count} gateways run")
    return Finding(
        "gateways",
        "note",
        "only one gateway runs: while it restarts nobody is reachable",
        "start another behind a load balancer",
    )


def _standing(standing: Mapping[str, bool]) -> Iterator[Finding]:
    for check, (well, ill, to_do) in _OF_THIS_GATEWAY.items():
        if standing[check]:
            yield Finding(check, "ok", well)
        else:
            yield Finding(check, "warning", ill, to_do)


def _descriptors(used: int, most: int) -> Finding:
    to_do = "raise it (`ulimit -n`, LimitNOFILE=, or the container's), at best to 1048576"
    if used > most * _DESCRIPTORS_FULL:
        what = f"{used} of {most} file descriptors are in use: soon no socket is accepted"
        return Finding("descriptors", "fatal", what, to_do)
    if most < _DESCRIPTORS_FEW:
        what = f"this gateway may have {most} files open: about as many nodes"
        return Finding("descriptors", "warning", what, to_do)
    return Finding("descriptors", "ok", f"{used} of {most} file descriptors are in use")


def _turned_away(count: int) -> Finding:
    if not count:
        return Finding("turned_away", "ok", "nobody was turned away for want of a place")
    return Finding(
        "turned_away",
        "warning",
        f"{count} connections or requests were answered 503 since this gateway started, as there "
        "was no place",
        "muster_shed_total says which limit; see docs/runbook/MusterTurnedAway.md",
    )


def _secret(given: bool) -> Finding:
    if given:
        return Finding("secret", "ok", "nodes get tokens that prove their identity")
    return Finding(
        "secret",
        "warning",
        "MUSTER_SECRET is not set: nodes get no token, and whoever knows an id may claim it",
        "set the same MUSTER_SECRET at every gateway (`openssl rand -hex 32`)",
    )


def _access(open_api: bool) -> Finding:
    if not open_api:
        return Finding("api_access", "ok", "the API asks who is there, or is for this machine only")
    return Finding(
        "api_access",
        "warning",
        "everybody who reaches this gateway may do everything (MUSTER_OPEN_API)",
        "make tokens: `muster token new --help`",
    )
