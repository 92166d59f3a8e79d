"""What a frame may be, and what it is taken for."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards, unit


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        "muster/wire/reading.py",
        unit("wire_reading"),
        (
            "how large, of text beyond ASCII",
            'return len(data.encode(errors="replace")) > max_bytes',
            "return False",
        ),
        (
            "how large, read quickly",
            "if quick is not None and not _oversize(data, max_report_bytes):",
            "if quick is not None:",
        ),
        ("what is no object", "if type(message) is not dict:", "if False:"),
        (
            "an empty id is none",
            'fields.optional("node_id", STRING) or None',
            'fields.optional("node_id", STRING)',
        ),
        prefix="wire reading",
    )
    yield from guards(
        "muster/wire/kinds.py",
        unit("wire_reading"),
        ("numbers are finite", "type(value) is float and math.isfinite(value)", "True"),
        (
            "integers too large for one",
            "if value.bit_length() < FINITE_MOST_BITS else",
            "if 1 else",
        ),
        ("true is no number", "value if type(value) is int and least", "value if least"),
        prefix="wire kinds",
    )
    yield from guards(
        "muster/wire/registering.py",
        unit("wire_reading"),
        (
            "labels' names stay in a line",
            "if not (IN_A_LINE.fullmatch(key) and IN_A_LINE.fullmatch(value)):",
            "if not IN_A_LINE.fullmatch(value):",
        ),
        (
            "labels' values stay in a line",
            "if not (IN_A_LINE.fullmatch(key) and IN_A_LINE.fullmatch(value)):",
            "if not (IN_A_LINE.fullmatch(key) and IN_A_LINE.match(value)):",
        ),
        prefix="wire registering",
    )
    yield from guards(
        "muster/wire/codec.py",
        unit("wire_reading"),
        ("what JSON lacks", "    _refuse_what_json_lacks(value)\n", ""),
        ("frames nested too deeply", "except RecursionError:", "except ZeroDivisionError:"),
        prefix="wire codec",
    )
    yield from guards(
        "muster/wire/fields.py",
        unit("wire_reading"),
        ("how many warnings", "if len(self._said) < WARNINGS_MOST:", "if True:"),
        (
            "nothing readable is not a report of nothing",
            "return tuple(taken) if taken or not values else None",
            "return tuple(taken)",
        ),
        prefix="wire fields",
    )
