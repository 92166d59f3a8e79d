"""How things look on a terminal, whatever machines and people write."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from muster.cli import happenings, looks, numbers, roll, selections, telling, topping
from muster.cli.looks import Column, Fitting
from muster.cli.remote import clean
from muster.client import Explanation, Fleet, Gpu, Node, NodeStory
from muster.client.answers import Chosen
from muster.client.errors import problem
from tests.support import screens


def drawn(what: RenderableType, columns: int = 80) -> list[str]:
    """What stands on a terminal, without colours."""
    console = Console(
        width=columns,
        file=io.StringIO(),
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None,
    )
    with console.capture() as captured:
        console.print(what)
    return captured.get().splitlines()


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (-5, "0s"),
        (999, "0s"),
        (119_999, "119s"),
        (120_000, "2m"),
        (2 * 3_600_000 - 1, "119m"),
        (2 * 3_600_000, "2h"),
        (48 * 3_600_000 - 1, "47h"),
        (48 * 3_600_000, "2d"),
        (400 * 86_400_000, "400d"),
    ],
)
def test_an_age_is_in_the_unit_that_tells_enough(ms: int, shown: str) -> None:
    assert looks.age(ms) == shown


def test_equal_cards_are_counted() -> None:
    gpus = [Gpu("L40S", 48), Gpu("RTX 3090", 24), Gpu("L40S", 48)]
    assert looks.cards(gpus) == "2× L40S 48G, RTX 3090 24G"


TABLE = Fitting(
    (Column("ID"), Column("STATE"), Column("N", rank=1, right=True), Column("WHY", rank=2, most=9)),
    [("node-A", "ready", "7", "because of the fans"), ("node-BCD", "offline", "1234", "no")],
)


def test_columns_go_by_rank_where_the_width_does_not_suffice() -> None:
    assert drawn(TABLE) == [
        "ID        STATE       N  WHY",
        "node-A    ready       7  because …",
        "node-BCD  offline  1234  no",
    ]
    assert drawn(TABLE, 30)[0].split() == ["ID", "STATE", "N"]
    assert drawn(TABLE, 20)[0].split() == ["ID", "STATE"]


def test_an_id_is_never_cut() -> None:
    assert drawn(TABLE, 12)[2] == "node-BCD  o…"
    assert "".join(drawn(TABLE, 5)).replace(" ", "").count("node-BCD") == 1


def test_what_goes_elsewhere_than_to_a_terminal_is_not_cut() -> None:
    assert "because of the fans" in drawn(TABLE, looks.WIDE)[1]


def test_every_state_has_a_mark_and_a_word_also_in_ascii() -> None:
    assert {looks.state(status).plain for status in looks.MARKS} == {
        *("● ready", "◐ registering", "▲ degraded", "▼ draining", "○ offline")
    }
    plain = [looks.state(status, ascii_only=True).plain for status in looks.MARKS]
    assert all(text.isascii() for text in plain)
    assert len(set(plain)) == 5
    assert looks.state("sleeping").plain == "? sleeping"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_every_screen_fits_and_is_ascii_where_it_must_be(columns: int) -> None:
    story, explanation = screens.story()
    shown: Iterable[RenderableType] = (
        roll.table(screens.NODES, screens.AT, ascii_only=True),
        telling.story(story, explanation, ascii_only=True),
        telling.explanation(explanation, ascii_only=True),
        numbers.fleet(screens.FLEET, ascii_only=True),
        topping.picture(screens.FLEET, screens.NODES, screens.EVENTS, "", ascii_only=True),
    )
    for screen in shown:
        lines = drawn(screen, columns)
        assert max(map(len, lines)) <= columns
        assert all(line.replace("…", "").replace("×", "").isascii() for line in lines)


def test_what_an_operator_should_know_at_once_is_said() -> None:
    def warned(**more: Any) -> list[str]:
        fleet = msgspec.to_builtins(screens.FLEET) | more
        return list(numbers.warnings(msgspec.convert(fleet, Fleet)))

    assert warned() == []
    assert "No sweeper runs" in warned(sweepers=0)[0]
    assert "3 partitions are not watched" in warned(watch={"partitions": 64, "watched": 61})[0]
    silent = {"at": screens.AT - 60_000, "lost": 40, "living": 3}
    assert "40 machines fell silent at once 60s ago; 3 are left." in warned(mass_expiry=silent)
    brake = {"since": screens.AT, "until": screens.AT + 90_000, "waiting": 7}
    (said,) = warned(brake=brake)
    assert "90s more: 7 silent machines" in said
    assert "muster release-brake" in said


def test_a_text_is_shown_without_what_would_move_the_cursor() -> None:
    assert clean("显卡 \x1b[31mred\r\n\u202eleft\x9b1m") == "显卡 �[31mred���left�1m"


ANY = st.text(st.characters(), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def anything(draw: st.DrawFn, type_: Any) -> Any:
    """An answer of this type with any texts and any free parts: machines and people wrote them."""
    return msgspec.convert(
        {field.encode_name: draw(_value(field.type)) for field in msgspec.structs.fields(type_)},
        type_,
    )


def _value(type_: Any) -> st.SearchStrategy[Any]:
    info: Any = msgspec.inspect.type_info(type_)
    match info:
        case msgspec.inspect.StrType():
            return ANY
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.IntType():
            return st.integers(-1, 2**42)
        case msgspec.inspect.FloatType():
            return st.floats(0, 1e6)
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.StructType():
            return st.fixed_dictionaries(
                {f.encode_name: _value(f.type) for f in msgspec.structs.fields(info.cls)}
            )
        case msgspec.inspect.VarTupleType():
            return st.lists(_of(info.item_type), max_size=2)
        case msgspec.inspect.DictType():
            return st.dictionaries(ANY, _of(info.value_type), max_size=3)
        case msgspec.inspect.UnionType():
            return st.one_of([_of(part) for part in info.types])
        case _:
            return JSON


def _of(info: Any) -> st.SearchStrategy[Any]:
    """The same for what msgspec says of a part."""
    if isinstance(info, msgspec.inspect.StructType):
        return _value(info.cls)
    plain: dict[Any, Any] = {
        msgspec.inspect.StrType: str, msgspec.inspect.BoolType: bool, msgspec.inspect.IntType: int,
        msgspec.inspect.FloatType: float, msgspec.inspect.NoneType: type(None),
    }  # fmt: skip
    if isinstance(info, msgspec.inspect.DictType):
        return st.dictionaries(ANY, _of(info.value_type), max_size=3)
    if isinstance(info, msgspec.inspect.VarTupleType):
        return st.lists(_of(info.item_type), max_size=2)
    return _value(plain[type(info)]) if type(info) in plain else JSON


def harmless(lines: list[str]) -> bool:
    return all(line.isprintable() for line in lines)


@given(anything(NodeStory), anything(Explanation), st.sampled_from([30, 80, 200]))
def test_nothing_that_a_machine_wrote_moves_the_cursor_or_breaks_a_screen(
    story: NodeStory, explanation: Explanation, columns: int
) -> None:
    assert harmless(drawn(telling.story(story, explanation), columns))
    assert harmless(drawn(telling.explanation(explanation), columns))
    node = msgspec.convert(msgspec.to_builtins(story), Node)
    assert harmless(drawn(roll.table([node, node], 0), columns))


@given(st.lists(st.dictionaries(st.sampled_from([
    "type", "node_id", "from", "to", "reason", "at", "who", "why", "changes", "evidence", "gateway",
]), JSON), max_size=3))  # fmt: skip
def test_no_event_moves_the_cursor_or_breaks_a_screen(events: list[dict[str, Any]]) -> None:
    for event in events:
        assert harmless(drawn(happenings.line(event, 0)))


@given(anything(Chosen), anything(Fleet), JSON)
def test_no_answer_moves_the_cursor_or_breaks_a_screen(
    chosen: Chosen, fleet: Fleet, value: Any
) -> None:
    assert harmless(drawn(selections.table([chosen], 0)))
    assert harmless(drawn(numbers.fleet(fleet)))
    document = {
        "code": "NO_AVAILABLE_NODE",
        "title": "nobody",
        "reasons": {"a\x1b[31m": 1},
        "nearest": [{"node_id": "n\r", "lacks": [{"reason": "\x07", "wanted": value}]}],
    }
    error = problem(404, document)
    assert harmless(drawn(selections.missed(error)))  # type: ignore[arg-type]
