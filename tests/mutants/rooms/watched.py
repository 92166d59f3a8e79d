"""What operators are told: the doctor, the sweepers' counts, bugs and problems that are counted."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, contract, guards, integration, unit

_PROBLEMS = ("tests/api/test_problems.py",)


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "sweeper/loop.py",
        contract("sweeping"),
        ("who is cut off lets go", "            self._let_go()\n", "            pass\n"),
        (
            "not before its leases lapsed",
            "self.watch.last_look > self.settings.lease_ttl_s:",
            "self.watch.last_look > 0:",
        ),
        ("nodes of others", "        self.metrics.nodes.clear()\n", ""),
        keyword="cut_off and valkey",
    )
    yield from guards(
        "gateway/api/doctor.py",
        _PROBLEMS,
        ("patience", "asyncio.timeout(patience_s)", "asyncio.timeout(None)"),
        (
            "a store that is away",
            "    except StoreUnavailable as error:",
            "    except KeyError as error:",
        ),
        keyword="needs_no_store",
    )
    yield from guards(
        "gateway/examining.py",
        unit("examining"),
        (
            "who runs, unknown",
            "    if not seen.refused:\n        yield from",
            "    if True:\n        yield from",
        ),
        (
            "nothing else of a silent store",
            '        return\n    yield Finding("store_answers"',
            '    yield Finding("store_answers"',
        ),
    )
    yield from guards(
        "registry/problems.py",
        unit("examining"),
        ("nearly full", "if used > most * _FULL > 0:", "if used >= most > 0:"),
    )
    yield from guards(
        "registry/logs.py",
        unit("counting_bugs"),
        ("our own alone", ' and record.name.partition(".")[0] == "muster"', ""),
        ("with a traceback", "if record.exc_info and", "if True and"),
        ("errors", "super().__init__(logging.ERROR)", "super().__init__(logging.DEBUG)"),
    )
    yield from guards(
        "gateway/server.py",
        integration("bugs_are_counted"),
        ("gateways count bugs", "    count_bugs(app.state.metrics.bugs.inc)\n", ""),
    )
    yield from guards(
        "sweeper/__main__.py",
        integration("bugs_are_counted"),
        ("sweepers count bugs", "    count_bugs(metrics.bugs.inc)\n", ""),
    )
    yield from guards(
        "gateway/guard.py",
        integration("problems_are_counted", "bugs_are_counted"),
        ("problems are counted", 'scope["state"].get("problem"):', "None:"),
    )
