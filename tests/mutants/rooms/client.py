"""The Python client does nothing twice; a terminal shows nothing that moves its cursor."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "muster/client/trying.py",
        unit("client_trying"),
        (
            "what may have been done",
            "if self._maybe_done and not self._call.repeatable:",
            "if False:",
        ),
        ("an answer that did not come", "if not isinstance(error, _NEVER_SENT):", "if False:"),
        ("an answer that may be late", 'if refused.code == "OVERLOADED":', "if True:"),
        ("what was so already", "if self._maybe_done and refused.code in", "if refused.code in"),
        ("patience", "if self._now() + pause_s > self._deadline:", "if False:"),
        ("pauses are drawn", "random.uniform(most / 2, most)", "most"),
        ("what a gateway asks for", "if text.isdigit()", "if False"),
        prefix="client",
    )
    yield from guards(
        "muster/client/servers.py",
        unit("client_trying"),
        ("a server is left once", "if self.current == url:", "if True:"),
        ("the first is drawn", "random.choice(self.urls)", "self.urls[0]"),
        prefix="client",
    )
    yield from guards(
        "muster/client/following.py",
        unit("client_following"),
        (
            "a place without an event",
            "if frame.id:\n            self.cursor",
            "if frame.data: self.cursor",
        ),
        ("the first page's place", "self._first = self._first or page", "self._first = page"),
        ("an end is no event", "if frame.event == END:", "if False:"),
        prefix="client",
    )
    yield from guards(
        "muster/cli/remote.py",
        unit("cli_looks"),
        ("what would move the cursor", 'c if c.isprintable() else "\\ufffd"', "c"),
        prefix="cli",
        keyword="would_move or equal_cards",
    )
