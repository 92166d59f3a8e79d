"""The registry: facts in the store, one method = one script.

Gateways write facts (`writing`, `presence`), sweepers judge (`judging`), operators intend
(`operating`), schedulers select and hold (`selecting`, `holding`), everybody looks (`surveying`,
`reading`) and follows what happens (`tailing`). None of the writers knows the others.
"""

from __future__ import annotations

from registry.judging import Judging
from registry.model import Problem
from registry.opening import Access
from registry.operating import Operating
from registry.overview import Alarms, Overseeing
from registry.presence import Presence
from registry.problems import problems_of
from registry.reading import Reading
from registry.selecting import Selecting
from registry.settings import RegistrySettings
from registry.store import Store
from registry.tailing import Tailing
from registry.writing import Writing


class Registry(
    Writing, Operating, Presence, Judging, Selecting, Overseeing, Alarms, Reading, Tailing
):
    """Everything that can be asked of the store, under one prefix."""

    @classmethod
    async def connect(cls, settings: RegistrySettings) -> Registry:
        """Opens the store that the settings name; connects on first use."""
        s = settings
        access = Access(
            ca_file=s.redis_ca_file,
            cert_file=s.redis_cert_file,
            key_file=s.redis_key_file,
            check_hostname=s.redis_check_hostname,
            sentinel_user=s.redis_sentinel_user,
            sentinel_password=s.redis_sentinel_password,
        )
        store = await Store.connect(s.redis_url, timeout_s=s.redis_timeout_s, access=access)
        return cls(store, settings)

    async def problems(self) -> list[Problem]:
        """What is wrong with the store's set-up, worst first."""
        return problems_of(await self.store.info(), single=self.store.single)

    async def ping(self) -> None:
        """Raises StoreUnavailable unless the store answers now."""
        await self.store.ping()

    async def close(self) -> None:
        """Closes every connection."""
        await self.store.close()
