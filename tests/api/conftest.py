"""The API in this process, on the embedded Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from registry.registry import Registry
from registry.settings import RegistrySettings
from tests.support.api import Api, Machines
from tests.support.stores import Backend


@pytest_asyncio.fixture
async def registry(valkey: Backend) -> AsyncIterator[Registry]:
    """With the default numbers: nothing times out while a test runs."""
    store = await valkey.connect()
    yield Registry(store, RegistrySettings())
    await store.close()


@pytest.fixture
def api(registry: Registry) -> Api:
    return Api(registry)


@pytest.fixture
def machines(registry: Registry) -> Machines:
    return Machines(registry)
