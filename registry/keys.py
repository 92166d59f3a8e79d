"""Every key and channel name of the registry, built here and nowhere else.

A node's partition is `crc32(node_id) mod 64`; all that belongs to a node carries the partition's
hash tag, so that one script can change all of it in one slot of a Cluster.
"""

from __future__ import annotations

from binascii import crc32

from registry.tags import TAGS

PARTITIONS = len(TAGS)


def partition_of(node_id: str) -> int:
    """The partition (0..63) of a node id; stable for ever."""
    return crc32(node_id.encode()) % PARTITIONS


class Keys:
    """Key names under one prefix. A prefix with braces would move every key to one slot."""

    def __init__(self, prefix: str = "muster") -> None:
        if "{" in prefix or "}" in prefix:
            raise ValueError(f"the key prefix {prefix!r} must not contain braces")
        self.prefix = prefix
        self._heads = tuple(f"{prefix}:{{{tag}}}:" for tag in TAGS)

    def head(self, partition: int) -> str:
        """What every key of a partition begins with."""
        return self._heads[partition]

    def node(self, node_id: str) -> str:
        return f"{self._heads[partition_of(node_id)]}n:{node_id}"

    def intent(self, node_id: str) -> str:
        return f"{self._heads[partition_of(node_id)]}intent:{node_id}"

    def history(self, node_id: str) -> str:
        return f"{self._heads[partition_of(node_id)]}h:{node_id}"

    def ttl(self, node_id: str) -> str:
        return f"{self._heads[partition_of(node_id)]}ttl:{node_id}"

    def beaten(self, node_id: str) -> tuple[int, str, str, str]:
        """The partition, and record, history and TTL key: what a beat writes."""
        partition = partition_of(node_id)
        head = self._heads[partition]
        return partition, f"{head}n:{node_id}", f"{head}h:{node_id}", f"{head}ttl:{node_id}"

    def holds(self, node_id: str) -> str:
        return f"{self._heads[partition_of(node_id)]}holds:{node_id}"

    def request(self, request_id: str) -> str:
        """The answer to one request, so that asking again gets the same one."""
        return f"{self._heads[partition_of(request_id)]}req:{request_id}"

    def looked_at(self, node_id: str) -> tuple[str, str, str, str]:
        """Record, intent, TTL key and holds: what is read to judge a node."""
        head = self._heads[partition_of(node_id)]
        return (
            f"{head}n:{node_id}",
            f"{head}intent:{node_id}",
            f"{head}ttl:{node_id}",
            f"{head}holds:{node_id}",
        )

    def due(self, partition: int) -> str:
        return f"{self._heads[partition]}due"

    def todo(self, partition: int) -> str:
        return f"{self._heads[partition]}todo"

    def roll(self, partition: int) -> str:
        """Every id of the partition, in lexical order: what lists page through."""
        return f"{self._heads[partition]}roll"

    def names(self, partition: int) -> str:
        """Every capability that ever had a ready index here: what the repair walks."""
        return f"{self._heads[partition]}names"

    def counts(self, partition: int) -> str:
        return f"{self._heads[partition]}counts"

    def events(self, partition: int) -> str:
        return f"{self._heads[partition]}ev"

    def epoch(self) -> str:
        """A random word that tells this store from one that took its place."""
        return f"{self.prefix}:{{ev}}:epoch"

    def lease(self, partition: int) -> str:
        return f"{self._heads[partition]}lease"

    def swept(self, partition: int) -> str:
        return f"{self._heads[partition]}swept"

    def unobserved(self, partition: int) -> str:
        return f"{self._heads[partition]}unobserved"

    def ready(self, partition: int, capability: str) -> str:
        return f"{self._heads[partition]}ready:{capability}"

    def bell(self, partition: int) -> str:
        """The channel that wakes the partition's sweeper."""
        return f"{self._heads[partition]}bell"

    def channel(self, partition: int, gateway_id: str) -> str:
        """The channel of one gateway's nodes in one partition."""
        return f"{self._heads[partition]}gw:{gateway_id}"

    def gateway_channels(self, gateway_id: str) -> list[str]:
        return [self.channel(p, gateway_id) for p in range(PARTITIONS)]

    def bell_channels(self, partitions: list[int]) -> list[str]:
        return [self.bell(p) for p in partitions]

    def gateway(self, gateway_id: str) -> str:
        return f"{self.prefix}:{{gw.{gateway_id}}}"

    def gateways(self) -> str:
        return f"{self.prefix}:{{gw}}:all"

    def sweepers(self) -> str:
        return f"{self.prefix}:{{sw}}:all"

    def brakes(self) -> str:
        return f"{self.prefix}:{{sw}}:brakes"

    def brake_released(self) -> str:
        return f"{self.prefix}:{{sw}}:brake_released"

    def mass_expiry(self) -> str:
        return f"{self.prefix}:{{sw}}:mass_expiry"
