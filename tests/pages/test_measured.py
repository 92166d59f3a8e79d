"""The file of what was measured keeps each block once, and the others as they were."""

from __future__ import annotations

from pathlib import Path

from tests.pages.measured import keep


def test_a_block_takes_the_place_of_the_one_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "measured.txt"
    keep("one", {"first paint": "3 ms"}, path)
    keep("two", {"long tasks": "none"}, path)
    keep("one", {"first paint": "2 ms", "all": "9 ms"}, path)
    blocks = path.read_text("utf-8").split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["one", "two"]
    assert blocks[0].splitlines()[2:] == ["  first paint  2 ms", "  all          9 ms"]
    assert "long tasks  none" in blocks[1]
