"""The worker process: what hangs is killed, what ends is started anew, nothing is left behind."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest

from muster.agent.causes import NoGpuCause, NoGpuError
from muster.agent.facts import Answer, CardFound, CardReading, CardWanted, Request, Source
from muster.agent.worker import Worker, WorkerError, WorkerHung
from muster.agent.worker_main import serve
from tests.fake_nvml import HANG, FakeNvml
from tests.support.cards import DEADLINE_S, eventually, read


@pytest.fixture
def machine(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake_nvml.take_over(monkeypatch)
    fake_nvml.card()
    return fake_nvml


@pytest.fixture
async def worker(machine: FakeNvml, tmp_path: Path) -> AsyncIterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    await worker.close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def hang(worker: Worker, deadline_s: float = 0.5) -> None:
    with pytest.raises(WorkerHung):
        await worker.ask({"ask": "find"}, deadline_s, lambda answer: None)


async def test_one_worker_answers_many_questions(worker: Worker) -> None:
    await read(worker, "GPU-0")
    first = worker.pid
    await read(worker, "GPU-0")
    assert worker.pid == first is not None


async def test_a_worker_that_hangs_is_killed_and_the_next_question_starts_another(
    machine: FakeNvml, worker: Worker
) -> None:
    await read(worker, "GPU-0")
    hung = worker.pid
    assert hung is not None
    machine.set({"nvmlDeviceGetCount_v2": HANG, "nvmlDeviceGetName": HANG})
    await hang(worker)
    assert worker.pid is None
    assert not alive(hung)
    machine.set({"nvmlDeviceGetCount_v2": None, "nvmlDeviceGetName": None})
    assert "fault" not in (await read(worker, "GPU-0"))["GPU-0"]
    assert worker.pid not in (None, hung)


async def test_what_was_answered_before_it_hung_is_handed_on(
    machine: FakeNvml, worker: Worker
) -> None:
    machine.card()
    await read(worker, "GPU-0")
    machine.set({"1.nvmlDeviceGetTemperature": HANG})
    answered: list[int] = []
    cards: list[CardWanted] = [{"at": at, "uuid": f"GPU-{at}", "index": None} for at in range(2)]
    with pytest.raises(WorkerHung):
        await worker.ask(
            {"ask": "read", "source": "nvml", "cards": cards},
            DEADLINE_S,
            lambda answer: answered.append(answer["at"]) if "at" in answer else None,
            each_s=4.0,
        )
    assert answered == [0]


async def test_a_slow_answer_is_waited_for_as_long_as_each_line_comes_in_time(
    machine: FakeNvml, worker: Worker
) -> None:
    for _ in range(7):
        machine.card()
    await read(worker, "GPU-0")
    # All of them take longer than one line may, and that far longer than one takes.
    machine.set({"nvmlDeviceGetTemperature": "slow:500"})
    cards: list[CardWanted] = [{"at": at, "uuid": f"GPU-{at}", "index": None} for at in range(8)]
    request: Request = {"ask": "read", "source": "nvml", "cards": cards}
    await worker.ask(request, 3.5, lambda answer: None, each_s=3.5)
    with pytest.raises(WorkerHung):
        await worker.ask(request, 0.5, lambda answer: None)


async def test_a_worker_that_was_killed_by_another_hand_is_an_error_and_then_replaced(
    worker: Worker,
) -> None:
    await read(worker, "GPU-0")
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerError) as caught:
        await read(worker, "GPU-0")
    assert caught.value.code == "probe_failed"
    assert "fault" not in (await read(worker, "GPU-0"))["GPU-0"]


async def test_a_question_that_is_given_up_takes_the_worker_with_it(
    machine: FakeNvml, worker: Worker
) -> None:
    await read(worker, "GPU-0")
    pid = worker.pid
    assert pid is not None
    machine.set({"nvmlDeviceGetTemperature": HANG})
    question = asyncio.create_task(read(worker, "GPU-0"))
    await asyncio.sleep(0)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert worker.pid is None
    await eventually(lambda: not alive(pid), "the process is gone")


async def test_a_program_the_worker_started_is_killed_with_it(
    machine: FakeNvml, worker: Worker, tmp_path: Path
) -> None:
    machine.set({"nvmlInitWithFlags": 12})
    mark = tmp_path / "pid"
    program = machine.programs / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho $$ > {mark}\nexec /bin/sleep 1000\n")
    program.chmod(0o755)
    question = asyncio.create_task(worker.ask({"ask": "find"}, DEADLINE_S, lambda answer: None))
    await eventually(lambda: mark.exists() and mark.read_text() != "", "the program runs")
    pid = int(mark.read_text())
    assert alive(pid)
    await worker.close()
    with pytest.raises(WorkerError):
        await question
    await eventually(lambda: not alive(pid), "the process is gone")


async def test_a_worker_that_hangs_ends_with_an_agent_that_was_killed(
    machine: FakeNvml, tmp_path: Path
) -> None:
    machine.set({"nvmlInitWithFlags": HANG})
    agent = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", AGENT, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env=machine.environ,
    )
    try:
        assert agent.stdout is not None
        pid = int(await agent.stdout.readline())
        assert alive(pid)
    finally:
        agent.kill()
        await agent.communicate()
    await eventually(lambda: not alive(pid), "the process is gone")


AGENT = """
import asyncio, sys
from pathlib import Path
from muster.agent.worker import Worker

async def main():
    worker = Worker(Path(sys.argv[1]))
    def told(answer):
        print(worker.pid, flush=True)
    await worker.ask({"ask": "find"}, 1000.0, told)

asyncio.run(main())
"""


async def test_no_worker_is_started_while_a_killed_one_waits_inside_the_kernel(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck:
        async def wait(self) -> None:
            await asyncio.Event().wait()

    async def start(*arguments: object, **options: object) -> None:
        pytest.fail("a second worker was started")

    monkeypatch.setattr(worker, "_dying", Stuck())
    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    await hang(worker, 0.05)


async def test_the_folder_the_agent_is_started_in_can_not_disturb_the_worker(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError")
    monkeypatch.chdir(tmp_path)
    assert await read(worker, "GPU-0")


async def test_a_worker_that_can_not_be_started_is_an_error(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerError):
        await read(worker, "GPU-0")


# What it serves


class Scripted:
    """A source that does what a test says."""

    name: Source = "nvml"

    def __init__(self, ends: Exception | None = None) -> None:
        self._ends = ends

    def find(self) -> list[CardFound]:
        if self._ends is not None:
            raise self._ends
        return []

    def begin(self) -> None:
        if self._ends is not None:
            raise self._ends

    def read(self, wanted: CardWanted) -> CardReading:
        return {"busy_percent": 1.0}


class Ended(BaseException):
    """There are no more questions."""


class Questions(SimpleQueue[bytes]):
    def get(self, block: bool = True, timeout: float | None = None) -> bytes:
        if self.empty():
            raise Ended
        return super().get(block, timeout)


def served(source: Scripted, *requests: dict[str, object]) -> list[Answer]:
    questions, lines = Questions(), io.StringIO()
    for request in requests:
        questions.put(json.dumps(request).encode())
    with pytest.raises(Ended):
        serve(questions, lines, [source])
    return [json.loads(line) for line in lines.getvalue().splitlines()]


READ: dict[str, object] = {
    "ask": "read",
    "source": "nvml",
    "cards": [{"at": 3, "uuid": None, "index": 0}],
}


def test_every_answer_ends_with_done() -> None:
    assert served(Scripted(), READ, READ) == 2 * [
        {"begun": True},
        {"at": 3, "reading": {"busy_percent": 1.0}},
        {"done": True},
    ]


def test_a_source_without_cards_says_what_becomes_of_those_that_were_there() -> None:
    gone = NoGpuError(NoGpuCause.DRIVER_MISMATCH, "said")
    assert served(Scripted(gone), READ) == [
        {"cause": "driver_mismatch", "detail": "said", "fault": "driver_mismatch", "done": True}
    ]


def test_an_error_nobody_thought_of_is_an_answer_too() -> None:
    answer = {
        "cause": "unknown",
        "detail": "ZeroDivisionError('oh')",
        "fault": "probe_failed",
        "done": True,
    }
    assert served(Scripted(ZeroDivisionError("oh")), READ, {"ask": "find"}) == [
        answer,
        {"trying": "nvml"},
        answer,
    ]
