"""Which hosts are this machine talking to itself."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address


@lru_cache(maxsize=256)  # asked for every request that needs no token
def is_loopback(host: str) -> bool:
    """Whether a name or address, in brackets or not, can only be this machine.

    Of names only `localhost` counts: what any other name means is for others to say.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
