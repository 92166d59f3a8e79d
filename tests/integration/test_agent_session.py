"""`NodeSession` against a server whose every word is scripted: one life after another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from muster.agent.config import AgentConfig
from muster.agent.hardware import Gpu, Hardware, NoGpuCause, NoGpuError
from muster.agent.identity import Identity, IdentityFile, StateInUse, place_of
from muster.agent.inventory import Inventory
from muster.agent.models import ModelScan
from muster.agent.session import ExitReason, NodeSession
from muster.agent.status import Closed, NoGpu, Refused, Registration, Unreachable
from muster.agent.trouble import Note, Trouble
from muster.wire.messages import Model
from tests.support.fleet import until
from tests.support.script import ScriptedServer

HERE = "this-machine"
HARDWARE = Hardware(
    cpu_cores=8, memory_gb=32.0, gpus=(Gpu(name="RTX 3070", memory_gb=8.0),), platform="linux"
)
MODEL = Model(model_id="m", kind="asr", version="1", src_lang="zh")


class Agent:
    """A session that runs, and what it told."""

    def __init__(self, session: NodeSession, identity: IdentityFile) -> None:
        self.session = session
        self.identity = identity
        self.events: list[tuple[str, dict[str, Any]]] = []
        session.status.listen(lambda action, values: self.events.append((action, dict(values))))
        self.task: asyncio.Task[ExitReason] = asyncio.create_task(session.run())

    def told(self, action: str) -> list[dict[str, Any]]:
        return [values for name, values in self.events if name == action]

    async def ended(self, timeout_s: float = 10.0) -> ExitReason:
        return await asyncio.wait_for(asyncio.shield(self.task), timeout_s)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)  # each test asks for its own end


Make = Callable[..., Agent]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """`make(url, …)` starts an agent; waits are a hundredth of the real ones."""
    made: list[Agent] = []

    def start(
        *urls: str,
        hardware: Hardware = HARDWARE,
        probe: Any = None,
        session: dict[str, Any] | None = None,
        **config: Any,
    ) -> Agent:
        settings: dict[str, Any] = {
            "servers": urls,
            "state_dir": tmp_path / "state",
            "backoff_first_s": 0.01,
            "backoff_most_s": 0.3,
            "reprobe_interval_s": 0.02,
            "connect_timeout_s": 5.0,
            "drain_timeout_s": 5.0,
        }
        inventory = Inventory(hardware, probe=probe, version="1.0.0")
        identity = IdentityFile(tmp_path / "state")
        agent = Agent(
            NodeSession(
                AgentConfig(**(settings | config)),
                inventory,
                identity=identity,
                fingerprint=HERE,
                **(session or {}),
            ),
            identity,
        )
        made.append(agent)
        return agent

    yield start
    for agent in made:
        await agent.stop()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as made:
        yield made


async def eventually(true: Callable[[], bool], what: str) -> None:
    async def holds() -> bool:
        return true()

    await until(holds, what)


# Registering


async def test_it_registers_beats_at_once_and_as_the_acks_say(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    said = await peer.accept(heartbeat_interval_ms=60_000)
    assert (said["node_id"], said["heartbeat_ack"], said["attempt"]) == (None, True, 1)
    assert len(said["boot_id"]) == 32
    begun = time.monotonic()
    for _ in range(5):
        await peer.hear_type("node_heartbeat")
        await peer.say("node_heartbeat_ack", node_id="node-SCRIPT", next_ms=100, store="ok")
    assert 0.35 < time.monotonic() - begun < 5
    assert agent.session.status.online
    assert agent.session.status.round_trip_ms is not None


async def test_what_the_server_gave_is_remembered_and_shown_next_time(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await eventually(lambda: agent.session.status.online, "registered")
    assert agent.identity.load(HERE) == Identity(
        node_id="node-SCRIPT",
        node_token="token-1",
        fingerprint=HERE,
        servers=(place_of(server.url + "/ws/node"),),
    )
    await agent.stop()
    make(server.url)
    said = await (await server.peer()).accept()
    assert (said["node_id"], said["node_token"]) == ("node-SCRIPT", "token-1")


async def test_the_servers_id_wins_and_a_token_of_another_id_is_not_kept(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    IdentityFile(tmp_path / "state").save(
        Identity(node_id="node-OLD", node_token="old", fingerprint=HERE)
    )
    agent = make(server.url)
    said = await (await server.peer()).accept(node_token=None)
    assert said["node_id"] == "node-OLD"
    await eventually(lambda: agent.session.status.online, "registered")
    known = agent.identity.load(HERE)
    assert known is not None
    assert (known.node_id, known.node_token) == ("node-SCRIPT", None)


async def test_a_known_token_outlives_an_ack_without_one(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    saved = Identity(node_id="node-SCRIPT", node_token="mine", fingerprint=HERE)
    IdentityFile(tmp_path / "state").save(saved)
    agent = make(server.url)
    await (await server.peer()).accept(node_token=None)
    await eventually(lambda: agent.session.status.online, "registered")
    known = agent.identity.load(HERE)
    assert known is not None
    assert (known.node_id, known.node_token) == ("node-SCRIPT", "mine")


async def test_a_server_of_another_fleet_leaves_the_identity_alone(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    await (await server.peer()).accept(node_id="node-MINE", node_token="mine")
    await eventually(lambda: agent.session.status.online, "registered")
    await agent.stop()
    async with ScriptedServer() as other:
        agent = make(other.url)
        said = await (await other.peer()).accept(node_id="node-THEIRS", node_token="theirs")
        assert said["node_id"] is None
        await eventually(lambda: agent.session.status.online, "registered there")
        await agent.stop()
    make(server.url)
    said = await (await server.peer()).accept(node_id="node-MINE")
    assert (said["node_id"], said["node_token"]) == ("node-MINE", "mine")


async def test_on_a_copied_disk_image_the_saved_identity_is_dropped(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    IdentityFile(tmp_path / "state").save(
        Identity(node_id="node-OLD", node_token="old", fingerprint="another-machine")
    )
    agent = make(server.url)
    said = await (await server.peer()).accept()
    assert said["node_id"] is None
    assert "node_token" not in said
    assert Note.IDENTITY_OF_ANOTHER_MACHINE in agent.session.status.notes


async def test_an_identity_that_cannot_be_read_does_not_stop_the_node(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "identity.json").write_bytes(b"\0" * 64)
    agent = make(server.url)
    assert (await (await server.peer()).accept())["node_id"] is None
    assert Note.IDENTITY_UNREADABLE in agent.session.status.notes
    await eventually(lambda: agent.session.status.online, "registered")
    assert agent.identity.load(HERE) is not None


async def test_a_state_directory_that_cannot_be_written_costs_only_the_memory(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file, not a folder")
    agent = make(server.url)
    await (await server.peer()).accept()
    await eventually(lambda: agent.session.status.online, "registered")
    assert Note.STATE_NOT_WRITABLE in agent.session.status.notes


async def test_two_sessions_cannot_be_one_node(make: Make, server: ScriptedServer) -> None:
    agent = make(server.url)
    await (await server.peer()).accept()
    other = make(server.url)
    with pytest.raises(StateInUse):
        await other.ended()
    await agent.stop()
    make(server.url)
    await (await server.peer()).accept()


async def test_the_join_token_and_the_language_go_with_the_upgrade(
    make: Make, server: ScriptedServer
) -> None:
    make(server.url, join_token="join-me", locale="en")
    headers = (await server.peer()).headers
    assert headers["Authorization"] == "Bearer join-me"
    assert headers["Accept-Language"] == "en"


# One life after another


async def test_a_connection_cut_without_a_word_is_followed_by_a_new_life_under_the_same_id(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    first = await server.peer()
    boot = (await first.accept())["boot_id"]
    await first.hear_type("node_heartbeat")
    first.cut()
    said = await (await server.peer()).accept(session=2)
    assert (said["node_id"], said["node_token"]) == ("node-SCRIPT", "token-1")
    assert (said["boot_id"], said["attempt"]) == (boot, 2)
    await eventually(lambda: agent.session.status.session == 2, "the new session is shown")
    assert agent.session.status.problem is None


async def test_a_server_that_falls_silent_is_given_up_and_a_new_life_begins(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    peer.ws.transport.pause_reading()  # neither pongs nor acks from here on
    again = await server.peer()
    await again.accept(session=2)
    assert agent.told("closed")[0]["trouble"] == Trouble.SILENT
    peer.cut()


async def test_acks_that_stay_away_though_pongs_come_begin_a_new_life(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.hear_type("node_heartbeat")
    await peer.say("node_heartbeat_ack", node_id="node-SCRIPT", next_ms=100, store="ok")
    await (await server.peer()).accept(session=2)
    assert agent.told("closed")[0]["trouble"] == Trouble.SILENT


async def test_a_server_that_sends_no_acks_is_kept_while_it_answers_pings(
    make: Make, server: ScriptedServer
) -> None:
    make(server.url)
    peer = await server.peer()
    await peer.accept()
    for _ in range(10):
        await peer.hear_type("node_heartbeat")
    assert server.waiting() == 0


async def test_a_registration_nobody_answers_is_tried_again(
    make: Make, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.agent.conversation.ANSWER_TO_REGISTER_S", 0.1)
    make(server.url)
    await (await server.peer()).hear_type("node_register")
    said = await (await server.peer()).accept()
    assert said["attempt"] == 2


async def test_a_server_that_goes_away_is_come_back_to_after_the_wait_it_asked_for(
    make: Make, server: ScriptedServer
) -> None:
    make(server.url, session={"uniform": lambda low, _high: low})
    peer = await server.peer()
    await peer.accept()
    asked = time.monotonic()
    await peer.say("reconnect", after_ms=300, reason="restart")
    await peer.close(1012)
    await (await server.peer()).accept()
    assert 0.3 <= time.monotonic() - asked < 5


@pytest.mark.parametrize("code", [1001, 1008, 1009, 1011, 1012, 4408, 4409, 4410, 4429, 1000])
async def test_a_close_that_is_not_for_good_is_followed_by_a_new_life(
    make: Make, server: ScriptedServer, code: int
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.close(code)
    await (await server.peer()).accept()
    await eventually(lambda: agent.session.status.online, "online again")
    assert agent.told("closed")[0]["close_code"] == code


@pytest.mark.parametrize("code", [4501, 4509, 4500, 4999])
async def test_a_close_for_good_ends_the_session(
    make: Make, server: ScriptedServer, code: int
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.close(code)
    assert await agent.ended() is ExitReason.REFUSED
    assert agent.session.status.problem == Closed(code, "")
    assert agent.session.status.registration is Registration.FAILED
    assert server.waiting() == 0


async def test_lives_that_end_right_away_are_begun_ever_later(
    make: Make, server: ScriptedServer
) -> None:
    waits: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        waits.append((low, high))
        return low

    make(server.url, backoff_first_s=1.0, backoff_most_s=30.0, session={"uniform": draw})
    for _ in range(6):
        peer = await server.peer()
        await peer.accept(heartbeat_interval_ms=60_000)
        await peer.close(4409)  # before that life lasted
    await server.peer()
    backoffs = [high for low, high in waits if low == 0]
    assert backoffs == [1, 2, 4, 8, 16, 30]


async def test_a_life_that_lasted_makes_the_next_failure_a_first_one(
    make: Make, server: ScriptedServer
) -> None:
    waits: list[float] = []

    def draw(low: float, high: float) -> float:
        if low == 0:
            waits.append(high)
        return low

    make(server.url, backoff_first_s=1.0, backoff_most_s=30.0, session={"uniform": draw})
    for _ in range(3):
        peer = await server.peer()
        await peer.hear_type("node_register")
        await peer.close(4408)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=50)
    for _ in range(3):
        await peer.hear_type("node_heartbeat")
    await peer.close(4409)
    await server.peer()
    assert waits == [1, 2, 4, 1]


async def test_nothing_that_is_no_message_ends_a_life(make: Make, server: ScriptedServer) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.ws.send("{")
    await peer.ws.send(b"\xff\xfe")
    await peer.say("job_offer", job_id="x")
    await peer.status("ready", "healthy", 2)
    await eventually(lambda: agent.session.status.status == "ready", "ready is shown")
    assert server.waiting() == 0


async def test_of_two_changes_the_newer_is_shown_whatever_comes_last(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(version=10)
    await peer.status("ready", "healthy", 12)
    await peer.status("degraded", "model_missing", 11)
    await peer.status("draining", "operator", 13)
    await eventually(lambda: agent.session.status.status == "draining", "the newest is shown")
    assert [values["status"] for values in agent.told("status")] == ["ready", "draining"]


async def test_a_callback_that_fails_does_not_end_the_session(
    make: Make, server: ScriptedServer
) -> None:
    seen: list[tuple[str, str]] = []

    def on_status(status: str, reason: str) -> None:
        seen.append((status, reason))
        raise RuntimeError("a program's own")

    def on_registered(node_id: str) -> None:
        raise RuntimeError(node_id)

    make(server.url, session={"on_status": on_status, "on_registered": on_registered})
    peer = await server.peer()
    await peer.accept()
    await peer.status("ready", "healthy", 2)
    await eventually(lambda: len(seen) == 2, "both calls")
    assert seen == [("registering", "registered"), ("ready", "healthy")]
    assert server.waiting() == 0


# Several servers


async def test_the_next_server_is_tried_at_once_and_all_before_the_first_wait(
    make: Make, server: ScriptedServer
) -> None:
    waits: list[float] = []

    def draw(low: float, high: float) -> float:
        waits.append(high)
        return low

    nobody = "ws://127.0.0.1:9"
    agent = make(nobody, nobody, server.url, session={"uniform": draw})
    peer = await server.peer()
    assert waits == []
    assert isinstance(agent.session.status.problem, Unreachable)
    await peer.hear_type("node_register")
    await peer.close(4408)
    await server.peer()
    assert len(waits) == 1


async def test_servers_that_accept_and_close_at_once_are_not_tried_without_end(
    make: Make, server: ScriptedServer
) -> None:
    async with ScriptedServer() as other:
        waits: list[float] = []

        def draw(low: float, high: float) -> float:
            waits.append(high)
            return low

        make(
            server.url,
            other.url,
            backoff_first_s=2.0,
            backoff_most_s=30.0,
            session={"uniform": draw},
        )
        for _ in range(3):
            for each in (server, other):
                peer = await each.peer()
                await peer.accept()
                await peer.close(4429)
        await server.peer()
        assert [high for high in waits if high > 1] == [2, 4, 8]


# Refusals


async def test_a_refused_gpu_is_not_tried_again_until_the_hardware_is_another(
    make: Make, server: ScriptedServer
) -> None:
    found = [HARDWARE]
    looks = 0

    async def probe() -> Hardware:
        nonlocal looks
        looks += 1
        return found[0]

    agent = make(server.url, probe=probe)
    await (await server.peer()).refuse("NO_GPU_AVAILABLE")
    await eventually(lambda: looks > 5, "it keeps looking")
    assert server.waiting() == 0
    assert agent.session.status.problem == Refused("NO_GPU_AVAILABLE", None, "NO_GPU_AVAILABLE!")
    assert agent.session.status.registration is Registration.FAILED
    found[0] = Hardware(
        cpu_cores=8,
        memory_gb=32.0,
        gpus=(Gpu(name="RTX 4090", memory_gb=24.0),),
        platform="linux",
    )
    said = await (await server.peer()).accept()
    assert said["hardware"]["gpus"] == [{"name": "RTX 4090", "memory_gb": 24.0}]
    assert agent.told("hardware_changed") == [{"added": ("RTX 4090",), "removed": ("RTX 3070",)}]


async def test_a_gpu_gone_after_the_refusal_is_told_once(
    make: Make, server: ScriptedServer
) -> None:
    looks = 0

    async def probe() -> Hardware:
        nonlocal looks
        looks += 1
        raise NoGpuError(NoGpuCause.GPU_LOST, "fell off the bus")

    agent = make(server.url, probe=probe)
    await (await server.peer()).refuse("NO_GPU_AVAILABLE")
    await eventually(lambda: looks > 5, "it keeps looking")
    assert agent.session.status.problem == NoGpu(NoGpuCause.GPU_LOST, "fell off the bus")
    assert len(agent.told("no_gpu")) == 1
    assert server.waiting() == 0


@pytest.mark.parametrize("code", ["UNAUTHORIZED", "INVALID_CAPABILITY_SCHEMA"])
async def test_a_refusal_for_good_ends_the_session(
    make: Make, server: ScriptedServer, code: str
) -> None:
    agent = make(server.url)
    await (await server.peer()).refuse(code)
    assert await agent.ended() is ExitReason.REFUSED
    assert isinstance(agent.session.status.problem, Refused)


@pytest.mark.parametrize("code", ["INVALID_MESSAGE", "INTERNAL_ERROR", "A_NEWER_CODE"])
async def test_any_other_refusal_is_tried_again(
    make: Make, server: ScriptedServer, code: str
) -> None:
    agent = make(server.url)
    await (await server.peer()).refuse(code)
    await (await server.peer()).accept()
    await eventually(lambda: agent.session.status.online, "registered")
    assert agent.session.status.problem is None


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RATE_LIMITED", "NODE_ID_CONFLICT"])
async def test_the_wait_a_refusal_asks_for_is_kept_to_and_the_id_too(
    make: Make, server: ScriptedServer, tmp_path: Path, code: str
) -> None:
    saved = Identity(node_id="node-SCRIPT", node_token="mine", fingerprint=HERE)
    IdentityFile(tmp_path / "state").save(saved)
    make(server.url)
    await (await server.peer()).refuse(code, retry_after_ms=300)
    refused = time.monotonic()
    said = await (await server.peer()).accept()
    assert 0.3 <= time.monotonic() - refused < 5
    assert (said["node_id"], said["node_token"]) == ("node-SCRIPT", "mine")


async def test_a_conflict_without_a_wait_clears_the_id_and_registers_anew(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    IdentityFile(tmp_path / "state").save(
        Identity(node_id="node-THEIRS", node_token="wrong", fingerprint=HERE)
    )
    agent = make(server.url)
    await (await server.peer()).refuse("NODE_ID_CONFLICT")
    said = await (await server.peer()).accept()
    assert said["node_id"] is None
    assert "node_token" not in said
    assert [values["code"] for values in agent.told("refused")] == ["NODE_ID_CONFLICT"]
    await eventually(lambda: agent.session.status.online, "registered")
    known = agent.identity.load(HERE)
    assert known is not None
    assert known.node_id == "node-SCRIPT"
    assert Note.IDENTITY_CLEARED in agent.session.status.notes
    kept = tmp_path / "state" / "identity.json.node-THEIRS"
    assert '"wrong"' in kept.read_text()


async def test_it_is_cleared_once_not_over_and_over(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    saved = Identity(node_id="node-THEIRS", node_token="wrong", fingerprint=HERE)
    IdentityFile(tmp_path / "state").save(saved)
    make(server.url)
    await (await server.peer()).refuse("NODE_ID_CONFLICT")
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await peer.close(4409)  # before that life lasted
    assert (await (await server.peer()).refuse("NODE_ID_CONFLICT"))["node_id"] == "node-SCRIPT"
    assert (await (await server.peer()).refuse("NODE_ID_CONFLICT"))["node_id"] == "node-SCRIPT"


async def test_a_conflict_that_ends_in_a_duplicate_identity_forgets_nothing(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    """The error comes first, the close code after it: only that says that it is for good."""
    saved = Identity(node_id="node-TWIN", node_token="t", fingerprint=HERE)
    IdentityFile(tmp_path / "state").save(saved)
    agent = make(server.url)
    peer = await server.peer()
    await peer.refuse("NODE_ID_CONFLICT")
    await peer.close(4509)
    assert await agent.ended() is ExitReason.REFUSED
    assert agent.identity.load(HERE) == saved
    assert agent.told("refused") == []  # which says that the id is cleared
    assert agent.session.status.problem == Closed(4509, "")


async def test_a_node_taken_off_registers_again(make: Make, server: ScriptedServer) -> None:
    make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.hear_type("node_heartbeat")
    await peer.error("NOT_REGISTERED")
    said = await (await server.peer()).accept()
    assert said["node_id"] == "node-SCRIPT"


async def test_a_node_the_operator_removed_stays_away(make: Make, server: ScriptedServer) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.status("offline", "removed", 2)
    assert await agent.ended() is ExitReason.REFUSED
    assert (agent.session.status.status, agent.session.status.reason) == ("offline", "removed")


async def test_a_node_called_offline_for_its_silence_goes_on_beating(
    make: Make, server: ScriptedServer
) -> None:
    make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.status("offline", "heartbeat_timeout", 2)
    for _ in range(3):
        await peer.hear_type("node_heartbeat")
    assert server.waiting() == 0


async def test_too_many_messages_only_slow_a_registered_node_down(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await peer.hear_type("node_heartbeat")
    asked = time.monotonic()
    await peer.error("RATE_LIMITED", retry_after_ms=1000)
    await eventually(lambda: bool(agent.told("refused")), "it was heard")
    agent.session.beat_now()  # which would come at once
    await peer.hear_type("node_heartbeat")
    assert time.monotonic() - asked >= 0.9
    assert server.waiting() == 0


# What changes meanwhile


async def test_models_that_change_are_told_by_a_beat_at_once(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    assert (await peer.accept(heartbeat_interval_ms=60_000))["installed_models"] == []
    await peer.hear_type("node_heartbeat")
    agent.session.set_models(ModelScan(models=(MODEL,)))
    beat = await peer.hear_type("node_heartbeat")
    assert beat["installed_models"][0]["model_id"] == "m"


async def test_features_that_change_are_registered_anew_at_once(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.hear_type("node_heartbeat")
    agent.session.set_models(ModelScan(features={"emotion_detection": True}))
    said = await (await server.peer()).accept()
    assert said["features_supported"] == {"emotion_detection": True}
    assert said["node_token"] == "token-1"


async def test_ill_health_is_told_at_once_and_so_is_recovery(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await peer.hear_type("node_heartbeat")
    agent.session.set_health(False, "out of disk")
    beat = await peer.hear_type("node_heartbeat")
    assert beat["health"] == {"ok": False, "reason": "out of disk"}
    agent.session.set_health(True)
    assert "health" not in await peer.hear_type("node_heartbeat")


async def test_a_finished_job_is_told_in_its_turn(make: Make, server: ScriptedServer) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await eventually(lambda: agent.session.status.online, "registered")
    await agent.session.job_result("job-1", False, {"code": "OOM", "message": "x"}, running_jobs=2)
    said = await peer.hear_type("job_result")
    assert said["job_id"] == "job-1"
    assert (said["success"], said["running_jobs"]) == (False, 2)
    assert said["error"] == {"code": "OOM", "message": "x"}
    beat = await peer.hear_type("node_heartbeat")
    assert beat["resource_usage"]["running_jobs"] == 2


async def test_results_of_jobs_that_end_without_a_connection_are_told_later(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await agent.session.job_result("job-1", True)
    await agent.session.job_result("job-2", True)
    await peer.accept()
    assert (await peer.hear_type("job_result"))["job_id"] == "job-1"
    assert (await peer.hear_type("job_result"))["job_id"] == "job-2"


async def test_a_result_whose_socket_ended_before_it_was_heard_is_told_in_the_next_life(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await peer.hear_type("node_heartbeat")
    await agent.session.job_result("job-1", True)
    await peer.hear_type("job_result")
    peer.cut()
    again = await server.peer()
    await again.accept(heartbeat_interval_ms=60_000)
    assert (await again.hear_type("job_result"))["job_id"] == "job-1"


async def test_a_result_the_server_answered_a_beat_after_is_not_told_again(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await peer.hear_type("node_heartbeat")
    await peer.say("node_heartbeat_ack", node_id="node-SCRIPT", next_ms=60_000, store="ok")
    await agent.session.job_result("job-1", True)
    await peer.hear_type("job_result")
    agent.session.beat_now()
    await peer.hear_type("node_heartbeat")
    await peer.say("node_heartbeat_ack", node_id="node-SCRIPT", next_ms=60_000, store="ok")
    await peer.status("ready", "healthy", 2)
    await eventually(lambda: agent.session.status.status == "ready", "all before was heard")
    await peer.close(1012)
    again = await server.peer()
    await again.accept()
    await agent.session.job_result("job-2", True)
    assert (await again.hear_type("job_result"))["job_id"] == "job-2"


async def test_a_result_refused_for_its_haste_is_told_again_after_the_wait(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await peer.hear_type("node_heartbeat")
    await agent.session.job_result("job-1", True)
    await peer.hear_type("job_result")
    await peer.error("RATE_LIMITED", retry_after_ms=300)
    assert (await peer.hear_type("job_result"))["job_id"] == "job-1"


async def test_results_are_told_before_the_farewell(make: Make, server: ScriptedServer) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await eventually(lambda: agent.session.status.online, "registered")
    for at in range(42):  # more than may be sent at once
        await agent.session.job_result(f"job-{at}", True)
    await agent.session.drain()
    heard: list[str] = []
    while "node_unregister" not in heard:
        heard.append((await peer.hear())["type"])
    assert heard.count("job_result") == 42


# Leaving


async def test_an_idle_node_says_farewell_and_goes_when_the_server_lets_it(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.hear_type("node_heartbeat")
    await agent.session.drain("SIGTERM")
    farewell = await peer.hear_type("node_unregister")
    assert (farewell["reason"], farewell["drain"]) == ("SIGTERM", True)
    await peer.status("offline", "unregistered", 2)
    assert await agent.ended() is ExitReason.LEFT
    await peer.closed()
    assert peer.ws.close_code == 1000
    assert not agent.session.status.connected


async def test_running_jobs_are_counted_before_the_farewell_and_waited_for(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept(heartbeat_interval_ms=60_000)
    await peer.hear_type("node_heartbeat")
    agent.session.set_running_jobs(2)
    await agent.session.drain()
    assert (await peer.hear())["resource_usage"]["running_jobs"] == 2
    assert (await peer.hear())["type"] == "node_unregister"
    await peer.status("draining", "node_request", 2)
    await eventually(lambda: agent.session.status.status == "draining", "draining")
    assert not agent.task.done()
    agent.session.set_running_jobs(0)
    assert (await peer.hear_type("node_heartbeat"))["resource_usage"]["running_jobs"] == 0
    await peer.status("offline", "drained", 3)
    assert await agent.ended() is ExitReason.LEFT


async def test_jobs_that_do_not_end_are_left_at_the_time_out(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    agent.session.set_running_jobs(1)
    await eventually(lambda: agent.session.status.online, "registered")
    await agent.session.drain("stop", timeout_s=0.3)
    assert (await peer.hear_type("node_unregister"))["drain"] is True
    await peer.status("draining", "node_request", 2)
    assert (await peer.hear_type("node_unregister"))["drain"] is False
    assert await agent.ended() is ExitReason.LEFT


async def test_a_second_time_out_for_the_jobs_is_taken(make: Make, server: ScriptedServer) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    agent.session.set_running_jobs(1)
    await eventually(lambda: agent.session.status.online, "registered")
    await agent.session.drain("maintenance", timeout_s=3600.0)
    assert (await peer.hear_type("node_unregister"))["drain"] is True
    await agent.session.drain(timeout_s=0.2)
    last = await peer.hear_type("node_unregister")
    assert (last["drain"], last["reason"]) == (False, "maintenance")
    assert await agent.ended() is ExitReason.LEFT


async def test_a_later_time_out_replaces_the_one_that_would_have_passed(make: Make) -> None:
    agent = make("ws://127.0.0.1:9")
    agent.session.set_running_jobs(1)
    await agent.session.drain(timeout_s=0.2)
    await agent.session.drain(timeout_s=3600.0)
    waited = time.monotonic() + 0.6
    await eventually(lambda: time.monotonic() > waited, "the first time out has passed")
    assert not agent.task.done()
    agent.session.set_running_jobs(0)
    assert await agent.ended() is ExitReason.LEFT


async def test_to_leave_again_without_a_time_out_never_gives_jobs_more_time(make: Make) -> None:
    agent = make("ws://127.0.0.1:9", drain_timeout_s=3600.0)
    agent.session.set_running_jobs(1)
    await agent.session.drain(timeout_s=0.3)
    await agent.session.drain("SIGTERM")
    assert await agent.ended() is ExitReason.LEFT


async def test_a_server_that_answers_no_farewell_is_left_when_nothing_runs(
    make: Make, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.agent.life.FAREWELL_S", 0.2)
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await eventually(lambda: agent.session.status.online, "registered")
    await agent.session.drain()
    await peer.hear_type("node_unregister")
    assert await agent.ended() is ExitReason.LEFT


async def test_a_node_that_loses_its_server_while_leaving_comes_back_to_leave(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    agent.session.set_running_jobs(1)
    await eventually(lambda: agent.session.status.online, "registered")
    await agent.session.drain()
    await peer.hear_type("node_unregister")
    peer.cut()
    again = await server.peer()
    await again.accept(session=2)
    await again.hear_type("node_unregister")
    agent.session.set_running_jobs(0)
    await again.status("offline", "drained", 5)
    assert await agent.ended() is ExitReason.LEFT


async def test_without_a_connection_and_without_jobs_it_leaves_at_once(make: Make) -> None:
    agent = make("ws://127.0.0.1:9", backoff_first_s=60.0, backoff_most_s=60.0)
    await eventually(lambda: bool(agent.told("retrying")), "it waits for the next try")
    await agent.session.drain()
    assert await agent.ended() is ExitReason.LEFT


async def test_without_a_connection_it_stays_until_the_jobs_are_done(make: Make) -> None:
    agent = make("ws://127.0.0.1:9")
    agent.session.set_running_jobs(1)
    await agent.session.drain()
    await eventually(lambda: len(agent.told("closed")) > 2, "it keeps trying")
    assert not agent.task.done()
    agent.session.set_running_jobs(0)
    assert await agent.ended() is ExitReason.LEFT


async def test_a_session_told_to_leave_before_it_began_leaves(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    await agent.session.drain()
    assert await agent.ended() is ExitReason.LEFT


async def test_a_session_cancelled_in_the_moment_something_is_to_be_done_ends(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)
    peer = await server.peer()
    await peer.accept()
    await peer.hear_type("node_heartbeat")
    agent.session.beat_now()
    agent.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await agent.ended()
    await peer.closed()


async def test_a_bug_in_what_is_told_ends_the_session_with_its_exception(
    make: Make, server: ScriptedServer
) -> None:
    agent = make(server.url)

    def broken(action: str, _values: Any) -> None:
        if action == "registered":
            raise RuntimeError("ours")

    agent.session.status.listen(broken)
    await (await server.peer()).accept()
    with pytest.raises(RuntimeError, match="ours"):
        await agent.ended()
