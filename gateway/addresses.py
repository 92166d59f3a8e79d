"""What counts as one address, where a limit is per address."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network


def neighbourhood(address: str) -> str:
    """The address itself; of IPv6 the /64, which is what one machine is given."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((int(parsed), 64), strict=False))
    return address
