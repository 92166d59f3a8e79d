"""Where things lie in a picture."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bench.drawing import Plot, Scale, page, rounded, spread, words


def test_words_that_lie_apart_stay_where_they_are_wanted() -> None:
    assert spread([90.0, 10.0, 50.0], 100.0) == [90.0, 10.0, 50.0]


def test_words_that_would_lie_on_each_other_are_moved_apart_in_their_order() -> None:
    wanted = [52.0, 50.0, 51.0, 50.5]
    found = spread(wanted, 100.0)
    by_height = sorted(range(4), key=lambda place: found[place])
    assert by_height == sorted(range(4), key=lambda place: wanted[place])
    assert all(b - a >= 12 for a, b in pairwise(sorted(found)))


def test_nothing_is_moved_below_the_lowest_line() -> None:
    found = spread([95.0, 96.0, 97.0], 100.0)
    assert max(found) == 100.0
    assert sorted(found) == [76.0, 88.0, 100.0]


def test_on_a_tenfold_axis_each_factor_of_ten_is_as_long() -> None:
    scale = Scale.of([3.0, 250.0])
    assert (scale.low, scale.high) == (1.0, 1000.0)
    assert scale.tens == [1.0, 10.0, 100.0, 1000.0]
    assert [scale.part(ten) for ten in scale.tens] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_values_of_one_power_of_ten_have_an_axis_of_one() -> None:
    assert Scale.of([100.0]).tens == [100.0, 1000.0]


def test_more_is_higher_and_later_is_further_right() -> None:
    plot = Plot(50, 20, 200, 100, Scale(0, 10), Scale(0, 5))
    assert (plot.x_of(0), plot.x_of(10), plot.y_of(0), plot.y_of(5)) == (50, 250, 120, 20)
    assert '"50.0,120.0 150.0,70.0"' in plot.line([(0, 0), (5, 2.5)], "#000")


@pytest.mark.parametrize(
    ("most", "edge"), [(0.0, 1.0), (0.3, 0.5), (1.0, 1.0), (1.1, 2.0), (42.0, 50.0), (70.0, 100.0)]
)
def test_the_edge_of_an_axis_is_a_round_number(most: float, edge: float) -> None:
    assert rounded(most) == pytest.approx(edge)


def test_what_is_said_cannot_break_the_picture() -> None:
    picture = page(10, 10, [words(1, 1, "a <b> & c")])
    assert "a &lt;b&gt; &amp; c" in picture
    assert picture.startswith("<svg") and picture.endswith("</svg>\n")
