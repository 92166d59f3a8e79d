"""The agent neither hammers a server, nor loses who it is, nor a job's result."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "muster/agent/backoff.py",
        unit("agent_backoff"),
        ("waits are drawn", "return self._uniform(0.0, bound)", "return bound"),
        ("no wait is too long", "bound = min(self._most_s, ", "bound = max(0.0, "),
        (
            "those told the same do not come at once",
            "self._uniform(asked_s, asked_s * _SPREAD)",
            "asked_s",
        ),
        prefix="agent backoff",
    )
    yield from guards(
        "muster/agent/endings.py",
        unit("agent_endings"),
        (
            "never is never",
            "        case Then.NEVER:\n            return Stop",
            "        case Then.NEVER:\n            return Again(Wait.BACK_OFF) or Stop",
        ),
        (
            "the next server",
            "return Again(Wait.BACK_OFF, elsewhere=True)\n        case Moving",
            "return Again(Wait.BACK_OFF)\n        case Moving",
        ),
        prefix="agent endings",
    )
    yield from guards(
        "muster/agent/conversation.py",
        unit("agent_conversation"),
        (
            "beats keep a distance",
            "self._due = min(self._due, max(now, self._not_before))",
            "self._due = now",
        ),
        ("beats are drawn", "self._uniform(0.8, 1.0) * self.interval_s", "self.interval_s"),
        (
            "models the server may not know",
            "models = report.models != self._models_told",
            "models = False",
        ),
        prefix="agent conversation",
    )
    yield from guards(
        "muster/agent/outbox.py",
        unit("agent_outbox"),
        (
            "how many are kept",
            "if self._closed or len(self._waiting) + len(self._sent) >= KEPT_MOST:",
            "if self._closed:",
        ),
        (
            "what a socket may have lost",
            "        self._again(result for result in self._sent if result.lives < LIVES_MOST)\n",
            "",
        ),
        ("what may be what ends sockets", "if result.lives < LIVES_MOST)", "if True)"),
        (
            "no faster than a gateway hears",
            "not self._waiting or self._tokens < 1 or",
            "not self._waiting or",
        ),
        prefix="agent outbox",
    )
    yield from guards(
        "muster/agent/identity.py",
        unit("agent_identity"),
        ("a copied disk", "if not same_machine(identity.fingerprint, fingerprint):", "if False:"),
        (
            "nobody else reads it",
            "os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)",
            "os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)",
        ),
        prefix="agent identity",
    )
