"""No event is left out, told twice, or told to whom it does not concern."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "registry/scripts/tail.lua",
        contract("tailing"),
        ("the place is there", "and not is_there(KEYS[i], place) then", "and false then"),
        ("every place is looked for", "(found[i] or ARGV[2] == '1') and", "found[i] and"),
        ("a beginning that was cut off", "not extent(key).trimmed", "true"),
        prefix="events, tail",
    )
    yield from guards(
        "registry/scripts/lib/event.lua",
        contract("tailing"),
        ("labels", "if labels ~= '' then", "if false then"),
        ("former labels", "if had ~= labels then", "if false then"),
        ("whole labels", "string.sub(line, 1, 6) ==", "string.match(line, 'label:') =="),
        ("an id of its own", "tonumber(taken) + bits)", "tonumber(taken) + 1)"),
        ("an id that is too large", "if #taken > 15 then", "if false then"),
        prefix="events, event",
    )
    yield from guards(
        "registry/tailing.py",
        contract("tailing"),
        ("order", "[event for event in found if event.id <= fullest]", "found"),
        (
            "a read has its turn",
            "        async with turn:\n            page",
            "        if True:\n            page",
        ),
        ("old or lost", "if trimmed and behind and place <= last else", "if True else"),
        prefix="events, tailing",
    )
    yield from guards(
        "registry/events.py",
        unit("events"),
        ("what is about no one node", "if not event.node_id:", "if False:"),
        ("the labels before", "former is not None and _meet(", "False and _meet("),
        prefix="events, events",
    )
    yield from guards(
        "registry/cursor.py",
        unit("cursor"),
        ("as it was written", "if str(made) != text:", "if False:"),
        prefix="events, cursor",
    )
    yield from guards(
        "gateway/api/frames.py",
        unit("events"),
        ("addresses inside", "if isinstance(detail, dict) and not for_admin:", "if False:"),
        ("addresses", '(for_admin and plain.get("address"))', 'plain.get("address")'),
        prefix="events, frames",
    )
    yield from guards(
        "gateway/ring.py",
        unit("ring"),
        ("numbers are used once", "if self._dropped or self.since != self.first:", "if False:"),
        ("what was dropped is not known", "self._known.discard(", "repr("),
        ("what was lost is not known", "self._known.clear()", "pass"),
        prefix="events, ring",
    )
    yield from guards(
        "gateway/tail.py",
        unit("tail"),
        ("the epoch", "if after.epoch != ring.start.epoch:", "if False:"),
        (
            "known places",
            "if ring.knows(after):\n            self._next",
            "if True:\n            self._next",
        ),
        ("what another gateway told", "if event.id <= place.places[event.partition]:", "if False:"),
        (
            "until now is the store's",
            "watch.due = await self._registry.event_cursor()",
            "pass",
        ),
        ("only who asked ends", "if to_now:", "if True:"),
        (
            "nobody waits behind who asks the sentinels",
            "self.page(cursor.places, lacking, sure=False)",
            "self.page(cursor.places, lacking)",
        ),
        ("two read at once", "turn=self._pages, ", ""),
        ("a loss", "await self._lose(self._ring, page.loss)", "pass"),
        (
            "nobody watches",
            "if not self._watchers:",
            "if self._ring is None and not self._watchers:",
        ),
        ("who fell behind", "if self._next < ring.first:", "if False:"),
        ("a stopping gateway", "if tail.ended or self", "if self"),
        prefix="events, tail",
    )
