"""A registry on each store, with the numbers of the specification or with quick ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.registry import Registry
from registry.settings import RegistrySettings
from registry.store import Store


@pytest.fixture
def registry(store: Store) -> Registry:
    """With the default numbers: nothing times out while a test runs."""
    return Registry(store, replace(RegistrySettings(), redis_prefix="test"))


@pytest.fixture
def quick(store: Store) -> Registry:
    """With time-outs of tenths of a second, beside the other under its own prefix."""
    return Registry(
        store,
        replace(
            RegistrySettings(),
            redis_prefix="quick",
            heartbeat_interval_s=0.15,
            heartbeat_timeout_s=0.5,
            warmup_timeout_s=0.6,
            retention_s=0.3,
            presence_ttl_s=0.3,
            drain_timeout_s=1.0,
        ),
    )
