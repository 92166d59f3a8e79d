"""How the store is reached: whom we believe, and what is read how often."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards, integration, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/trust.py",
        unit("trust"),
        ("one context for all", "if self.context is None or found != self._read:", "if True:"),
        ("renewed files", "self.context is None or found != self._read", "self.context is None"),
        (
            "nobody beside the named authority",
            "create_default_context(cafile=self.ca_certs)",
            "create_default_context(); context.load_verify_locations(self.ca_certs)",
        ),
        ("connections share it", "            self.ssl_context = trust\n", "            pass\n"),
        (
            "hosts are compared",
            "context.check_hostname = self.check_hostname",
            "context.check_hostname = False",
        ),
    )
    yield from guards(
        "registry/store.py",
        contract("what_goes_ahead"),
        ("beats go ahead", "nullcontext() if urgent else", "nullcontext() if False else"),
        ("a crowd waits", "nullcontext() if urgent else", "nullcontext() if True else"),
        keyword="not fakeredis and not cluster",
    )
    yield from guards(
        "registry/store.py",
        integration("turns_at_the_store"),
        ("a crowd is told at once", "if self._unanswered >= came and", "if False and"),
        ("who comes later tries it", "if self._unanswered >= came and", "if True and"),
        ("one broken connection", "if now - self._answered >= self.timeout_s:", "if True:"),
        (
            "a store that loads",
            "isinstance(error, _LOST) and not _passing(error)",
            "isinstance(error, _LOST)",
        ),
        prefix="store, turns",
    )
    yield from guards(
        "registry/opening.py",
        integration("turns_at_the_store"),
        (
            "in the order in which they came",
            "single=True, at_once=_CONNECTIONS",
            "single=True, at_once=AT_ONCE_MOST",
        ),
        (
            "behind Sentinel too",
            "        at_once=_CONNECTIONS,\n",
            "        at_once=AT_ONCE_MOST,\n",
        ),
        prefix="opening, turns",
    )
    yield from guards(
        "registry/opening.py",
        unit("store_explanations") + integration("mute_sentinels"),
        ("sentinels are not asked again within", ', "retry": Retry(NoBackoff(), 0)}', "}"),
        prefix="opening, sentinels",
    )
    yield from guards(
        "registry/writing.py",
        contract("what_goes_ahead"),
        (
            "packed when its turn has come",
            'self.store.call("register", keys, packed)',
            'self.store.call("register", keys, packed())',
        ),
        ("nobody is written too late to beat", "if waited_s > new.patience_s:", "if False:"),
        keyword="registration_that_waited",
    )
    yield from guards(
        "registry/opening.py",
        unit("store_explanations"),
        ("a door that closes at once", "    if closed and not reached:  #", "    if False:  #"),
    )
    yield from guards(
        "registry/ending.py",
        unit("ending"),
        ("nobody waits for ever", "timeout=most_s", "timeout=None"),
        ("they are waited for", "    if tasks:\n", "    if False:\n"),
        ("they are ended", "        task.cancel()\n", "        pass\n"),
    )
    yield from guards(
        "registry/subscription.py",
        contract("subscriptions_that_lose_their_server"),
        (
            "a bug leaves nobody deaf",
            'log(logger, logging.ERROR, "listening_failed", exc_info=error)',
            "raise",
        ),
        ("all failures are looked at", "task.add_done_callback(_looked_at)", "pass"),
        keyword="begins_again or asked_why",
    )
    yield from guards(
        "registry/primary.py",
        contract("one_primary_at_a_time"),
        ("what broke asks the sentinels", "if not self.is_connected:", "if False:"),
        (
            "who was primary is not believed",
            "if self.connection_pool.master_address not in (None, (self.host, self.port)):",
            "if False:",
        ),
        ("the sentinels are asked all the time", "await pool.get_master_address()", "pass"),
        keyword="",
    )
    yield from guards(
        "registry/tailing.py",
        contract("one_primary_at_a_time"),
        (
            "a place unknown here may be known to a new primary",
            "page.loss is Loss.STORE_LOST_EVENTS and await self.store.look_for_primary()",
            "False",
        ),
        keyword="called_lost",
    )
    yield from guards(
        "registry/store.py",
        contract("one_primary_at_a_time"),
        (
            "sentinels that do not answer change nothing",
            "with contextlib.suppress(*_LOST, rx.RedisError):",
            "with contextlib.nullcontext():",
        ),
        ("a look is shared", "await self._look.had()", "await self._ask_sentinels()"),
        keyword="lost",
        prefix="store, sentinels",
    )
    yield from guards(
        "registry/shared_look.py",
        unit("shared_look"),
        ("one is enough for all", "if self._ended > before:", "if False:"),
        ("none that had begun before", "before = self._begun", "before = self._ended"),
        (
            "one that came to its end",
            "self._begun += 1\n",
            "self._begun += 1; self._ended = self._begun\n",
        ),
    )
    yield from guards(
        "registry/primary.py",
        unit("primary"),
        ("the newest configuration", "newest = max(words", "newest = min(words"),
        (
            "who leads a failover",
            "up = replaced or not (state",
            "up = not (state",
        ),
        ("a primary that is down", "if newest is None or not newest.up:", "if newest is None:"),
        (
            "others are waited for once",
            "while pending and not last:",
            "while pending and (not last or done):",
        ),
        ("others are not waited for", "timeout=_OTHERS_S if last else None", "timeout=None"),
        (
            "what was heard before is remembered",
            " and answer.epoch >= self._newest[service][0]:",
            ":",
        ),
        ("not for ever", " or now - heard > _REMEMBERED_S:", ":"),
        ("a question goes on", "if task is None or task.done():", "if True:"),
        ("closing ends it", "        await end(self._asked.values())\n", ""),
    )
