"""As whom a store knows us, and what the users in `deploy/store/` may do and may not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.embedded import EmbeddedStore, find_server
from registry.errors import StoreRefused, StoreUnavailable
from registry.keys import Keys
from registry.script import load, names
from registry.store import Store
from tests.support.stores import Backend, debian_redis
from tests.support.users import BOTH, GATEWAY, SHIPPED, SWEEPER, as_user, shipped

ROOT = Path(__file__).parents[2]
KEYS = Keys("muster")
PARTITION = 7
OF_SWEEPERS = {
    "patrol", "snooze", "arm", "facts", "transition", "expire", "reindex", "present", "release",
}  # fmt: skip
OF_BOTH = {"facts", "present", "arm"}
CONNECTING = {
    "hello", "ping", "select", "command", "cluster|slots", "asking", "info", "acl|whoami", "eval",
    "evalsha", "ssubscribe", "sunsubscribe", "spublish",
}  # fmt: skip
FORBIDDEN = (
    ("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"), ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"), ("DEBUG", "SLEEP", "0"), ("SHUTDOWN",), ("MONITOR",),
    ("ACL", "LIST"), ("ACL", "SETUSER", "x"), ("SCRIPT", "FLUSH"), ("FUNCTION", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"), ("REPLICAOF", "NO", "ONE"), ("SAVE",),
    ("GET", "other:key"), ("SET", "muster", "x"), ("SET", "musterly:{x}:due", "x"),
    ("GET", "muster:plain"), ("EVAL", "return redis.call('GET', KEYS[1])", "1", "other:key"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"), ("SPUBLISH", "other", "x"),
    ("PUBLISH", "muster:{x}:bell", "x"),
)  # fmt: skip
OTHERS_BUSINESS = {
    # Who sweeps, and which time counts as observed, is for sweepers to say.
    GATEWAY: (
        ("SET", KEYS.lease(PARTITION), "me"),
        ("GET", KEYS.lease(PARTITION)),
        ("SET", KEYS.swept(PARTITION), "1 x"),
        ("SET", KEYS.mass_expiry(), "x"),
        ("HSET", KEYS.brakes(), "me", "x"),
        ("SPOP", KEYS.todo(PARTITION)),
        ("INCRBY", KEYS.unobserved(PARTITION), "1"),
        ("EVAL", "return redis.call('SET', KEYS[1], '')", "1", KEYS.swept(PARTITION)),
    ),
    # Answers once given, which gateways live, and the brake's release are not.
    SWEEPER: (
        ("GET", KEYS.request("r-1")),
        ("HSET", KEYS.gateway("gw-1"), "id", "gw-1"),
        ("SET", KEYS.epoch(), "x"),
        ("SET", KEYS.brake_released(), "1"),
        ("LPUSH", KEYS.history("node-A"), "1p"),
        ("ZRANDMEMBER", KEYS.roll(PARTITION)),
        ("XRANGE", KEYS.events(PARTITION), "-", "+"),
    ),
}


async def test_a_store_tells_its_user(store: Store) -> None:
    assert await store.user() == (BOTH if store.genuine else "default")


async def test_a_user_who_may_not_ask_is_nobody(valkey: Backend) -> None:
    (server,) = valkey.servers
    server.command("ACL", "SETUSER", "modest", "on", ">secret", "~*", "&*", "+@all", "-acl")
    store = await Store.connect(f"redis://modest:secret@127.0.0.1:{server.port}")
    try:
        assert await store.user() == ""
    finally:
        await store.close()
        server.command("ACL", "DELUSER", "modest")


@pytest.fixture(params=["valkey", "redis"])
def sealed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A server with the files as they are shipped, passwords made as the README says, no other
    user."""
    request.node.user_properties.append(("store", request.param))
    server = find_server() if request.param == "valkey" else debian_redis()
    passwords = _by_the_readme(tmp_path)
    file = tmp_path / "users.acl"
    text = file.read_text("utf-8")
    # Nobody is let in without a password, so the test goes in first and then shuts the door.
    file.write_text("".join(line for line in text.splitlines(True) if "default" not in line))
    store = EmbeddedStore.start(
        tmp_path / "store",
        extra=["--aclfile", str(file), "--enable-debug-command", "yes"],
        server=server,
    )
    file.write_text(text, "utf-8")
    store.command("ACL", "LOAD")
    yield f"127.0.0.1:{store.port}", passwords
    store.kill()


def _by_the_readme(directory: Path) -> dict[str, str]:
    """Runs the README's own commands beside copies of the files; the passwords they made."""
    for name in ("users.acl", "sentinel-users.acl"):
        (directory / name).write_text((SHIPPED / name).read_text("utf-8"), "utf-8")
    (block,) = re.findall(
        r"<!-- passwords -->\n```sh\n(.*?)```", (SHIPPED / "README.md").read_text("utf-8"), re.S
    )
    subprocess.run(["sh", "-eu", "-c", block], cwd=directory, check=True)
    lines = (directory / "passwords").read_text("utf-8").splitlines()
    assert (directory / "passwords").stat().st_mode & 0o077 == 0
    return dict(line.split("=", 1) for line in lines)


async def test_the_shipped_users_may_do_their_work_and_nothing_else(
    sealed: tuple[str, dict[str, str]],
) -> None:
    address, passwords = sealed
    for user, variable in ((GATEWAY, "GATEWAY"), (SWEEPER, "SWEEPER")):
        store = await Store.connect(f"redis://{user}:{passwords[variable]}@{address}")
        try:
            assert await store.user() == user
            assert await store.info()
            await store.call("present", [KEYS.gateways()], ["", 0, "", 0])
            for command in (*FORBIDDEN, *OTHERS_BUSINESS[user]):
                with pytest.raises(StoreRefused):
                    await store.commands([command])
        finally:
            await store.close()
    nobody = await Store.connect(f"redis://{address}")
    try:
        with pytest.raises(StoreUnavailable, match=r"MUSTER_REDIS_URL"):
            await nobody.ping()
    finally:
        await nobody.close()


async def test_a_wrong_password_is_refused_and_says_where_it_stands(valkey: Backend) -> None:
    assert valkey.url is not None
    store = await Store.connect(as_user(valkey.url, GATEWAY).replace("a-password", "another"))
    try:
        with pytest.raises(StoreUnavailable, match=r"MUSTER_REDIS_URL"):
            await store.ping()
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("user", "scripts"),
    [
        (GATEWAY, set(names()) - OF_SWEEPERS | OF_BOTH),
        (SWEEPER, OF_SWEEPERS),
    ],
)
def test_every_command_a_user_has_is_used_and_every_one_a_script_runs_is_had(
    user: str, scripts: set[str]
) -> None:
    has = {rule[1:] for rule in shipped()[user] if rule.startswith("+")}
    runs = {
        command.lower()
        for name in scripts
        for command in re.findall(r"redis\.p?call\('([A-Z]+)'", load(name).text)
    }
    assert runs - has == set()
    code = "".join(path.read_text("utf-8") for path in ROOT.glob("registry/*.py"))
    plain = {command.lower() for command in re.findall(r'\("([A-Z]{3,})"', code)}
    assert has - runs - plain - CONNECTING - {"xread"} == set()
