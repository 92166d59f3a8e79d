"""`muster token` makes and hashes tokens, and says what is wrong."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from muster.cli.main import app
from muster.wire.bearer import Entry, Role, digest, entries, new_token


def muster(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["token", *arguments], input=stdin)


def test_a_new_token_is_printed_with_the_line_that_admits_it() -> None:
    said = muster("new", "--name", "scheduler", "--role", "read")
    assert said.exit_code == 0
    words = said.stdout.split()
    (token,) = [word for word in words if word.startswith("mst_")]
    (line,) = [word for word in words if word.startswith("scheduler:")]
    assert entries([line]) == [Entry("scheduler", Role.READ, digest(token))]
    assert token not in line


def test_as_json_it_has_every_part() -> None:
    said = muster("new", "--name", "team-x", "--role", "admin", "--owner", "x", "--json")
    assert said.exit_code == 0
    made = json.loads(said.stdout)
    assert sorted(made) == ["entry", "hash", "name", "owner", "role", "token"]
    assert made["hash"] == digest(made["token"])
    assert entries([made["entry"]]) == [Entry("team-x", Role.ADMIN, made["hash"], "x")]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--role", "read"], "--name"),
        (["--name", "a"], "--role"),
        (["--name", "a", "--role", "write"], "--role"),
        (["--name", "a b", "--role", "read"], "--name"),
        (["--name", "local", "--role", "read"], "--name"),
        (["--name", "a", "--role", "read", "--owner", ""], "--owner"),
        (["--name", "a", "--role", "read", "--owner", "x,y"], "--owner"),
    ],
)
def test_wrong_usage_is_named_and_makes_no_token(arguments: list[str], named: str) -> None:
    said = muster("new", *arguments)
    assert said.exit_code == 2
    assert named in said.stderr
    assert said.stdout == ""


def test_a_token_on_standard_input_is_hashed() -> None:
    token = new_token()
    said = muster("hash", stdin=token + "\n")
    assert said.exit_code == 0
    assert said.stdout == digest(token) + "\n"


@pytest.mark.parametrize(
    ("stdin", "said_why"), [("", "standard input"), ("hunter2\n", "guessed"), ("mst_x\n", "whole")]
)
def test_what_is_no_token_is_refused_without_repeating_it(stdin: str, said_why: str) -> None:
    said = muster("hash", stdin=stdin)
    assert said.exit_code == 2
    assert said.stdout == ""
    assert said_why in said.stderr
    assert not stdin.strip() or stdin.strip() not in said.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["new", "--help"], ["hash", "-h"]])
def test_help_has_examples(arguments: list[str]) -> None:
    said = muster(*arguments)
    assert said.exit_code == 0
    assert "Examples:\n    muster token" in said.stdout
