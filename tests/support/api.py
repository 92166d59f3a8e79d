"""The HTTP API in this process, over a registry of the test's own; and machines to ask it about."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from gateway.api.endpoint import Endpoint, Example
from gateway.app import make_app
from gateway.metrics import CHECKS, Metrics
from gateway.settings import GatewaySettings
from gateway.standing import Standing
from gateway.tail import Tail, Watch
from muster.wire.bearer import Entry, Role, digest
from muster.wire.messages import Gpu, Hardware, Model, Register
from registry import capabilities as can
from registry.cursor import Cursor
from registry.model import Beat, Reason, Registered, Status
from registry.registry import Registry
from tests.support.fleet import Fleet, registration

MODELS = {
    "asr:zh": Model(model_id="asr-zh", kind="asr", version="1", src_lang="zh"),
    "nmt:zh:en": Model(model_id="nmt-zh-en", kind="nmt", version="1", src_lang="zh", tgt_lang="en"),
    "tts:en": Model(model_id="tts-en", kind="tts", version="1", tgt_lang="en"),
}

# Who asks: name → role and owner. The token of each is made of its name.
WHO: dict[str, tuple[Role, str | None]] = {
    "reader": (Role.READ, None),
    "admin": (Role.ADMIN, None),
    "reader of x": (Role.READ, "x"),
    "admin of x": (Role.ADMIN, "x"),
}


def token(who: str) -> str:
    """The token of one of `WHO`."""
    return f"token-of-{who.replace(' ', '-')}-0123456789abcdef"


def lines() -> list[str]:
    """The gateway's entries for `WHO`."""
    return [
        Entry(who.replace(" ", "-"), role, digest(token(who)), owner).line()
        for who, (role, owner) in WHO.items()
    ]


class OneLook(Tail):
    """Looks at the store when somebody comes to watch, and sends them away as a gateway does that
    stops."""

    async def join(self, after: Cursor | None, *, to_now: bool = False) -> Watch:
        now = await self._registry.event_cursor()
        self.end()
        return await super().join(after or now, to_now=to_now)


class Api:
    """A gateway's HTTP side without its sockets. `registry` may be anything that looks like one.
    Streams of events end as soon as they have begun."""

    def __init__(self, registry: Any, **settings: Any) -> None:
        self.settings = GatewaySettings(**({"api_tokens": lines()} | settings))
        self.app = make_app(self.settings)
        self.app.state.registry = registry
        self.app.state.standing = Standing("gw1", lambda: dict.fromkeys(CHECKS, True), lambda: "")
        self.app.state.tail = OneLook(registry, Metrics(), poll_s=1.0, buffer_bytes=1_048_576)

    async def ask(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        who: str | None = "admin",
        headers: dict[str, str] | None = None,
        base: str = "http://localhost",
        **more: Any,
    ) -> httpx.Response:
        """One request. `who` None asks without a token, an unknown one with an unknown token."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        sent = dict(headers or {})
        if who is not None:
            sent["Authorization"] = f"Bearer {token(who)}"
        if body is not None:
            more["content"] = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            response = await client.request(method, url, headers=sent, **more)
        # An answer to HEAD has no body.
        if response.content and "problem+json" in response.headers["content-type"]:
            self._is_counted(response.request.url.path, response.json()["code"])
        return response

    def _is_counted(self, path: str, code: str) -> None:
        """Whatever problem is met, it shows in what is measured."""
        value = self.app.state.metrics.registry.get_sample_value
        counted = value("muster_http_problems_total", {"code": code})
        assert counted is not None
        assert counted > 0 or not f"{path}/".startswith("/v1/"), code

    async def example(
        self, endpoint: Endpoint, example: Example | None = None, **more: Any
    ) -> httpx.Response:
        """An endpoint's own example, or another."""
        shown = example or endpoint.example
        url = endpoint.path.format(**shown.path) + (f"?{shown.query}" if shown.query else "")
        return await self.ask(endpoint.method, url, shown.body, **more)


def register(**changes: Any) -> Register:
    """A machine's registration with the three core capabilities."""
    plain: dict[str, Any] = {
        "version": "1.0.0",
        "platform": "linux",
        "hardware": Hardware(cpu_cores=8, memory_gb=32, gpus=(Gpu(name="RTX 4090", memory_gb=24),)),
        "installed_models": tuple(MODELS.values()),
        "max_concurrent_jobs": 2,
    }
    return Register(**plain | changes)


class Machines:
    """Puts machines into a registry as a gateway would."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.fleet = Fleet(registry)

    async def register(self, node_id: str, gateway: str = "gw1", **changes: Any) -> Registered:
        """Registers one; it is `registering` until it is made ready."""
        message = register(**changes)
        new = registration(
            node_id,
            gateway=gateway,
            registration=can.pack(message),
            digest=can.digest(message),
            capabilities=can.capabilities(message),
            hardware_digest=can.hardware_digest(message),
            public=message.accept_public_jobs,
            capacity=can.capacity(message, None),
            gpu_memory_gb=can.largest_gpu_gb(message),
            address="192.0.2.7",
        )
        seen = await self.registry.existing(node_id)
        answer = await self.registry.register(new, seen)
        assert isinstance(answer, Registered), answer
        self.fleet.told[node_id], self.fleet.sids[node_id] = answer, new.sid
        self.fleet.seqs[node_id] = 0
        return answer

    async def ready(
        self, node_id: str, usage: dict[str, Any] | None = None, **changes: Any
    ) -> None:
        """Registers one and makes it ready; `usage` is what its heartbeats report."""
        await self.register(node_id, **changes)
        for _ in range(3):
            await self.beat(node_id, usage)
        await self.fleet.commit(Status.READY, Reason.HEALTHY, node_id, resets_window=True)

    async def beat(self, node_id: str, usage: dict[str, Any] | None = None) -> None:
        """One good heartbeat."""
        report = msgspec.msgpack.encode({"resource_usage": usage or {}})
        jobs = (usage or {}).get("running_jobs", 0)
        beat: Beat = self.fleet.beat_of(node_id, report=report, jobs=jobs, capacity=2)
        (answer,) = await self.registry.beat([beat])
        assert answer is not None and answer.outcome in ("fine", "tell"), answer
