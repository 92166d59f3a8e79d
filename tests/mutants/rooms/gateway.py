"""A gateway records facts, and stands for its own faults."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards, integration, unit

_ACK = 'node_id, "registered", "registering", None, 1, 1, 1, 1, (), None'


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "gateway/admission.py",
        unit("admission"),
        ("a wrong token wins nothing", "if attempt.token is TokenCheck.WRONG:", "if False:"),
        ("a later attempt is not outrun", "if live and _outrun(existing, attempt):", "if False:"),
    )
    yield from guards(
        "gateway/enrolment.py",
        contract("operating"),
        (
            "labels",
            "capabilities=can.capabilities(message, labels.values)",
            "capabilities=can.capabilities(message)",
        ),
    )
    yield from guards(
        "gateway/enrolment.py",
        ("tests/faults/test_one_by_one.py",),
        (
            "acknowledged after it was written",
            "written = await",
            f"connection.send(RegisterAck({_ACK}))\n            written = await",
        ),
        keyword="not_acknowledged",
    )
    yield from guards(
        "gateway/enrolment.py",
        integration("errors_and_closes"),
        (
            "put off within the time-out",
            "random.uniform(interval_ms / 15, interval_ms / 5)",
            "random.uniform(1000, 3000)",
        ),
        keyword="UNAVAILABLE or RATE_LIMITED",
    )
    yield from guards(
        "gateway/session.py",
        unit("session"),
        (
            "a random fence, no counter",
            "return secrets.token_hex(8)",
            "return str(next(_COUNT))",
            (("gateway/session.py", "WINDOW = 5\n", "WINDOW = 5\n_COUNT = iter(range(9**9))\n"),),
        ),
        ("told once, and in order", "if change.version <= self.version:", "if False:"),
    )
    yield from guards(
        "gateway/pulse.py",
        contract("operating"),
        ("labels seen anew", "        session.labels = known.labels\n", ""),
        (
            "what was not written stays new",
            "if await self._connection.insist(write):",
            "if await self._connection.insist(write) or True:",
        ),
        ("no renewal beside", "async with self._alone():  # a renewal", "if True:  # a renewal"),
    )
    yield from guards(
        "gateway/pulse.py",
        unit("pulse"),
        ("a bad verdict hurries", "verdict is Verdict.PASS and session", "session"),
        ("a node that is not ready hurries", "PASS and session.status == Status.READY", "PASS"),
        ("who settles hurries", "self._connection.services.batcher.hurry()", "pass"),
    )
    yield from guards(
        "gateway/batcher.py",
        unit("batcher"),
        (
            "beats wait for the store",
            "                self._park(waiting)\n",
            "                self._answer(waiting, TOO_OLD)\n",
        ),
        ("who waits hurries", "        self.hurry()\n", ""),
        ("a beat that changes something", "if hurry or len", "if len"),
        ("a full batch", "if hurry or len(self._waiting) >= self._batch_max:", "if hurry:"),
        ("patience ends", "patience_s, self._hurried.set)", "3600, self._hurried.set)"),
        ("company", "while offered > 0 and self._waiting:", "while self._waiting:"),
    )
    yield from guards(
        "gateway/gate.py",
        ("tests/faults/test_one_by_one.py",),
        (
            "a gateway's standing still reaps nobody",
            "            self.clock.observed,\n",
            "            time.monotonic,\n",
        ),
    )
    yield from guards(
        "gateway/gate.py",
        (*unit("gate"), *unit("ending")),
        (
            "it stops though a loop does not notice",
            "await end(self._tasks, _END_S)",
            "await end(self._tasks, 3600)",
        ),
    )
    yield from guards(
        "gateway/presence.py",
        unit("gateway_presence"),
        ("beats go before the gateway is back", "not await self._batcher.drain(FLUSH_S)", "False"),
        ("living nodes beat before it is back", "began < self._not_before or", ""),
    )
    yield from guards(
        "gateway/transport.py",
        unit("idle_sockets"),
        ("the head of the upgrade is let go", "self.request.headers.clear()", "pass"),
        (
            "a message is let go",
            'handle_text(event)\n        event.data = b""',
            "handle_text(event)",
        ),
        ("a small mailbox", "self.queue = Mailbox()", "_ = Mailbox()"),
        prefix="idle",
    )
    yield from guards(
        "gateway/connection.py",
        unit("idle_sockets"),
        (
            "a message is let go by the conversation",
            "                del event  #",
            "                #",
        ),
        prefix="idle",
    )
    yield from guards(
        "gateway/clock.py",
        unit("stall"),
        ("frames are as old as the standstill", "if self._floor is None else", "or"),
        ("standing still is nobody's silence", "return self.look() - self", "return 0 * self"),
    )
