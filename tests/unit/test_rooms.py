"""Who may import whom: the rooms of the architecture, read from the sources themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("muster", "registry", "gateway", "sweeper", "tests", "bench", "deploy", "helm", "docs")

# room → what of ours it may import besides itself. The longest matching room is a file's own.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "muster.wire": (),
    "muster.agent": ("muster.wire",),
    "muster.client": ("muster.wire",),
    "muster.cli": ("muster",),
    "muster.cli.up": ("muster", "registry.ports"),  # where what it starts may listen
    "muster.simulate": ("muster.wire",),
    "muster": ("muster",),
    "registry.health": ("registry", "muster.wire"),
    "registry.capabilities": ("registry", "muster.wire"),
    "registry.labels": ("registry", "muster.wire"),
    "registry": (),
    "gateway": ("muster.wire", "registry"),
    "sweeper": ("registry",),
}


def sources() -> list[Path]:
    rooms = ("muster", "registry", "gateway", "sweeper")
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room_of(module: str) -> str:
    return max((room for room in MAY_IMPORT if within(module, room)), key=len)


def imports(source: str, package: str) -> Iterator[str]:
    """Every module a source imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*kept, base]).rstrip(".")
            # `from muster import wire` imports muster.wire as much as `import muster.wire` does
            yield from (f"{base}.{alias.name}" for alias in node.names)


def forbidden(module: str, source: str, package: str) -> list[str]:
    room = room_of(module)
    allowed = (room, *MAY_IMPORT[room])
    return [
        name
        for name in imports(source, package)
        if name.split(".")[0] in OURS and not any(within(name, good) for good in allowed)
    ]


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    assert forbidden(module, path.read_text(), package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.hub", "import sweeper.rules"),
        ("sweeper.loop", "from gateway import hub"),
        ("sweeper.watch", "from muster.wire import codec"),
        ("muster.wire.codec", "def f():\n    import registry.keys"),
        ("muster.cli.up", "from registry.embedded import EmbeddedStore"),
        ("muster.client.http", "from muster import agent"),
        ("registry.store", "from muster.wire import messages"),
        ("registry.store", "from ..gateway import hub"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert forbidden(module, source, module.rpartition(".")[0]) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway.hub", "from muster.wire import messages\nfrom registry import keys"),
        ("registry.health", "from muster.wire.messages import Heartbeat"),
        ("registry.store", "from registry.keys import Keys\nimport redis"),
        ("muster.agent.session", "from muster.wire import codec"),
    ],
)
def test_a_permitted_import_is_not(module: str, source: str) -> None:
    assert forbidden(module, source, module.rpartition(".")[0]) == []
