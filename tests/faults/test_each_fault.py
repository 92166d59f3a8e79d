"""Every fault alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from muster.wire.closing import CloseCode
from tests.faults import faults
from tests.faults.book import Page, now_ms
from tests.faults.conftest import Judge, MakeWorld
from tests.faults.pace import QUICK
from tests.faults.stores import BehindSentinel, Clustered, Standalone
from tests.faults.world import World
from tests.support.versions import former

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

_OWN_CLOSES = (1000, 1006)  # the fleet's own: deaths, restarts of programs, cut connections


def closed_by_us(world: World) -> list[tuple[Page, int]]:
    """Sockets that a gateway closed."""
    pages = world.book.pages.values()
    return [(p, c.code) for p in pages for c in p.closed if c.code not in _OWN_CLOSES]


@pytest.mark.parametrize("killed", [False, True], ids=["in order", "killed"])
async def test_store_restarted_with_its_data(world: MakeWorld, judged: Judge, killed: bool) -> None:
    """The store ends ({which}) and comes back with its data."""
    w = await world()
    await w.suffer(faults.StoreRestarted(killed=killed))
    await judged(w)
    assert not closed_by_us(w)


async def test_store_restarted_empty(world: MakeWorld, judged: Judge) -> None:
    """The store comes back empty."""
    w = await world()
    await w.suffer(faults.StoreRestarted(empty=True))
    await judged(w)
    assert not closed_by_us(w)


@pytest.mark.parametrize("lasts_s", [10, 60, 300])
async def test_store_unreachable_from_every_process(
    world: MakeWorld, judged: Judge, lasts_s: float
) -> None:
    """No process reaches the store for {lasts_s} s: packets are dropped."""
    w = await world()
    await w.suffer(faults.StoreUnreachable(lasts_s))
    await judged(w)
    assert not closed_by_us(w)


async def test_store_refusing_every_connection(world: MakeWorld, judged: Judge) -> None:
    """The store refuses every connection for 60 s."""
    w = await world()
    await w.suffer(faults.StoreUnreachable(60, refused=True))
    await judged(w)
    assert not closed_by_us(w)


async def test_store_unreachable_from_one_gateway_alone(world: MakeWorld, judged: Judge) -> None:
    """One gateway alone does not reach the store for 150 s."""
    w = await world()
    await w.suffer(faults.OneGatewayCutOff())
    outcome = await judged(w)
    assert outcome.measured.recover_s < 2 * w.pace.interval_s, "they are back by the next beat"
    blamed = [e for e in w.book.events if '"blame":"platform"' in e["evidence"]]
    assert blamed, "machines behind it are called offline in the end, and the platform is blamed"


async def test_store_paused_and_resumed(world: MakeWorld, judged: Judge) -> None:
    """The store is paused for 60 s and resumed."""
    w = await world()
    await w.suffer(faults.StorePaused(60))
    await judged(w)
    assert not closed_by_us(w)


async def test_gateway_killed_with_half_the_fleet(world: MakeWorld, judged: Judge) -> None:
    """A gateway is killed with half the fleet, another comes after 30 s."""
    w = await world()
    await w.suffer(faults.GatewayKilled())
    await judged(w)


@pytest.mark.parametrize("lasts_s", [60, 150])
async def test_gateway_paused_and_resumed(world: MakeWorld, judged: Judge, lasts_s: float) -> None:
    """A gateway is paused for {lasts_s} s and resumed."""
    w = await world()
    await w.suffer(faults.GatewayPaused(lasts_s))
    await judged(w)
    assert CloseCode.SILENT.code not in {code for _, code in closed_by_us(w)}


async def test_gateways_restarted_one_after_the_other(world: MakeWorld, judged: Judge) -> None:
    """All gateways are restarted one after the other."""
    w = await world()
    await w.suffer(faults.GatewaysRolled())
    await judged(w)


async def test_two_rolling_updates_in_a_row_under_load(world: MakeWorld, judged: Judge) -> None:
    """All gateways are restarted one after the other, twice in a row, while machines register."""
    w = await world(gateways=3, machines=30)
    began = now_ms()
    old_hands = [m.page for m in w.machines if not m.plain]
    update = faults.Together(of=((0, faults.GatewaysRolled(rounds=2)), (0, faults.Newcomers())))
    await w.suffer(update, life=False)
    outcome = await judged(w)
    assert not outcome.counts["offline"], "an update calls nobody offline"
    assert {code for _, code in closed_by_us(w)} == {CloseCode.SERVICE_RESTART.code}
    assert "closed_1006" not in outcome.counts, "no socket ends without a word"
    for page in old_hands:
        told = {str(h.frame["status"]) for h in page.heard if h.tells and h.at > began}
        assert told == {"ready"}, f"{page.name} showed its token and was ready all along: {told}"
        acks = [h for h in page.acks if h.at > began]
        assert len(acks) >= 2, f"{page.name} lost its gateway in each round"
    names = {page.node_id for page in w.book.pages.values()}
    assert len(names) == len(w.book.pages) == 42
    records = await w.records()
    assert {records[name].status for name in names} == {"ready"}


async def test_two_versions_of_the_code_side_by_side(
    world: MakeWorld, judged: Judge, tmp_path: Path
) -> None:
    """A former version is replaced by this one, process by process, and this one by that again."""
    code = former(tmp_path / "former")
    w = await world(code=code)
    await w.suffer(faults.Versions())
    await w.suffer(faults.Versions(code=code))
    await judged(w)
    assert {code for _, code in closed_by_us(w)} == {CloseCode.SERVICE_RESTART.code}


async def test_sweeper_killed_with_much_to_judge(world: MakeWorld, judged: Judge) -> None:
    """A sweeper is killed while the whole fleet waits to be judged."""
    w = await world()
    await w.suffer(faults.SweeperKilled())
    await judged(w)


async def test_both_sweepers_paused_past_their_leases(world: MakeWorld, judged: Judge) -> None:
    """Both sweepers are paused for 60 s, past their leases, and go on with stale judgements."""
    w = await world()
    await w.suffer(faults.SweepersPaused())
    await judged(w)
    assert not closed_by_us(w)


@pytest.mark.parametrize("replicas", [False, True], ids=["memory", "replicas"])
async def test_store_refusing_writes(world: MakeWorld, judged: Judge, replicas: bool) -> None:
    """The store answers reads and refuses writes for 60 s, for want of {which}."""
    w = await world()
    await w.suffer(faults.WritesRefused(replicas=replicas))
    await judged(w)
    assert not closed_by_us(w)


async def test_slots_on_the_move(world: MakeWorld, judged: Judge, tmp_path: Path) -> None:
    """Cluster: slots of machines are half moved for 40 s, then wholly."""
    w = await world(store=Clustered(tmp_path / "cluster"))
    await w.suffer(faults.SlotsMoving())
    await judged(w)
    assert not closed_by_us(w)


async def test_primary_of_a_cluster_killed(world: MakeWorld, judged: Judge, tmp_path: Path) -> None:
    """Cluster: the primary of a third of the slots is killed."""
    w = await world(store=Clustered(tmp_path / "cluster"))
    await w.suffer(faults.ClusterPrimaryKilled())
    await judged(w)


async def test_primary_killed_behind_sentinel(
    world: MakeWorld, judged: Judge, tmp_path: Path
) -> None:
    """Sentinel: the primary is killed."""
    w = await world(store=BehindSentinel(tmp_path / "sentinel"))
    await w.suffer(faults.PrimaryKilled())
    await judged(w)


async def test_a_former_primary_that_lives_on(
    world: MakeWorld, judged: Judge, tmp_path: Path
) -> None:
    """Sentinel: another primary is named, and the former one takes writes for 80 s more."""
    w = await world(store=BehindSentinel(tmp_path / "sentinel", replicas=3))
    await w.suffer(faults.Deposed())
    await judged(w)


@pytest.mark.parametrize("clock_offset_s", [0, 60, -60])
async def test_promoted_replica_that_lost_the_last_second(
    world: MakeWorld, judged: Judge, tmp_path: Path, clock_offset_s: float
) -> None:
    """Sentinel: the promoted replica lost the last seconds; its clock is {clock_offset_s} s off."""
    w = await world(
        store=BehindSentinel(tmp_path / "sentinel", QUICK.s(clock_offset_s), alone=True)
    )
    await w.suffer(faults.LastSecondLost())
    await judged(w)


@pytest.mark.parametrize(
    "fault",
    [faults.StoreRestarted(killed=True), faults.StoreUnreachable(20), faults.StorePaused(12)],
    ids=["is killed", "is unreachable for 20 s", "is paused for 12 s"],
)
async def test_a_store_that_speaks_tls(
    world: MakeWorld, judged: Judge, tmp_path: Path, fault: faults.Fault
) -> None:
    """A store that speaks TLS alone {which}."""
    w = await world(store=Standalone(tmp_path / "store", secure=True))
    await w.suffer(fault)
    await judged(w)


@pytest.mark.parametrize(
    "outage",
    [
        faults.StorePaused(12),
        faults.StoreRestarted(),
        faults.StoreUnreachable(12),
        faults.StoreUnreachable(12, refused=True),
        faults.WritesRefused(12),
        faults.WritesRefused(12, replicas=True),
        faults.OneGatewayCutOff(12),
        faults.GatewayKilled(12),
        faults.GatewayPaused(12),
        faults.SweepersPaused(12),
        faults.HalfOpen(12),
    ],
    ids=[
        "the store paused",
        "the store restarted",
        "the store unreachable",
        "the store refusing connections",
        "the store refusing writes for want of memory",
        "the store refusing writes for want of replicas",
        "one gateway cut off from the store",
        "one gateway killed",
        "one gateway paused",
        "both sweepers paused",
        "half of the machines cut off",
    ],
)
async def test_outage_repeated_every_40_s_for_ten_minutes(
    world: MakeWorld, judged: Judge, outage: faults.Fault
) -> None:
    """An outage of 12 s again and again, every 40 s for ten minutes: {which}.

    The truth may be late, not never: who dies meanwhile is called offline meanwhile.
    """
    w = await world()
    await w.suffer(faults.Repeated(of=outage))
    outcome = await judged(w)
    assert outcome.measured.truth_s < w.pace.s(300)


async def test_connections_half_open_for_a_while(world: MakeWorld, judged: Judge) -> None:
    """Half of the connections pass nothing for 30 s (no FIN)."""
    w = await world()
    await w.suffer(faults.HalfOpen(30))
    await judged(w)


async def test_connections_half_open_for_ever(world: MakeWorld, judged: Judge) -> None:
    """Half of the connections never pass anything again (no FIN)."""
    w = await world()
    await w.suffer(faults.HalfOpen(120, for_ever=True))
    await judged(w)


async def test_what_operators_and_leavers_mean_outlives_restarts_and_pauses(
    world: MakeWorld, judged: Judge
) -> None:
    """Machines are drained, resumed and leave; sweepers pause, gateways and the store restart."""
    w = await world()
    await w.suffer(
        faults.Together(
            of=(
                (0, faults.SweepersPaused(40)),
                (10, faults.Drained(120)),
                (20, faults.Leaving(count=3)),
                (50, faults.GatewaysRolled()),
                (60, faults.StoreRestarted(killed=True)),
            )
        )
    )
    await judged(w)
    told = Counter((e["to"], e["reason"]) for e in w.book.events if e.kind == "transition")
    left = [p for p in w.book.pages.values() if p.left]
    assert len(left) == 3
    # One of them may have been drained before, and leaves before a sweeper says so.
    drained = {e.node_id for e in w.book.events if e.kind == "operator_drain"}
    assert len(drained) == 3
    stayed = drained - {p.node_id for p in left}
    assert len(stayed) <= told["draining", "operator"] <= 3
    assert told["offline", "unregistered"] == sum(p.left_at > 0 for p in left)
    assert not w.drained


async def test_slow_network(world: MakeWorld, judged: Judge) -> None:
    """Every frame of a machine comes 0.15 s late."""
    w = await world()
    await w.suffer(faults.SlowNetwork())
    await judged(w)


async def test_whole_fleet_reconnecting_at_once(world: MakeWorld, judged: Judge) -> None:
    """All 40 machines reconnect at once."""
    w = await world(machines=40)
    await w.suffer(faults.EverybodyReconnects())
    await judged(w)


async def test_slow_readers(world: MakeWorld, judged: Judge) -> None:
    """A third of the machines do not read for 40 s."""
    w = await world()
    await w.suffer(faults.SlowReaders())
    await judged(w)


async def test_two_machines_with_one_identity(world: MakeWorld, judged: Judge) -> None:
    """Two machines run with one cloned identity."""
    w = await world()
    await w.suffer(faults.ClonedIdentity())
    await judged(w)
    quarrels = [e for e in w.book.events if e.kind == "duplicate_identity"]
    assert quarrels
    contested = [m for m in w.machines if m.page.contested]
    assert sorted(m.barred for m in contested) == [False, True]


async def test_clocks_of_gateways_and_machines_wrong_by_an_hour(
    world: MakeWorld, judged: Judge
) -> None:
    """Clocks of gateways and machines are wrong by an hour, and all gateways are restarted."""
    w = await world(clock_errors_s=(3600, -3600))
    await w.suffer(faults.GatewaysRolled())
    await judged(w)
