"""What a run is told to do, as it goes to its processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from muster.simulate.scenarios import SCENARIOS, Scenario


class OrderError(ValueError):
    """What was asked for cannot be done; the text says what and what to do."""


@dataclass(frozen=True)
class Server:
    """One address nodes connect to."""

    url: str
    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def of(cls, url: str) -> Server:
        """Of http(s):// or ws(s)://; the path of the node endpoint unless one is given."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname or port == 0:
            raise OrderError(f"{url!r} is no address of a gateway: http://127.0.0.1:8080")
        tls = parts.scheme in ("https", "wss")
        path = parts.path if parts.path not in ("", "/") else "/ws/node"
        return cls(url, parts.hostname, port or (443 if tls else 80), path, tls)

    @property
    def http(self) -> str:
        """Where its /metrics are."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True)
class Order:
    """What one process has to do: nodes number `process`, `process + processes`, …"""

    servers: tuple[Server, ...]
    scenario: str
    nodes: int
    process: int
    processes: int
    seed: int
    per_s: float
    """New sockets a second of this process; 0: all at once."""
    labels: dict[str, str]
    interval_s: float | None = None
    join_token: str | None = None
    acks: float = 0.1
    share: float | None = None
    """How much of the fleet is struck, if it is not what the scenario says."""
    sources: int = 1
    """How many addresses 127.0.0.x nodes come from; 1: whatever the system takes."""

    @property
    def scenario_as_asked(self) -> Scenario:
        """The scenario with the share asked for."""
        scenario = SCENARIOS[self.scenario]
        return scenario if self.share is None else replace(scenario, share=self.share)

    def as_dict(self) -> dict[str, Any]:
        """For the way to the process."""
        return asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> Order:
        """Of `as_dict`."""
        servers = tuple(Server(**server) for server in told["servers"])
        return cls(**(told | {"servers": servers}))
