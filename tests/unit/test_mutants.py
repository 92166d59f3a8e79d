"""Each mutant still finds the guard it breaks: else `make mutants` stops long after the change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant, broken
from tests.mutants.rooms import mutants

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.name)
def test_a_mutant_matches_the_code_once_and_names_tests_that_exist(mutant: Mutant) -> None:
    for path, old, new in mutant.edits:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert broken(text, path, old, new) != text
    for test in mutant.tests:
        assert (ROOT / test.partition("::")[0]).exists(), test


def test_no_two_mutants_have_one_name() -> None:
    names = [mutant.name for mutant in mutants()]
    assert len(set(names)) == len(names)
