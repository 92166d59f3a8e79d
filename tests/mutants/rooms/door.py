"""Who is let in, what a flood costs, and which pages and requests are none."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, integration, unit

_TURNED_AWAY = integration("turned_away")
_EARLY = ("tests/attack/test_early_frames.py",)


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "gateway/door.py",
        unit("door"),
        ("connections", "if connections > self.connections_most:", "if False:"),
        ("sockets", "if len(self._inside) >= self.sockets_most:", "if False:"),
        (
            "of one address",
            "if self._per_address and self._of_address",
            "if False and self._of_address",
        ),
        ("an address is a neighbourhood", "neighbourhood(address) if", "address if"),
        ("unregistered", "if self._unregistered_most and waiting", "if False and waiting"),
        ("a place is given back", "del self._of_address[place]", "pass"),
        ("who registered stays", "if guest.registered:", "if False:"),
        ("who is being handled stays", "elif guest.busy:", "elif False:"),
        ("each has its time", "elif now - since < self._chance_s:", "elif False:"),
        ("a place is given once", "                self.leave(key)\n", ""),
        ("nobody waits who left", "self._waiting.pop(key, None)", "pass"),
        ("told once a minute", ">= TELL_EVERY_S:", ">= 0:"),
    )
    yield from guards(
        "gateway/arriving.py",
        _TURNED_AWAY,
        ("the head's time", "self._patience = self.loop.call_later(", "(lambda *_: None)("),
        ("the head's size", "if self._head_bytes > HEAD_BYTES_MOST:", "if False:"),
        ("one host", 'if sum(name == b"host" for name, _ in self.headers) > 1:', "if False:"),
        ("the door", "if door.refusal(address, len(self.connections)) is not None:", "if False:"),
        (
            "an odd handshake is answered",
            'if not getattr(protocol, "handshake_initiated", True):',
            "if False:",
        ),
    )
    yield from guards(
        "gateway/arriving.py",
        ("tests/attack/test_browsers.py",),
        (
            "pages of other origins",
            "if (foreign := origins.refusal(self.headers)) is not None:",
            "if (foreign := origins.refusal([])) is not None:",
        ),
        prefix="arriving, browsers",
    )
    yield from guards(
        "gateway/arriving.py",
        _EARLY,
        ("what stands behind the head", "self._hand_over(data[self._behind_head :])", "pass"),
        prefix="arriving, early",
    )
    yield from guards(
        "gateway/flooding.py",
        _EARLY,
        ("it waits for the answer", "            self._early = True\n", ""),
        ("it has its turn", "            self._listen()\n", ""),
        (
            "then the rest is read",
            "            self.transport.resume_reading()",
            "            pass",
        ),
        prefix="flooding, early",
    )
    yield from guards(
        "gateway/flooding.py",
        _TURNED_AWAY,
        ("the place is given back", "self._door.leave(self.transport)", "pass"),
        ("a message's pace", "if wait_ms:", "if False:"),
        ("pings and pongs", "if self._controls.take(monotonic()):", "if False:"),
        ("pieces", "if len(self.frames) > PIECES_MOST:", "if False:"),
    )
    yield from guards(
        "registry/repeats.py",
        unit("repeats"),
        ("a few of a kind", "if kind.said >= self._most:", "if False:"),
        ("how many there were", 'if hasattr(record, "context"):', "if False:"),
        (
            "bugs are told apart",
            'said.get("reason"), _failed_at(record))',
            'said.get("reason"), None)',
        ),
        ("states are told apart", 'said.get("previous"), said', "None, said"),
        ("reasons are told apart", 'said.get("reason"), _failed', "None, _failed"),
        ("a window ends", "if now - kind.since >= WINDOW_S:", "if False:"),
        ("it is told once", "kind.kept_back = now, 0, 0", "_ = now, 0, 0"),
        ("kinds are bounded", "if len(self._kinds) >= _KINDS_MOST:", "if False:"),
    )
