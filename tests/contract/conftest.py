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
    """With time-outs of a second or two, beside the other under its own prefix. What must be done
    within one of them is done in a hundredth of it, so that a busy machine may be slow."""
    return Registry(
        store,
        replace(
            RegistrySettings(),
            redis_prefix="quick",
            heartbeat_interval_s=0.5,
            heartbeat_timeout_s=2.0,
            warmup_timeout_s=2.0,
            retention_s=1.0,
            presence_ttl_s=1.0,
            drain_timeout_s=2.0,
        ),
    )
