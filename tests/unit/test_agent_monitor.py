"""The monitor: always an answer, whatever the driver does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from muster.agent.facts import Answer, CardReading, Request, Source
from muster.agent.hardware import Gpu, GpuSnapshot, Hardware
from muster.agent.monitor import LATE_MOST_S, GpuMonitor
from muster.agent.simulated import SimulatedSource, simulated
from muster.agent.worker import Worker, WorkerError, WorkerHung
from tests.fake_nvml import HANG, FakeNvml
from tests.support.cards import eventually

GIB = 1024**3
INTERVAL_S = 5.0
DEADLINE_S = 3.0


def machine_with(cards: int) -> Hardware:
    return Hardware(
        cpu_cores=8,
        memory_gb=32.0,
        gpus=tuple(Gpu(name="card", memory_gb=8.0, uuid=f"GPU-{n}", index=n) for n in range(cards)),
        platform="linux",
    )


class Scripted(Worker):
    """A worker that answers what a test says: readings by card, and who hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.readings: dict[int, CardReading] = {}
        self.hangs_at: int | None = None
        self.hangs_at_once = False
        self.crashes = False
        self.none: str | None = None
        self.asked: list[list[int]] = []
        self.deadlines: list[float] = []
        self.warm = False
        self.lasts: Callable[[], None] = lambda: None

    @property
    def pid(self) -> int | None:
        return 4711 if self.warm else None

    async def ask(
        self,
        request: Request,
        deadline_s: float,
        told: Callable[[Answer], None],
        *,
        each_s: float | None = None,
    ) -> None:
        assert each_s == DEADLINE_S
        self.asked.append([card["at"] for card in request["cards"]])
        self.deadlines.append(deadline_s)
        self.warm = False
        if self.hangs_at_once:
            raise WorkerHung
        if self.none is not None:
            self.warm = True
            told({"fault": self.none, "done": True})
            return
        told({"begun": True})
        for card in request["cards"]:
            if card["at"] == self.hangs_at:
                self.lasts()
                raise WorkerHung
            if self.crashes:
                raise WorkerError
            told({"at": card["at"], "reading": self.readings.get(card["at"], {})})
        told({"done": True})
        self.warm = True


class Watched:
    """A monitor with a scripted worker, a clock and a count of changes."""

    def __init__(self, cards: int) -> None:
        self.now = 1000.0
        self.changes = 0
        self.worker = Scripted()
        self.monitor = GpuMonitor(
            machine_with(cards),
            INTERVAL_S,
            DEADLINE_S,
            on_change=self._count,
            worker=self.worker,
            clock=lambda: self.now,
        )

    def _count(self) -> None:
        self.changes += 1

    async def look(self) -> GpuSnapshot:
        await self.monitor.look()
        self.now += INTERVAL_S
        return self.monitor.latest()

    async def reasons(self) -> list[str | None]:
        return [state.reason for state in (await self.look()).gpus]


async def test_before_the_first_answer_the_cards_are_as_they_were_found() -> None:
    latest = Watched(2).monitor.latest()
    assert [(state.index, state.uuid, state.healthy) for state in latest.gpus] == [
        (0, "GPU-0", True),
        (1, "GPU-1", True),
    ]
    assert latest.gpu_percent is latest.gpu_mem_percent is None


async def test_the_figures_of_the_machine_are_over_all_cards_that_tell_them() -> None:
    watched = Watched(3)
    watched.worker.readings = {
        0: {"busy_percent": 90, "memory_used_bytes": 6 * GIB, "memory_total_bytes": 24 * GIB},
        1: {"busy_percent": 0, "memory_used_bytes": 2 * GIB},
    }
    latest = await watched.look()
    assert latest.gpu_percent == 45.0
    assert latest.gpu_mem_percent == 25.0


async def test_a_card_that_hangs_is_late_and_the_others_are_read_the_next_time() -> None:
    watched = Watched(3)
    watched.worker.hangs_at = 1
    assert await watched.reasons() == [None, "probe_timeout", None]
    watched.worker.readings = {2: {"fault": "gpu_lost"}}
    assert await watched.reasons() == [None, "probe_timeout", "gpu_lost"]
    assert watched.worker.asked == [[0, 1, 2], [0, 2, 1]]


async def test_a_card_that_hangs_is_asked_ever_less_often_and_is_healthy_when_it_answers() -> None:
    watched = Watched(2)
    watched.worker.hangs_at = 0
    assert await watched.reasons() == ["probe_timeout", None]
    for _ in range(39):
        assert await watched.reasons() == ["probe_timeout", None]
    rounds = [at for at, asked in enumerate(watched.worker.asked) if 0 in asked]
    pauses = [(late - early) * INTERVAL_S for early, late in pairwise(rounds)]
    assert pauses[:6] == [5, 10, 20, 40, LATE_MOST_S, LATE_MOST_S]
    watched.worker.hangs_at = None
    watched.now += LATE_MOST_S
    assert await watched.reasons() == [None, None]
    assert (await watched.reasons(), watched.worker.asked[-1]) == ([None, None], [0, 1])


async def test_nobody_is_asked_while_every_card_is_late_and_none_is_due() -> None:
    watched = Watched(1)
    watched.worker.hangs_at = 0
    for _ in range(4):
        await watched.look()
    assert len(watched.worker.asked) == 3  # at 0, 5 and 15 s, not at 10


async def test_a_driver_that_hangs_before_any_card_makes_all_of_them_late() -> None:
    watched = Watched(2)
    watched.worker.hangs_at_once = True
    assert await watched.reasons() == ["probe_timeout", "probe_timeout"]
    watched.worker.hangs_at_once = False
    assert await watched.reasons() == [None, None]


async def test_an_agent_that_was_stopped_itself_blames_no_card() -> None:
    watched = Watched(1)
    await watched.look()
    watched.worker.hangs_at = 0
    watched.worker.lasts = lambda: setattr(watched, "now", watched.now + 120.0)
    assert await watched.reasons() == [None]
    watched.worker.lasts = lambda: setattr(watched, "now", watched.now + DEADLINE_S)
    assert await watched.reasons() == ["probe_timeout"]


async def test_a_worker_that_crashes_over_a_card_says_so_of_that_card() -> None:
    watched = Watched(2)
    watched.worker.crashes = True
    assert await watched.reasons() == ["probe_failed", None]


async def test_a_driver_that_knows_no_card_any_more_makes_all_of_them_ill() -> None:
    watched = Watched(2)
    watched.worker.none = "driver_mismatch"
    assert await watched.reasons() == ["driver_mismatch", "driver_mismatch"]
    watched.worker.none = None
    assert await watched.reasons() == [None, None]


async def test_a_new_worker_has_longer_as_the_driver_may_have_to_wake_up() -> None:
    watched = Watched(1)
    await watched.look()
    await watched.look()
    assert watched.worker.deadlines == [10.0, DEADLINE_S]


async def test_a_change_of_health_or_of_its_reason_is_told_at_once_and_once() -> None:
    watched = Watched(2)
    await watched.look()
    assert watched.changes == 0
    watched.worker.readings = {1: {"fault": "gpu_lost"}}
    await watched.look()
    await watched.look()
    assert watched.changes == 1
    watched.worker.readings = {1: {"ecc_uncorrected": 1}}
    await watched.look()
    assert watched.changes == 2
    watched.worker.readings = {}
    await watched.look()
    assert watched.changes == 3


async def test_what_is_learnt_of_cards_that_were_replaced_meanwhile_is_not_told() -> None:
    watched = Watched(1)

    class Replacing(Scripted):
        async def ask(
            self,
            request: Request,
            deadline_s: float,
            told: Callable[[Answer], None],
            *,
            each_s: float | None = None,
        ) -> None:
            watched.monitor.replace(machine_with(2))
            told({"at": 0, "reading": {"fault": "gpu_lost"}})

    watched.monitor._worker = Replacing()
    await watched.monitor.look()
    assert [state.healthy for state in watched.monitor.latest().gpus] == [True, True]
    assert watched.changes == 0


@pytest.mark.parametrize(("source", "pause_s"), [("nvml", 5.0), ("amd", 5.0), ("nvidia-smi", 30.0)])
async def test_a_source_that_starts_a_program_for_each_look_is_asked_less_often(
    monkeypatch: pytest.MonkeyPatch, source: Source, pause_s: float
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise asyncio.CancelledError

    hardware = msgspec.structs.replace(machine_with(1), source=source)
    monitor = GpuMonitor(hardware, INTERVAL_S, DEADLINE_S, worker=Scripted())
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await monitor.run()
    assert slept == [pause_s]


async def test_figures_alone_are_no_change() -> None:
    watched = Watched(1)
    watched.worker.readings = {0: {"temperature_c": 50.0}}
    await watched.look()
    watched.worker.readings = {0: {"temperature_c": 70.0}}
    await watched.look()
    assert watched.changes == 0


async def test_it_goes_on_with_other_cards() -> None:
    watched = Watched(1)
    watched.worker.readings = {0: {"fault": "gpu_lost"}}
    await watched.look()
    watched.monitor.replace(machine_with(3))
    assert [state.healthy for state in watched.monitor.latest().gpus] == [True, True, True]
    watched.worker.readings = {2: {"fault": "gpu_lost"}}
    assert await watched.reasons() == [None, None, "gpu_lost"]


async def test_cards_that_are_not_there_are_idle_and_well() -> None:
    hardware = simulated("RTX 4090:24,RTX 3090:24")
    monitor = GpuMonitor(hardware, source=SimulatedSource(hardware))
    await monitor.look()
    latest = monitor.latest()
    assert [state.healthy for state in latest.gpus] == [True, True]
    assert latest.gpu_percent == 0.0
    assert latest.gpu_mem_percent == 2.0


# With a worker process and a library that hangs


@pytest.fixture
async def live(
    fake_nvml: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[GpuMonitor]:
    fake_nvml.take_over(monkeypatch)
    fake_nvml.card()
    fake_nvml.card()
    worker = Worker(tmp_path)
    yield GpuMonitor(machine_with(2), 0.02, 1.0, worker=worker, first_deadline_s=20.0)
    await worker.close()


async def seen(monitor: GpuMonitor, *reasons: str | None) -> None:
    await eventually(
        lambda: [state.reason for state in monitor.latest().gpus] == list(reasons), f"{reasons}"
    )


async def read(monitor: GpuMonitor) -> None:
    await eventually(lambda: monitor.latest().gpus[1].temperature_c == 41, "a first reading")


@asynccontextmanager
async def running(monitor: GpuMonitor) -> AsyncIterator[None]:
    task = asyncio.create_task(monitor.run())
    await read(monitor)
    yield
    task.cancel()
    await asyncio.wait([task])


async def test_a_card_that_is_lost_and_comes_back_is_told_as_that(
    fake_nvml: FakeNvml, live: GpuMonitor
) -> None:
    async with running(live):
        fake_nvml.set({"1.*": 15})
        await seen(live, None, "gpu_lost")
        fake_nvml.set({"1.*": None})
        await seen(live, None, None)


async def test_readers_are_answered_while_a_card_hangs_and_it_recovers(
    fake_nvml: FakeNvml, live: GpuMonitor
) -> None:
    async with running(live):
        fake_nvml.set({"0.nvmlDeviceGetTemperature": HANG})
        await seen(live, "probe_timeout", None)
        fake_nvml.set({"1.temperature": 77})
        await eventually(lambda: live.latest().gpus[1].temperature_c == 77, "the other is read on")
        fake_nvml.set({"0.nvmlDeviceGetTemperature": None})
        await seen(live, None, None)


async def test_a_monitor_that_ends_leaves_no_worker(live: GpuMonitor) -> None:
    async with running(live):
        assert live._worker.pid is not None
    assert live._worker.pid is None
