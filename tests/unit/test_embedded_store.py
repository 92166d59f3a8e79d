"""The embedded store is a real server: it keeps what it was told and dies with its parent."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from registry.embedded import (
    COMPACT_BYTES,
    EmbeddedCluster,
    EmbeddedStore,
    EmbeddedStoreError,
    fleet_secret,
    secret_path,
)


def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_never_evicts_keeps_nodes_compact_and_has_a_log_of_changes(tmp_path: Path) -> None:
    store = EmbeddedStore.start(tmp_path)
    try:
        assert store.command("CONFIG", "GET", "maxmemory-policy")[1] == "noeviction"
        assert store.command("CONFIG", "GET", "appendonly")[1] == "yes"
        found = store.command("CONFIG", "GET", "hash-max-listpack-value")[1]
        assert found == str(COMPACT_BYTES)
        assert store.command("CONFIG", "GET", "bind")[1] == "127.0.0.1"
        assert store.url == f"redis://127.0.0.1:{store.port}/0"
    finally:
        store.stop()
    assert not store.running


@pytest.mark.parametrize(
    "shipped",
    [
        "deploy/compose.yaml", "helm/muster/templates/store.yaml", "docs/systemd.md",
        "docs/operations.md",
    ],
)  # fmt: skip
def test_other_stores_that_come_with_muster_keep_nodes_as_compact(shipped: str) -> None:
    text = (Path(__file__).resolve().parents[2] / shipped).read_text(encoding="utf-8")
    found = re.findall(r'hash-max-listpack-value[\s"-]+(\d+)', text)
    assert set(found) == {str(COMPACT_BYTES)}


def test_what_it_was_told_is_there_after_it_was_killed(tmp_path: Path) -> None:
    store = EmbeddedStore.start(tmp_path)
    store.command("SET", "kept", "yes")
    store.kill()
    store = EmbeddedStore.start(tmp_path)
    try:
        assert store.command("GET", "kept") == "yes"
    finally:
        store.kill()


def test_a_directory_has_one_store_only(tmp_path: Path) -> None:
    store = EmbeddedStore.start(tmp_path)
    try:
        with pytest.raises(EmbeddedStoreError, match="in use"):
            EmbeddedStore.start(tmp_path)
    finally:
        store.kill()


def test_a_server_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStoreError, match="no-such-option"):
        EmbeddedStore.start(tmp_path, extra=["--no-such-option", "1"])


def test_a_paused_store_ends_when_told_to(tmp_path: Path) -> None:
    store = EmbeddedStore.start(tmp_path)
    store.pause()
    store.stop()
    assert not store.running


def test_it_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    made: list[EmbeddedStore] = []
    thread = threading.Thread(target=lambda: made.append(EmbeddedStore.start(tmp_path)))
    thread.start()
    thread.join()
    (store,) = made
    try:
        assert not eventually(lambda: not store.running, timeout_s=0.3)
        assert store.command("PING") == "PONG"
    finally:
        store.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
@pytest.mark.parametrize("frozen", [False, True])
def test_a_killed_parent_leaves_no_orphan(tmp_path: Path, frozen: bool) -> None:
    parent = run_in_foreground(tmp_path)
    pid = ready_line(parent)["pid"]
    if frozen:
        psutil.Process(pid).suspend()
    parent.kill()
    parent.communicate()
    assert eventually(lambda: is_gone(pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_ends_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    parent = run_in_foreground(tmp_path)
    where = ready_line(parent)
    parent.send_signal(number)
    parent.communicate(timeout=15)
    assert parent.returncode == 0
    assert is_gone(where["pid"])
    assert Path(where["secret_file"]) == secret_path(tmp_path)


def test_a_cluster_is_whole(tmp_path: Path) -> None:
    cluster = EmbeddedCluster.start(tmp_path)
    try:
        assert len(cluster.stores) == 3
        assert cluster.url == f"redis+cluster://127.0.0.1:{cluster.stores[0].port}"
        assert "cluster_slots_assigned:16384" in cluster.stores[2].command("CLUSTER", "INFO")
    finally:
        cluster.kill()


def test_the_fleet_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    secret = fleet_secret(tmp_path / "new")
    assert len(secret) >= 32
    assert fleet_secret(tmp_path / "new") == secret
    assert secret_path(tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_an_empty_fleet_secret_is_not_used(tmp_path: Path) -> None:
    secret_path(tmp_path).touch()
    with pytest.raises(EmbeddedStoreError, match="is empty"):
        fleet_secret(tmp_path)


def run_in_foreground(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "registry", "--json", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ready_line(parent: subprocess.Popen[str]) -> dict[str, Any]:
    assert parent.stdout
    made: dict[str, Any] = json.loads(parent.stdout.readline())
    return made
