"""What is made of files is made anew when they change, and stays when they break."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.reloading import BYTES_MOST, Reloading


class Clock:
    """Goes on when told to, seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def number(contents: Sequence[bytes]) -> int:
    return int(contents[0])


def test_a_changed_file_is_seen_after_a_second_and_not_before(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    kept = Reloading("number", [str(file)], number, clock)
    file.write_text("2")
    clock.now += 0.9
    assert kept.current() == 1
    clock.now += 0.1
    assert kept.current() == 2


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    before = file.stat()
    kept = Reloading("number", [str(file)], number, clock)
    file.write_text("2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.now += 1
    assert kept.current() == 2


def test_swapped_links_of_a_mounted_secret_are_followed(tmp_path: Path, clock: Clock) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "number").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "number").symlink_to("..data/number")
    kept = Reloading("number", [str(tmp_path / "number")], number, clock)
    assert kept.current() == 1
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    clock.now += 1
    assert kept.current() == 2


def test_nothing_is_made_of_what_did_not_change(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    made: list[bytes] = []
    kept = Reloading("number", [str(file)], lambda contents: made.extend(contents), clock)
    for _ in range(3):
        clock.now += 1
        kept.current()
    assert made == [b"1"]


@pytest.mark.parametrize("broken", ["x", None, "1" * (BYTES_MOST + 1)])
def test_a_broken_file_leaves_what_was_and_is_logged_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    kept = Reloading("number", [str(file)], number, clock)
    file.unlink() if broken is None else file.write_text(broken)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            clock.now += 1
            assert kept.current() == 1
    assert [record.getMessage() for record in caplog.records] == ["number_not_reloaded"]
    file.write_text("3")
    clock.now += 1
    assert kept.current() == 3


def test_breaking_again_is_logged_again(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "number"
    file.write_text("1")
    kept = Reloading("number", [str(file)], number, clock)
    with caplog.at_level(logging.ERROR):
        for content in ("x", "1", "x"):
            file.write_text(content)
            clock.now += 1
            kept.current()
    assert len(caplog.records) == 2


def test_what_can_not_be_made_at_first_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Reloading("number", [str(tmp_path / "none")], number)
    (tmp_path / "number").write_text("x")
    with pytest.raises(ValueError, match="invalid literal"):
        Reloading("number", [str(tmp_path / "number")], number)
