"""An agent's settings: from arguments, the environment, defaults; what can't be is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from muster.agent.config import (
    AgentConfig,
    ConfigError,
    default_state_dir,
    read_labels,
    shown_url,
    socket_url,
    variable_of,
)


def test_nothing_set_gives_the_defaults() -> None:
    assert AgentConfig.load({}) == AgentConfig()


def test_every_field_is_read_from_its_variable() -> None:
    environ = {
        "servers": "wss://a.example, wss://b.example/other",
        "join_token": "secret",
        "tls_cert_file": "/etc/node.pem",
        "tls_key_file": "/etc/node.key",
        "models_dir": "/models",
        "models_file": "/etc/models.toml",
        "state_dir": "/state",
        "labels": "region=eu-1, owner=me",
        "accept_public_jobs": "no",
        "max_concurrent_jobs": "3",
        "simulate": "RTX 4090:24",
        "drain_timeout_s": "0",
        "status_port": "8099",
        "locale": "en",
        "log_format": "json",
        "gpu_interval_s": "1.5",
        "gpu_deadline_s": "0.5",
        "probe_deadline_s": "4",
        "reprobe_interval_s": "5",
        "models_debounce_s": "0",
        "connect_timeout_s": "6",
        "backoff_first_s": "0.1",
        "backoff_most_s": "7",
    }
    assert set(environ) == {field.name for field in dataclasses.fields(AgentConfig)}
    made = AgentConfig.load({variable_of(name): text for name, text in environ.items()})
    assert made == AgentConfig(
        servers=("wss://a.example/ws/node", "wss://b.example/other"),
        join_token="secret",
        tls_cert_file=Path("/etc/node.pem"),
        tls_key_file=Path("/etc/node.key"),
        models_dir=Path("/models"),
        models_file=Path("/etc/models.toml"),
        state_dir=Path("/state"),
        labels={"region": "eu-1", "owner": "me"},
        accept_public_jobs=False,
        max_concurrent_jobs=3,
        simulate="RTX 4090:24",
        drain_timeout_s=0.0,
        status_port=8099,
        locale="en",
        log_format="json",
        gpu_interval_s=1.5,
        gpu_deadline_s=0.5,
        probe_deadline_s=4.0,
        reprobe_interval_s=5.0,
        models_debounce_s=0.0,
        connect_timeout_s=6.0,
        backoff_first_s=0.1,
        backoff_most_s=7.0,
    )


def test_what_is_given_wins_over_the_environment() -> None:
    environ = {"MUSTER_AGENT_LOCALE": "en", "MUSTER_AGENT_STATUS_PORT": "1"}
    made = AgentConfig.load(environ, status_port=2, locale=None)
    assert (made.status_port, made.locale) == (2, "en")


def test_an_empty_variable_counts_as_unset() -> None:
    assert AgentConfig.load({"MUSTER_AGENT_STATUS_PORT": " "}).status_port is None


def test_every_setting_has_a_sentence() -> None:
    fields = dataclasses.fields(AgentConfig)
    assert [f.name for f in fields if not f.metadata["help"].endswith(".")] == []


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("MUSTER_AGENT_STATUS_PORT", "many", "a whole number"),
        ("MUSTER_AGENT_GPU_INTERVAL_S", "soon", "a number"),
        ("MUSTER_AGENT_ACCEPT_PUBLIC_JOBS", "perhaps", "true or false"),
        ("MUSTER_AGENT_LOCALE", "fr", "one of zh, en"),
        ("MUSTER_AGENT_LOG_FORMAT", "xml", "one of auto, text, json"),
        ("MUSTER_AGENT_LABELS", "region", "name=value"),
        ("MUSTER_AGENT_SERVERS", "dispatcher.example.com", "a URL"),
    ],
)
def test_a_bad_value_is_named_with_what_was_expected(
    variable: str, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        AgentConfig.load({variable: text})
    assert refused.value.expected.startswith(expected)
    assert text in refused.value.got
    assert refused.value.name in (variable, "labels", "servers")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("gpu_interval_s", 0.0),
        ("backoff_first_s", -1.0),
        ("connect_timeout_s", float("inf")),
        ("drain_timeout_s", float("nan")),
        ("max_concurrent_jobs", 0),
        ("status_port", 65536),
        ("labels", {"k": "v" * 257}),
        ("labels", {f"k{n}": "v" for n in range(33)}),
    ],
)
def test_what_cannot_be_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        AgentConfig(**{field: value})
    assert refused.value.name == field


@pytest.mark.parametrize(
    ("given", "dialled"),
    [
        ("ws://host:8080", "ws://host:8080/ws/node"),
        ("wss://host/", "wss://host/ws/node"),
        ("https://host", "wss://host/ws/node"),
        ("http://host:1", "ws://host:1/ws/node"),
        ("wss://host/muster/ws/node?token=t", "wss://host/muster/ws/node?token=t"),
        ("ws://[::1]:8080", "ws://[::1]:8080/ws/node"),
    ],
)
def test_a_server_is_dialled_at_the_documents_path_unless_another_is_given(
    given: str, dialled: str
) -> None:
    assert socket_url(given) == dialled
    assert socket_url(dialled) == dialled


@pytest.mark.parametrize("url", ["", "host", "ftp://host", "ws://", "ws://host:port", "wss:///x"])
def test_what_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        socket_url(url)


def test_what_is_shown_of_a_server_holds_no_secret() -> None:
    shown = shown_url("wss://user:password@host:1/ws/node?token=secret")
    assert shown == "wss://host:1/ws/node"


def test_a_label_may_hold_an_equals_sign() -> None:
    assert read_labels(["a=b=c", " d = e "]) == {"a": "b=c", "d": "e"}


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"XDG_STATE_HOME": "/s"}, "/s/muster"),
        ("linux", {}, "~/.local/state/muster"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/muster"),
        ("win32", {}, "~/AppData/Local/muster"),
        ("darwin", {"XDG_STATE_HOME": "/s"}, "~/Library/Application Support/muster"),
    ],
)
def test_state_is_kept_where_the_platform_keeps_it(
    platform: str, environ: dict[str, str], expected: str
) -> None:
    assert default_state_dir(environ, platform) == Path(expected).expanduser()
