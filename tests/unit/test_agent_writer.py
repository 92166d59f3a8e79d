"""What an agent writes never holds it up, whoever reads, slowly or not at all."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TextIO

import pytest

from muster.agent.writer import Writer

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 10.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe: the end to read from, and a stream into it."""
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8", errors="backslashreplace") as stream:  # noqa: PTH123
        yield reading, stream
    with suppress(OSError):
        os.close(reading)


def fill(stream: TextIO) -> int:
    """Leaves no room in a pipe; how many bytes that took."""
    descriptor, taken = stream.fileno(), 0
    os.set_blocking(descriptor, False)
    with suppress(BlockingIOError):
        while True:
            taken += os.write(descriptor, b"x")
    os.set_blocking(descriptor, True)
    return taken


def drained(reading: int) -> bytes:
    """Everything up to the end of the pipe."""
    with open(reading, "rb") as stream:
        return stream.read()


def test_texts_arrive_in_order_and_the_last_one_too(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    writer = Writer(stream)
    for number in range(500):
        writer.put(f"{number} 节点\n")
    writer.close(DEADLINE_S)
    stream.close()
    lines = drained(reading).decode().splitlines()
    assert lines == [f"{number} 节点" for number in range(500)]


def test_a_stream_that_is_no_file_is_written_all_the_same() -> None:
    stream = io.StringIO()
    writer = Writer(stream)
    writer.put("a")
    writer.put("b")
    writer.close(DEADLINE_S)
    assert stream.getvalue() == "ab"


def test_a_reader_that_does_not_read_delays_nothing_and_learns_what_is_missing(
    pipe: tuple[int, TextIO],
) -> None:
    reading, stream = pipe
    filled = fill(stream)
    writer = Writer(stream, lambda count: f"[{count} lost]", waiting_most=10)
    before = time.monotonic()
    for number in range(10_000):
        writer.put(f"{number};")
    assert time.monotonic() - before < DEADLINE_S
    writer.close(0)  # the reader has had its time; what is written now still goes in order
    with closing(open(reading, "rb", buffering=0)) as end:  # noqa: PTH123
        text = b""
        while b"9999;" not in text:
            text += end.read(65_536) or b""
    said = text[filled:].decode()
    kept = [int(number) for number in re.findall(r"(\d+);", said)]
    lost = sum(int(count) for count in re.findall(r"\[(\d+) lost\]", said))
    assert kept == sorted(kept)
    assert kept[-10:] == list(range(9_990, 10_000))
    assert len(kept) + lost == 10_000


def test_a_reader_that_has_gone_ends_nothing(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    os.close(reading)
    writer = Writer(stream)
    for _ in range(100):
        writer.put("text\n")
    writer.close(DEADLINE_S)
    writer.put("after the end")


PROGRAM = """
import sys
from muster.agent.writer import Writer
writer = Writer(sys.stdout)
writer.put("x" * 10_000_000)
writer.close(0.1)
sys.stderr.write("ended\\n")
"""


def test_a_program_ends_well_though_nobody_reads_what_it_writes() -> None:
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(writing)
    try:
        _, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        os.close(reading)
    assert (process.returncode, errors) == (0, "ended\n")
