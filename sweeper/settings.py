"""A sweeper's settings: what all processes share, and how often it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.settings import RegistrySettings, setting


@dataclass(frozen=True)
class SweeperSettings(RegistrySettings):
    """Read once when the sweeper starts."""

    host: str = setting("127.0.0.1", "The address its health and metrics are served on.")
    sweeper_port: int = setting(9090, "The port for health and metrics; 0 serves none.")
    sweep_interval_s: float = setting(
        30.0, "How often everything due and everything marked is looked at without being called."
    )
    repair_interval_s: float = setting(
        300.0, "How often all records are compared with all indexes."
    )
    observe_interval_s: float = setting(
        1.0, "How often a partition's sweeper writes down that the partition is observed."
    )
    lease_ttl_s: float = setting(8.0, "How long a partition stays with a sweeper not heard of.")
    pass_batch: int = setting(500, "The most nodes read in one call.")
    log_format: Literal["auto", "json", "text"] = setting(
        "auto", "Lines for people (text) or programs (json); auto: text on a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least severe record that is written."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("sweeper_port", self.sweeper_port <= 65535, "a port, 0 to 65535")
        self.require(
            "observe_interval_s",
            self.observe_interval_s < self.unobserved_gap_s,
            f"less than the gap that counts as unobserved ({self.unobserved_gap_s} s)",
        )

    def may_be_zero(self) -> tuple[str, ...]:
        return (*super().may_be_zero(), "sweeper_port")
