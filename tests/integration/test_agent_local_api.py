"""The agent's local API over real sockets: who is let in, what is told, what can be told."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from muster.agent import local_files, texts
from muster.agent.local_api import READERS_MOST, LocalApi
from muster.agent.status import AgentStatus
from tests.support import watched

DEADLINE_S = 60.0


class Told:
    """Controls that only remember."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.has_room = True

    def set_running_jobs(self, count: int) -> None:
        self.calls.append(("running_jobs", count))

    def set_health(self, ok: bool, reason: str | None = None) -> None:
        self.calls.append(("health", ok, reason))

    async def job_result(
        self,
        job_id: str,
        success: bool,
        error: str | Mapping[str, Any] | None = None,
        running_jobs: int | None = None,
    ) -> bool:
        self.calls.append(("job_result", job_id, success, error, running_jobs))
        return self.has_room

    async def drain(self, reason: str | None = None, timeout_s: float | None = None) -> None:
        self.calls.append(("drain", reason, timeout_s))


class Here:
    """An agent with a local API, and a client of it."""

    def __init__(self, api: LocalApi, status: AgentStatus, told: Told) -> None:
        self.api = api
        self.status = status
        self.told = told
        self.port = int(api.url.rpartition(":")[2])
        self.client = httpx.AsyncClient(base_url=api.url, timeout=DEADLINE_S, trust_env=False)

    @property
    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api.token_path.read_text().strip()}"}


@asynccontextmanager
async def running(state_dir: Path, port: int = 0) -> AsyncIterator[Here]:
    status, told = watched.working(), Told()
    async with LocalApi(port, state_dir, status, told, "zh") as api:
        here = Here(api, status, told)
        async with here.client:
            yield here


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    async with running(tmp_path / "state") as made:
        yield made


WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "/running_jobs", {"running_jobs": 2}),
    ("PUT", "/health", {"ok": False, "reason": "disk full"}),
    ("POST", "/job_result", {"job_id": "j1", "success": True}),
    ("POST", "/drain", {}),
]
READS = ["/", "/status", "/events"]


async def test_the_status_is_in_the_documents_shape_and_more(here: Here) -> None:
    answer = await here.client.get("/status")
    assert answer.status_code == 200
    state = answer.json()
    assert list(state)[:5] == [
        "online",
        "nodeId",
        "connected",
        "registrationStatus",
        "registrationError",
    ]
    assert state["online"] is True
    assert state["nodeId"] == watched.NODE_ID
    assert state["registrationStatus"] == "success"
    assert state["registrationError"] is None
    assert [card["name"] for card in state["gpus"]] == [
        "NVIDIA GeForce RTX 4090",
        "NVIDIA GeForce RTX 3090",
    ]


@pytest.mark.parametrize("locale", ["zh", "en"])
async def test_the_reader_picks_the_language(here: Here, locale: Any) -> None:
    state = (await here.client.get("/status", params={"locale": locale})).json()
    assert state["message"] == texts.status("ready", "healthy", locale).what
    assert state["gpus"][1]["message"] == texts.gpu_reason("gpu_lost", locale)


async def test_it_listens_on_this_machine_only(here: Here) -> None:
    others = {
        found[4][0]
        for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
        if not str(found[4][0]).startswith("127.")
    }
    for address in {*others, "127.0.0.2"}:
        with pytest.raises(OSError):
            socket.create_connection((str(address), here.port), timeout=2).close()


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "host",
    ["attacker.example", "attacker.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""],
)
async def test_a_foreign_host_is_refused(here: Here, path: str, host: str) -> None:
    headers = {"Host": host.format(port=here.port)}
    answer = await here.client.get(path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["code"] == "FOREIGN_HOST"


async def test_a_request_without_a_host_is_refused(here: Here) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    writer.write(b"GET /status HTTP/1.0\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    assert b" 403 " in answer.splitlines()[0]
    assert watched.NODE_ID.encode() not in answer


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize(
    "origin",
    ["https://attacker.example", "null", "http://127.0.0.1:1", "http://localhost", "file://"],
)
async def test_a_foreign_origin_is_refused(here: Here, path: str, origin: str) -> None:
    answer = await here.client.get(path, headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["code"] == "FOREIGN_ORIGIN"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_foreign_origin_is_refused_even_with_the_token(
    here: Here, method: str, path: str, body: dict[str, Any]
) -> None:
    headers = here.token | {"Origin": "https://attacker.example"}
    answer = await here.client.request(method, path, json=body, headers=headers)
    assert answer.status_code == 403
    assert here.told.calls == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_page_cannot_load_anything_but_may_link_here(here: Here, site: str) -> None:
    loading = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert (await here.client.get("/status", headers=loading)).status_code == 403
    opening = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert (await here.client.get("/", headers=opening)).status_code == 200
    posting = here.token | opening
    assert (await here.client.post("/drain", json={}, headers=posting)).status_code == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
async def test_its_own_page_is_served_under_either_name(here: Here, name: str) -> None:
    headers = {
        "Host": f"{name}:{here.port}",
        "Origin": f"http://{name.lower()}:{here.port}",
        "Sec-Fetch-Site": "same-origin",
    }
    assert (await here.client.get("/status", headers=headers)).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "TOKEN_MISSING"),
        ("", "TOKEN_MISSING"),
        ("Bearer", "TOKEN_MISSING"),
        ("Basic {token}", "TOKEN_MISSING"),
        ("Bearer wrong", "TOKEN_WRONG"),
        ("Bearer {token}x", "TOKEN_WRONG"),
        ("Bearer \xff", "TOKEN_WRONG"),
    ],
)
async def test_a_write_without_the_right_token_is_refused(
    here: Here, method: str, path: str, body: dict[str, Any], authorization: str | None, code: str
) -> None:
    token = here.api.token_path.read_text().strip()
    headers: dict[bytes, bytes] = {}
    if authorization is not None:
        headers[b"Authorization"] = authorization.format(token=token).encode("latin-1")
    answer = await here.client.request(method, path, json=body, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == code
    assert str(here.api.token_path) in answer.json()["title"]
    assert token not in answer.text
    assert here.told.calls == []


async def test_what_a_program_tells_arrives(here: Here) -> None:
    for method, path, body in [
        *WRITES,
        (
            "POST",
            "/job_result",
            {"job_id": "j2", "success": False, "error": {"code": "OOM"}, "running_jobs": 0},
        ),
        ("POST", "/drain", {"reason": "new card", "timeout_s": 60}),
        ("PUT", "/health", {"ok": True}),
    ]:
        answer = await here.client.request(method, path, json=body, headers=here.token)
        assert answer.status_code in (200, 202), answer.text
    assert here.told.calls == [
        ("running_jobs", 2),
        ("health", False, "disk full"),
        ("job_result", "j1", True, None, None),
        ("drain", None, None),
        ("job_result", "j2", False, {"code": "OOM"}, 0),
        ("drain", "new card", 60.0),
        ("health", True, None),
    ]


async def test_a_result_there_is_no_room_for_is_not_called_accepted(here: Here) -> None:
    here.told.has_room = False
    body = {"job_id": "j1", "success": True}
    answer = await here.client.post("/job_result", json=body, headers=here.token)
    assert answer.status_code == 503
    assert answer.json()["code"] == "TOO_MANY_RESULTS"


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "/running_jobs", b"{}", "running_jobs"),
        ("PUT", "/running_jobs", b'{"running_jobs": -1}', "running_jobs"),
        ("PUT", "/running_jobs", b'{"running_jobs": true}', "running_jobs"),
        ("PUT", "/running_jobs", b'{"running_jobs": 1.5}', "running_jobs"),
        ("PUT", "/running_jobs", b'{"running_jobs": 99999999999}', "running_jobs"),
        ("PUT", "/running_jobs", b"[1]", "body"),
        ("PUT", "/running_jobs", b"not JSON", "body"),
        ("PUT", "/running_jobs", b"\xff\xfe", "body"),
        ("PUT", "/running_jobs", b"[" * 60_000, "body"),
        ("PUT", "/health", b'{"ok": "yes"}', "ok"),
        ("PUT", "/health", b'{"ok": false, "reason": 1}', "reason"),
        ("POST", "/job_result", b'{"success": true}', "job_id"),
        ("POST", "/job_result", b'{"job_id": "", "success": true}', "job_id"),
        ("POST", "/job_result", b'{"job_id": "j"}', "success"),
        ("POST", "/job_result", b'{"job_id": "j", "success": true, "error": 1}', "error"),
        ("POST", "/drain", b'{"timeout_s": -1}', "timeout_s"),
        ("POST", "/drain", b'{"timeout_s": NaN}', "timeout_s"),
        ("POST", "/drain", b'{"timeout_s": true}', "timeout_s"),
    ],
)
async def test_a_body_that_does_not_fit_names_the_field(
    here: Here, method: str, path: str, body: bytes, field: str
) -> None:
    answer = await here.client.request(method, path, content=body, headers=here.token)
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_PARAMETER"
    assert answer.json()["title"].startswith(f"{field}：")
    assert here.told.calls == []


async def test_a_body_without_end_is_cut_off(here: Here) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 65_536

    answer = await here.client.put("/health", content=endless(), headers=here.token)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND"),
        ("GET", "/drain", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/status", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/status?locale=fr", 400, "INVALID_PARAMETER"),
    ],
)
async def test_a_wrong_request_is_told_what_there_is(
    here: Here, method: str, path: str, status: int, code: str
) -> None:
    answer = await here.client.request(method, path, headers=here.token)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


class Events:
    """A reader of `/events`."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """The next state; fails if none comes."""
        async with asyncio.timeout(DEADLINE_S):
            async for line in self._lines:
                if line.startswith("data: "):
                    state: dict[str, Any] = json.loads(line.removeprefix("data: "))
                    return state
        raise EOFError("the stream ended")


async def test_a_change_reaches_every_reader_in_its_language(here: Here) -> None:
    async with (
        here.client.stream("GET", "/events", params={"locale": "zh"}) as chinese,
        here.client.stream("GET", "/events", params={"locale": "en"}) as english,
    ):
        assert chinese.headers["content-type"].startswith("text/event-stream")
        readers = Events(chinese), Events(english)
        assert [(await reader.next())["status"] for reader in readers] == ["ready", "ready"]
        here.status.change(status="degraded", reason="model_missing")
        told = [await reader.next() for reader in readers]
        assert [state["status"] for state in told] == ["degraded", "degraded"]
        assert told[0]["message"] == texts.status("degraded", "model_missing", "zh").what
        assert told[1]["whatToDo"] == texts.status("degraded", "model_missing", "en").do


async def test_a_reader_that_is_slow_gets_the_latest_state(here: Here) -> None:
    async with here.client.stream("GET", "/events") as stream:
        events = Events(stream)
        await events.next()
        for count in range(2_000):
            here.status.change(running_jobs=count)
        state = await events.next()
        while state["runningJobs"] != 1_999:
            state = await events.next()


async def test_readers_are_counted_and_come_free_again(here: Here) -> None:
    url = f"{here.api.url}/events"
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=DEADLINE_S) as client:
        streams = [client.stream("GET", url) for _ in range(READERS_MOST)]
        readers = [Events(await stream.__aenter__()) for stream in streams]
        for reader in readers:
            await reader.next()
        refused = await client.get(url)
        assert refused.status_code == 503
        assert refused.json()["code"] == "TOO_MANY_READERS"
        for stream in streams:
            await stream.__aexit__(None, None, None)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                here.status.change(running_jobs=here.status.running_jobs + 1)
                async with client.stream("GET", url) as again:
                    if again.status_code == 200:
                        break


async def test_stopping_ends_the_streams_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as here, here.client.stream("GET", "/events") as stream:
        events = Events(stream)
        await events.next()
        async with asyncio.timeout(DEADLINE_S):
            await here.api.stop()
        with pytest.raises((EOFError, httpx.RemoteProtocolError)):
            await events.next()


async def test_the_page_runs_nothing_but_its_own_and_loads_nothing(here: Here) -> None:
    answer = await here.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "http://" not in answer.text and "https://" not in answer.text
    assert "innerHTML" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert watched.NODE_ID not in answer.text


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
async def test_the_token_is_this_users_alone_and_lasts(tmp_path: Path) -> None:
    state_dir = tmp_path / "deep" / "state"
    async with running(state_dir) as here:
        first = here.token
        assert stat.S_IMODE(here.api.token_path.stat().st_mode) == 0o600
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    async with running(state_dir) as here:
        assert here.token == first
    here.api.token_path.chmod(0o644)
    async with running(state_dir) as here:
        assert here.token != first
        assert stat.S_IMODE(here.api.token_path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
async def test_a_token_that_is_a_link_or_too_short_is_not_believed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x" * 64)
    elsewhere.chmod(0o600)
    (tmp_path / local_files.TOKEN_NAME).symlink_to(elsewhere)
    token = local_files.keep_token(tmp_path)
    assert token != "x" * 64
    assert elsewhere.read_text() == "x" * 64
    (tmp_path / local_files.TOKEN_NAME).write_text("short")
    assert len(local_files.keep_token(tmp_path)) >= local_files.TOKEN_LEAST


async def test_where_it_listens_is_told_while_it_does(tmp_path: Path) -> None:
    async with running(tmp_path) as here:
        assert local_files.read_url(tmp_path) == here.api.url
    assert local_files.read_url(tmp_path) is None


async def test_a_port_that_is_taken_is_an_error_and_leaves_no_trace(tmp_path: Path) -> None:
    async with running(tmp_path / "first") as here:
        second = LocalApi(here.port, tmp_path / "second", here.status, here.told, "zh")
        with pytest.raises(OSError, match="in use"):
            await second.start()
    assert not (tmp_path / "second").exists()
