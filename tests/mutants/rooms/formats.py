"""What is written today is read by the version before and the one after."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, integration


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/keys.py",
        integration("kept_stores"),
        (
            "no key changes its meaning in place",
            'return f"{self._heads[partition_of(node_id)]}holds:{node_id}"',
            'return f"{self._heads[partition_of(node_id)]}places:{node_id}"',
            (("registry/keys.py", 'f"{head}holds:{node_id}"', 'f"{head}places:{node_id}"'),),
        ),
        prefix="format",
    )
    yield from guards(
        "gateway/tokens.py",
        integration("kept_stores"),
        (
            "former tokens are known",
            'hmac.new(secret, node_id.encode(), "sha256")',
            'hmac.new(secret, node_id.encode(), "sha1")',
        ),
        prefix="format",
    )
