"""What the doctor makes of what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.examining import LEVELS, Diagnosis, Finding, Seen, StoreSeen, diagnosis
from gateway.metrics import CHECKS
from registry.overview import Watch
from registry.problems import problems_of

WELL_SET_UP = {
    "valkey_version": "9.1.0",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "maxmemory": 1 << 30,
    "role": "master",
    "connected_slaves": 2,
}
STANDING = dict.fromkeys(CHECKS, True)
WELL_STORE = StoreSeen(
    skew_ms=3,
    problems=(),
    infos=(WELL_SET_UP,),
    user="muster-gateway",
    gateways=2,
    sweepers=2,
    watch=Watch(partitions=64, watched=64, stalest_ms=900, unobserved_ms=0),
)
WELL = Seen(
    now=1_735_689_600_000,
    store=WELL_STORE,
    gap_ms=5000,
    standing=STANDING,
    refused="",
    secret=True,
    open_api=False,
    descriptors=(60, 65_536),
    turned_away=0,
)
HALF = Watch(partitions=64, watched=32, stalest_ms=None, unobserved_ms=0)
ILL: list[tuple[str, str, dict[str, Any]]] = [
    ("store_answers", "fatal", {"store": "no answer within 3 s"}),
    ("store_writes", "fatal", {"refused": "command not allowed when used memory > 'maxmemory'"}),
    ("secret", "warning", {"secret": False}),
    ("api_access", "warning", {"open_api": True}),
    ("descriptors", "warning", {"descriptors": (60, 1024)}),
    ("descriptors", "fatal", {"descriptors": (60_000, 65_536)}),
    ("turned_away", "warning", {"turned_away": 1}),
    ("subscribed", "warning", {"standing": STANDING | {"subscribed": False}}),
    ("announced", "warning", {"standing": STANDING | {"announced": False}}),
    ("not_draining", "warning", {"standing": STANDING | {"not_draining": False}}),
]
SEEN_ILL: list[tuple[str, str, dict[str, Any]]] = [
    ("clock", "warning", {"skew_ms": -90_000}),
    ("sweepers", "fatal", {"sweepers": 0}),
    ("sweepers", "warning", {"sweepers": 1}),
    ("sweeper_lag", "fatal", {"watch": HALF}),
    ("gateways", "note", {"gateways": 1}),
    ("store_user", "note", {"user": "default"}),
    ("store_replicas", "note", {"infos": (WELL_SET_UP, WELL_SET_UP | {"connected_slaves": 0})}),
]
ILL += [(check, level, {"store": replace(WELL_STORE, **c)}) for check, level, c in SEEN_ILL]
STORES: list[tuple[str, str, dict[str, Any]]] = [
    ("store_version", "fatal", {"valkey_version": "6.2.1"}),
    ("store_eviction", "fatal", {"maxmemory_policy": "volatile-lru"}),
    ("store_persistence", "warning", {"aof_enabled": 0}),
    ("store_memory", "warning", {"maxmemory": 0}),
    ("store_memory", "warning", {"maxmemory": 1 << 30, "used_memory": 1 << 30}),
    ("store_memory", "warning", {"maxmemory": 100, "used_memory": 86}),
    ("store_memory", "ok", {"maxmemory": 100, "used_memory": 85}),
    ("store_role", "fatal", {"role": "slave"}),
]


def found(check: str, made: Diagnosis) -> Finding:
    (finding,) = [f for f in made.findings if f.check == check]
    return finding


def test_a_system_that_is_well_is_told_so_of_every_check() -> None:
    made = diagnosis("gw1", WELL)
    assert (made.level, {f.level for f in made.findings}) == ("ok", {"ok"})
    assert all(f.what and f.to_do is None for f in made.findings)
    assert {f.check for f in made.findings} == {check for check, *_ in ILL} | {
        check for check, *_ in STORES
    }


@pytest.mark.parametrize(("check", "level", "change"), ILL)
def test_what_is_not_well_is_told_first_with_what_to_do(
    check: str, level: str, change: dict[str, Any]
) -> None:
    made = diagnosis("gw1", replace(WELL, **change))
    finding = found(check, made)
    assert (finding.level, made.level, made.findings[0]) == (level, level, finding)
    assert finding.to_do


@pytest.mark.parametrize(("check", "level", "change"), STORES)
def test_a_store_that_is_set_up_badly_is_told_once(
    check: str, level: str, change: dict[str, Any]
) -> None:
    infos = [WELL_SET_UP | change]
    store = replace(WELL_STORE, infos=infos, problems=problems_of(infos, single=True))
    assert found(check, diagnosis("gw1", replace(WELL, store=store))).level == level


def test_of_a_store_that_does_not_answer_nothing_is_told_but_that() -> None:
    made = diagnosis("gw1", replace(WELL, store="no route to host"))
    assert "no route to host" in found("store_answers", made).what
    assert {f.check for f in made.findings} == {
        "store_answers", "subscribed", "announced", "not_draining", "descriptors", "turned_away",
        "secret", "api_access",
    }  # fmt: skip


def test_findings_are_sorted_from_bad_to_good() -> None:
    made = diagnosis(
        "gw1", replace(WELL, store=replace(WELL_STORE, gateways=1, sweepers=0), secret=False)
    )
    levels = [LEVELS.index(f.level) for f in made.findings]
    assert levels == sorted(levels, reverse=True)


def test_who_runs_is_not_judged_while_nobody_can_write_that_they_do() -> None:
    def checked(refused: str) -> set[str]:
        seen = replace(WELL, store=replace(WELL_STORE, sweepers=0, gateways=0), refused=refused)
        return {found.check for found in diagnosis("gw1", seen).findings}

    assert {"sweepers", "gateways"} <= checked("")
    assert not {"sweepers", "gateways"} & checked("used memory > 'maxmemory'")
