"""What makes the short way of a heartbeat no other way."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, integration, unit

_TESTS = (*unit("short_way"), *integration("short_way"))


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "gateway/transport.py",
        _TESTS,
        ("a frame has not begun", "and waits_in.gi_code is _AT_A_FRAME_S_BEGINNING", ""),
        (
            "what changed is looked at again",
            "        self.clear = False\n        super",
            "        super",
        ),
        ("the whole frame", "if length == size - 6:", "if length <= size - 6:"),
        ("a frame of a client", "length = data[1] - _MASKED", "length = data[1] & 0x7F"),
        prefix="short way",
    )
    yield from guards(
        "gateway/connection.py",
        _TESTS,
        ("nothing is overtaken", "or not self._waits:", "or False:"),
        ("a flood on the short way", "self._messages.take(now):", "0:"),
        ("whose beat", "message.node_id is not None and message.node_id != node_id", "False"),
        prefix="short way",
    )
    yield from guards(
        "muster/wire/beating.py",
        _TESTS,
        ("nothing unknown is kept", ", forbid_unknown_fields=True", ""),
        ("text that must be looked at", " or not frame.isascii()", ""),
        prefix="short way",
    )
