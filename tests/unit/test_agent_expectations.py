"""What was expected is told in Chinese too, and a setting by the name its owner gave it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from muster.agent import config, expectations, texts
from muster.agent.config import AgentConfig, variable_of
from muster.agent.options import as_given
from muster.agent.simulated import SimulateError, simulated
from muster.wire import kinds

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "muster" / "agent").glob("*.py"), ROOT / "muster" / "cli" / "agent.py"]
EXPECTED_AT = {
    "ConfigError": 1,
    "_Unfit": 1,
    "_unfit": 1,
    "_end_for_setting": 1,
    "setting": 1,
    "_problem": 2,
}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def written() -> set[str]:
    """Every expectation the agent's sources write out."""
    found: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            at = EXPECTED_AT.get(name)
            if (
                at is None
                or len(node.args) <= at
                or (path.name == "config.py" and name == "setting")
            ):
                continue
            argument = node.args[at]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.add(argument.value)
    return found


KINDS = {kind.expected for kind in vars(kinds).values() if isinstance(kind, kinds.Kind)}
PARSED = {expected for _, expected in config._PARSERS.values()}


@pytest.mark.parametrize("expected", sorted(written() | KINDS | PARSED))
def test_every_expectation_is_told_in_chinese(expected: str) -> None:
    assert CHINESE.search(expectations.said(expected, "zh")), expected
    assert expectations.said(expected, "en") == expected


def test_the_expectations_were_all_found() -> None:
    assert len(written()) > 15


@pytest.mark.parametrize("entry", ["RTX 4090", "a:0", ",".join(["a:1"] * 65)])
def test_what_does_not_describe_cards_is_told_in_chinese(entry: str) -> None:
    with pytest.raises(SimulateError) as raised:
        simulated(entry)
    told = texts.setting("simulate", raised.value.expected, raised.value.entry, "zh")
    assert "expected" not in told.what
    assert CHINESE.search(told.what.partition("应为")[2].partition("实际")[0])


@pytest.mark.parametrize("name", AgentConfig.__dataclass_fields__)
def test_a_setting_is_named_by_its_variable_and_its_option_if_it_has_one(name: str) -> None:
    told = texts.setting(name, "a number", "none", "en").what
    assert variable_of(name) in told
    assert f" {name}:" not in told


def test_what_is_no_setting_keeps_its_name() -> None:
    assert as_given("--models-dir, --models-file") == "--models-dir, --models-file"
    assert as_given("MUSTER_AGENT_LOCALE") == "MUSTER_AGENT_LOCALE"
