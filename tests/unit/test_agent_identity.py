"""What a node remembers of itself: whole or not at all, for its owner's eyes, on its machine."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muster.agent.identity import (
    FILE_NAME,
    ForeignIdentity,
    Identity,
    IdentityFile,
    StateInUse,
    UnreadableIdentity,
)

HERE = "aaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb.cccccccccccccccc"
ELSEWHERE = "dddddddddddddddd.eeeeeeeeeeeeeeee.ffffffffffffffff"
MINE = Identity(node_id="node-MINE0001", node_token="secret", fingerprint=HERE)
KILLS = 60

WRITER = """
import sys
from pathlib import Path
from muster.agent.identity import Identity, IdentityFile

file = IdentityFile(Path(sys.argv[1]))
one = Identity(node_id="node-ONE", node_token="1" * 4000, fingerprint="")
other = Identity(node_id="node-OTHER", node_token="2" * 9000, fingerprint="")
print("writing", flush=True)
while True:
    file.save(one)
    file.save(other)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    IdentityFile(tmp_path).save(MINE)
    assert IdentityFile(tmp_path).load(HERE) == MINE


def test_before_anything_is_saved_there_is_nothing(tmp_path: Path) -> None:
    assert IdentityFile(tmp_path / "missing").load(HERE) is None


def test_what_is_cleared_is_gone_and_may_be_cleared_again(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path)
    file.save(MINE)
    file.clear()
    file.clear()
    assert file.load(HERE) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows guards a profile by its own means")
def test_only_its_owner_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        IdentityFile(tmp_path / "state").save(MINE)
    finally:
        os.umask(before)
    assert mode(tmp_path / "state") == 0o700
    assert mode(tmp_path / "state" / FILE_NAME) == 0o600


def test_what_a_killed_writer_left_behind_is_not_trusted(tmp_path: Path) -> None:
    left = tmp_path / (FILE_NAME + ".new")
    left.write_text("half of an iden")
    left.chmod(0o666)
    file = IdentityFile(tmp_path)
    assert file.load(HERE) is None
    file.save(MINE)
    assert file.load(HERE) == MINE
    assert mode(file.path) == 0o600
    assert not left.exists()


def test_it_is_durable_before_it_replaces_the_old_one_and_so_is_the_replacing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    IdentityFile(tmp_path).save(MINE)
    assert done == ["file", "rename", "directory"]


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = IdentityFile(tmp_path)
    file.save(MINE)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.save(Identity(node_id="node-NEW", fingerprint=HERE))
    assert file.load(HERE) == MINE


def test_a_writer_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    """`kill -9` at random points, again and again: always the old or the new identity, whole."""
    file = IdentityFile(tmp_path)
    draw = random.Random(20250108)
    found: set[str] = set()
    half_done = 0
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        time.sleep(draw.uniform(0, 0.02))  # the moment is what is tried here
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        half_done += (tmp_path / (FILE_NAME + ".new")).exists()
        known = file.load("")
        if known is None:  # killed before its first save was done
            assert not found
            continue
        assert known.node_token in ("1" * 4000, "2" * 9000)
        assert known.node_id == ("node-ONE" if known.node_token[0] == "1" else "node-OTHER")
        found.add(known.node_id)
    assert found == {"node-ONE", "node-OTHER"}
    assert half_done, "no writer was killed in the middle: this test shows nothing"
    file.save(MINE)
    assert file.load(HERE) == MINE


def test_an_identity_of_another_machine_is_not_believed(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path)
    file.save(MINE)
    with pytest.raises(ForeignIdentity) as foreign:
        file.load(ELSEWHERE)
    assert foreign.value.node_id == "node-MINE0001"
    assert str(file.path) in str(foreign.value)


@pytest.mark.parametrize("present", ["", HERE])
@pytest.mark.parametrize("saved", ["", HERE])
def test_a_machine_that_cannot_be_told_from_another_is_given_the_benefit(
    tmp_path: Path, saved: str, present: str
) -> None:
    identity = Identity(node_id="node-MINE", fingerprint=saved)
    IdentityFile(tmp_path).save(identity)
    assert IdentityFile(tmp_path).load(present) == identity


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 80, b"{", b"[]", b"{}", b'{"node_id": 7}', b"\xff\xfe", b'"node-A"']
)
def test_what_is_no_identity_is_called_unreadable(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(UnreadableIdentity) as unreadable:
        IdentityFile(tmp_path).load(HERE)
    assert FILE_NAME in str(unreadable.value)


def test_a_person_can_read_the_file(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path)
    file.save(MINE)
    assert json.loads(file.path.read_text())["node_id"] == "node-MINE0001"


def test_two_agents_cannot_share_a_folder(tmp_path: Path) -> None:
    one, other = IdentityFile(tmp_path), IdentityFile(tmp_path)
    one.lock()
    with pytest.raises(StateInUse):
        other.lock()
    one.unlock()
    other.lock()
    other.unlock()


def test_a_killed_agent_leaves_the_folder_free(tmp_path: Path) -> None:
    locking = (
        "import sys, time; from pathlib import Path; "
        "from muster.agent.identity import IdentityFile; "
        "file = IdentityFile(Path(sys.argv[1])); file.lock(); "
        "print('locked', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", locking, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    with pytest.raises(StateInUse):
        IdentityFile(tmp_path).lock()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    file = IdentityFile(tmp_path)
    file.lock()
    file.unlock()
