"""Settings come from the environment, say where, and refuse what cannot be."""

from __future__ import annotations

import json
import logging

import pytest

from gateway.settings import GatewaySettings
from registry.logs import JsonFormatter, TextFormatter, log
from registry.neighbours import SHARING
from registry.settings import (
    MASK,
    RegistrySettings,
    SettingsError,
    load,
    print_settings,
    rows,
    unknown_variables,
    variables,
    without_password,
)
from sweeper.settings import SweeperSettings

ALL = (RegistrySettings, GatewaySettings, SweeperSettings)


@pytest.mark.parametrize("cls", ALL)
def test_nothing_set_gives_the_defaults(cls: type[RegistrySettings]) -> None:
    assert load(cls, {}) == cls()
    assert {row.source for row in rows(cls(), {})} == {"default"}


@pytest.mark.parametrize("cls", ALL)
def test_every_setting_has_a_sentence(cls: type[RegistrySettings]) -> None:
    assert [row.name for row in rows(cls(), {}) if not row.help.endswith(".")] == []


def test_each_type_is_read_from_its_variable() -> None:
    made = load(
        GatewaySettings,
        {
            "MUSTER_PORT": "9000",
            "MUSTER_HEARTBEAT_INTERVAL_S": "0.25",
            "MUSTER_REQUIRE_NODE_TOKEN": "yes",
            "MUSTER_SECRET": "new, old",
            "MUSTER_LOCALE": "en",
            "MUSTER_PUBLIC_URL": "https://muster.example",
        },
    )
    assert made.port == 9000
    assert made.heartbeat_interval_s == 0.25
    assert made.require_node_token is True
    assert made.secret == ["new", "old"]
    assert made.locale == "en"
    assert made.public_url == "https://muster.example"


def test_an_empty_variable_counts_as_unset() -> None:
    assert load(GatewaySettings, {"MUSTER_PORT": " "}).port == 8080


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("MUSTER_PORT", "http", "a whole number"),
        ("MUSTER_PORT", "70000", "a port"),
        ("MUSTER_RETENTION_S", "a day", "a number"),
        ("MUSTER_RETENTION_S", "nan", "a number"),
        ("MUSTER_RETENTION_S", "-1", "a positive number"),
        ("MUSTER_FLAP_DAMPING", "maybe", "true or false"),
        ("MUSTER_LOCALE", "fr", "one of zh, en"),
        ("MUSTER_REDIS_PREFIX", "a{b}", "without braces"),
        ("MUSTER_REDIS_URL", "localhost:6379", "redis://"),
        ("MUSTER_HEARTBEAT_TIMEOUT_S", "15", "more than the heartbeat interval"),
        ("MUSTER_WINDOW_LENGTH", "2", "at least 3"),
        ("MUSTER_MASS_EXPIRY_FRACTION", "1.5", "at most 1"),
        ("MUSTER_WATCH_KEEPALIVE_S", "21", "at most 20"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(
    variable: str, value: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(GatewaySettings, {variable: value})
    assert caught.value.variable == variable
    assert expected in caught.value.expected
    assert variable in str(caught.value)


def test_an_unknown_variable_is_named_with_the_nearest_known_one() -> None:
    environ = {
        "MUSTER_HEARTBEAT_TIMOUT_S": "45",
        "PATH": "/bin",
    }
    assert unknown_variables(GatewaySettings, environ) == [
        (
            "MUSTER_HEARTBEAT_TIMOUT_S is not a setting and has no effect; "
            "did you mean MUSTER_HEARTBEAT_TIMEOUT_S?"
        )
    ]


@pytest.mark.parametrize("settings", [GatewaySettings, SweeperSettings])
def test_programs_that_share_an_environment_do_not_warn_of_each_others_settings(
    settings: type,
) -> None:
    theirs = [*variables(GatewaySettings), *variables(SweeperSettings)]
    others = ["MUSTER_SERVER", "MUSTER_TOKEN", "MUSTER_AGENT_SERVERS"]
    assert unknown_variables(settings, dict.fromkeys([*theirs, *others], "1")) == []


def test_what_is_known_of_other_programs_is_what_they_read_and_no_more() -> None:
    gateways, sweepers = set(variables(GatewaySettings)), set(variables(SweeperSettings))
    assert set(SHARING) == (gateways ^ sweepers) | {"MUSTER_SERVER", "MUSTER_TOKEN"}
    assert len(SHARING) == len(set(SHARING))


def test_a_secret_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"MUSTER_SECRET": "hush", "MUSTER_REDIS_URL": "redis://me:hush@db/0"}
    assert print_settings(GatewaySettings, [], environ) == 0
    assert print_settings(GatewaySettings, ["--json"], environ) == 0
    printed = capsys.readouterr().out
    assert "hush" not in printed
    assert f"MUSTER_SECRET={MASK}  [environment]" in printed


def test_settings_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_settings(SweeperSettings, ["--json"], {"MUSTER_SWEEPER_PORT": "0"}) == 0
    by_name = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert by_name["sweeper_port"]["value"] == "0"
    assert by_name["sweeper_port"]["source"] == "environment"
    assert by_name["sweeper_port"]["default"] == "9090"


def test_printing_a_bad_value_says_so_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_settings(SweeperSettings, [], {"MUSTER_SWEEPER_PORT": "x"}) == 2
    assert "MUSTER_SWEEPER_PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://db/0", "redis://db/0"),
        ("redis://:p@db/0", f"redis://:{MASK}@db/0"),
        ("redis+sentinel://u:p@a:1,b:2/m", f"redis+sentinel://u:{MASK}@a:1,b:2/m"),
    ],
)
def test_a_password_in_a_url_is_masked(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_log_line_has_its_action_and_no_secret(
    formatter: logging.Formatter, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("tests.logs")
    with caplog.at_level(logging.INFO):
        log(
            logger,
            logging.INFO,
            "node_registered",
            node_id="node-1",
            node_token="hush",
            path="/ws/node?token=hush&x=1",
            store="redis://u:hush@db/0",
        )
    line = formatter.format(caplog.records[0])
    assert "node_registered" in line
    assert "node-1" in line
    assert "hush" not in line
    assert "\n" not in line
