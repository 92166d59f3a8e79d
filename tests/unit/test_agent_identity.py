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
    place_of,
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
    assert file.saved() == ()


def test_what_is_cleared_is_kept_as_a_copy_with_its_mode(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path)
    file.save(MINE)
    file.clear()
    (copy,) = tmp_path.iterdir()
    assert copy.name == f"{FILE_NAME}.node-MINE0001"
    assert json.loads(copy.read_text())["node_token"] == "secret"
    assert mode(copy) == 0o600


def test_a_copys_name_stays_in_the_folder_whatever_a_server_called_the_node(tmp_path: Path) -> None:
    file = IdentityFile(tmp_path)
    file.save(MINE)
    assert file.set_aside("../../etc/" + "x" * 500).parent == tmp_path
    assert len(list(tmp_path.iterdir())) == 1


def in_fleet(directory: Path, *servers: str, simulated: bool = False) -> IdentityFile:
    file = IdentityFile(directory)
    file.choose(servers, simulated=simulated)
    return file


def of_fleet(node_id: str, *servers: str) -> Identity:
    places = tuple(place_of(server) for server in servers)
    return Identity(node_id=node_id, fingerprint=HERE, servers=places)


def test_each_fleet_has_an_identity_of_its_own(tmp_path: Path) -> None:
    for at in range(3):
        server = f"ws://127.0.0.1:{8000 + at}/ws/node"
        in_fleet(tmp_path, server).save(of_fleet(f"node-{at}", server))
    for at in range(3):
        found = in_fleet(tmp_path, f"ws://127.0.0.1:{8000 + at}/ws/node").load(HERE)
        assert found is not None
        assert found.node_id == f"node-{at}"
    assert in_fleet(tmp_path, "ws://127.0.0.1:9000/ws/node").load(HERE) is None


def test_servers_given_together_are_one_fleet_and_so_is_one_that_begins_to_encrypt(
    tmp_path: Path,
) -> None:
    one, other = "ws://one.example/ws/node", "ws://other.example/ws/node"
    in_fleet(tmp_path, one, other).save(of_fleet("node-1", one, other))
    for servers in ((other,), (one,), ("wss://OTHER.example/ws/node?token=x", "ws://third/ws")):
        found = in_fleet(tmp_path, *servers).load(HERE)
        assert found is not None
        assert found.node_id == "node-1"


def test_a_file_from_before_fleets_were_told_apart_is_taken_over_once(tmp_path: Path) -> None:
    IdentityFile(tmp_path).save(MINE)
    mine = in_fleet(tmp_path, "ws://one.example/ws/node")
    assert mine.load(HERE) == MINE
    mine.save(of_fleet("node-MINE0001", "ws://one.example/ws/node"))
    assert in_fleet(tmp_path, "ws://other.example/ws/node").load(HERE) is None


def test_cards_that_are_pretended_have_an_identity_of_their_own(tmp_path: Path) -> None:
    server = "ws://one.example/ws/node"
    in_fleet(tmp_path, server).save(of_fleet("node-REAL", server))
    trial = in_fleet(tmp_path, server, simulated=True)
    assert trial.load(HERE) is None
    trial.save(of_fleet("node-TRIAL", server))
    found = in_fleet(tmp_path, server).load(HERE)
    assert found is not None
    assert found.node_id == "node-REAL"


def test_clearing_forgets_every_fleet(tmp_path: Path) -> None:
    for server in ("ws://one.example/a", "ws://other.example/a"):
        in_fleet(tmp_path, server).save(of_fleet("node-" + place_of(server), server))
    file = IdentityFile(tmp_path)
    assert len(file.saved()) == 2
    file.clear()
    assert file.saved() == ()
    assert len(list(tmp_path.iterdir())) == 2


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
