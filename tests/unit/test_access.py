"""Who may ask what: tokens, the open rule, roles."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Scope

from gateway.access import ANYONE, LOCAL, Access, Principal, require, role_needed
from gateway.loopback import is_loopback
from gateway.problem import ProblemError
from gateway.settings import GatewaySettings
from muster.wire.bearer import Entry, Role, digest
from registry.settings import SettingsError

READER, ADMIN, TEAM = ("mst_" + letter * 43 for letter in "rat")


def line(name: str, role: Role, token: str, owner: str | None = None) -> str:
    return Entry(name, role, digest(token), owner).line()


LINES = [
    line("scheduler", Role.READ, READER),
    line("ops", Role.ADMIN, ADMIN),
    line("team-x", Role.ADMIN, TEAM, "x"),
]


def request(client: str | None = "127.0.0.1", **headers: str) -> Scope:
    """A request's scope; `host_` writes Host, as every keyword is a header's name."""
    found = {"host": "127.0.0.1:8080"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return {
        "type": "http",
        "method": "GET",
        "path": "/v1/nodes",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in found.items()],
        "client": (client, 50000) if client else None,
    }


def bearer(token: str) -> Scope:
    return request(authorization=f"Bearer {token}")


def refused(access: Access, scope: Scope) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        access.who(scope)
    return caught.value


# --- tokens


def test_each_token_is_its_holders() -> None:
    access = Access(GatewaySettings(api_tokens=LINES))
    assert access.who(bearer(READER)) == Principal("scheduler", Role.READ)
    assert access.who(bearer(ADMIN)) == Principal("ops", Role.ADMIN)
    assert access.who(bearer(TEAM)) == Principal("team-x", Role.ADMIN, "x")


@pytest.mark.parametrize(
    "authorization",
    [
        f"bearer {READER}",
        f"BEARER   {READER}  ",
    ],
)
def test_the_scheme_is_written_as_one_likes(authorization: str) -> None:
    access = Access(GatewaySettings(api_tokens=LINES))
    assert access.who(request(authorization=authorization)).name == "scheduler"


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, "Bearer"),
        ({"authorization": ""}, "Bearer"),
        ({"authorization": "Bearer"}, "Bearer"),
        ({"authorization": "Bearer "}, "Bearer"),
        ({"authorization": f"Basic {READER}"}, "Bearer"),
        ({"authorization": READER}, "Bearer"),
        ({"authorization": f"Bearer {READER[:-1]}"}, 'Bearer error="invalid_token"'),
        ({"authorization": f"Bearer {READER}x"}, 'Bearer error="invalid_token"'),
        ({"authorization": f"Bearer {digest(READER)}"}, 'Bearer error="invalid_token"'),
        ({"authorization": "Bearer \xe9\xff"}, 'Bearer error="invalid_token"'),
        ({"cookie": f"token={READER}"}, "Bearer"),
    ],
)
def test_without_a_right_token_the_answer_is_401(headers: dict[str, str], challenge: str) -> None:
    problem = refused(Access(GatewaySettings(api_tokens=LINES)), request(**headers))
    assert (problem.status, problem.code) == (401, "UNAUTHORIZED")
    assert problem.headers["WWW-Authenticate"] == challenge
    assert READER[:-1] not in str(problem)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_tokens_are_asked_for_wherever_the_gateway_listens(host: str) -> None:
    access = Access(GatewaySettings(host=host, api_tokens=LINES))
    assert refused(access, request()).code == "UNAUTHORIZED"
    assert access.who(request(host="muster.example", authorization=f"Bearer {ADMIN}")).name == "ops"


def test_every_kept_hash_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(kept: bytes, presented: bytes) -> bool:
        compared.append(kept)
        return kept == presented

    monkeypatch.setattr("gateway.access.hmac.compare_digest", compare)
    access = Access(GatewaySettings(api_tokens=LINES))
    for token in (READER, TEAM):
        compared.clear()
        access.who(bearer(token))
        assert len(compared) == len(LINES)


def test_no_token_is_kept() -> None:
    settings = GatewaySettings(api_tokens=LINES)
    access = Access(settings)
    access.who(bearer(READER))
    assert READER not in repr(vars(access))
    assert READER not in repr(settings)


# --- the file


class Clock:
    """Goes on when told to, seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_tokens_of_setting_and_file_are_both_known(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("\ufeff# ours\r\n" + LINES[1] + "\r\n")
    access = Access(GatewaySettings(api_tokens=LINES[:1], api_tokens_file=str(file)))
    assert access.who(bearer(READER)).name == "scheduler"
    assert access.who(bearer(ADMIN)).name == "ops"


def test_a_token_is_changed_without_a_gap(tmp_path: Path) -> None:
    clock, file, old, new = Clock(), tmp_path / "tokens", READER, ADMIN
    file.write_text(line("ci", Role.READ, old))
    access = Access(GatewaySettings(api_tokens_file=str(file)), clock)
    assert refused(access, bearer(new)).status == 401
    file.write_text(line("ci", Role.READ, old) + "\n" + line("ci", Role.READ, new))
    clock.now += 1
    assert access.who(bearer(old)) == access.who(bearer(new)) == Principal("ci", Role.READ)
    file.write_text(line("ci", Role.READ, new))
    clock.now += 1
    assert refused(access, bearer(old)).status == 401
    assert access.who(bearer(new)).name == "ci"


def test_a_broken_file_keeps_the_former_tokens_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, file = Clock(), tmp_path / "tokens"
    file.write_text(LINES[0])
    access = Access(GatewaySettings(api_tokens_file=str(file)), clock)
    file.write_text(f"{LINES[1]}\nteam-x:{TEAM}")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            clock.now += 1
            assert access.who(bearer(READER)).name == "scheduler"
            assert refused(access, bearer(ADMIN)).status == 401
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "line 2: role: expected read or admin" in str(vars(record))
    assert TEAM not in str(vars(record))


def test_an_emptied_file_lets_nobody_in(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "tokens"
    file.write_text(LINES[0])
    access = Access(GatewaySettings(api_tokens_file=str(file)), clock)
    file.write_text("# nobody\n")
    clock.now += 1
    assert refused(access, bearer(READER)).status == 401
    assert refused(access, request()).status == 401


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"ci:read\n", "line 1: hash"),
        (b"# \xff", "line 1: expected UTF-8"),
        (b"\n\n\xff", "line 3: expected UTF-8"),
    ],
)
def test_a_file_that_can_not_be_read_at_the_start_is_named(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="MUSTER_API_TOKENS_FILE") as caught:
        Access(GatewaySettings(api_tokens_file=str(file)))
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"api_tokens": [LINES[0], "x"]}, "MUSTER_API_TOKENS"),
        ({"api_tokens": LINES, "open_api": True}, "MUSTER_OPEN_API"),
        ({"api_tokens_file": "tokens", "open_api": True}, "MUSTER_OPEN_API"),
        ({"tls_cert_file": "cert.pem"}, "MUSTER_TLS_KEY_FILE"),
        ({"tls_key_file": "key.pem"}, "MUSTER_TLS_CERT_FILE"),
        ({"api_burst": 0}, "MUSTER_API_BURST"),
        ({"api_timeout_s": 0.0}, "MUSTER_API_TIMEOUT_S"),
        ({"trusted_proxies": ["10.0.0.1", "proxy"]}, "MUSTER_TRUSTED_PROXIES"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, "MUSTER_TRUSTED_PROXIES"),
        ({"trusted_proxies": ["*"]}, "MUSTER_TRUSTED_PROXIES"),
    ],
)
def test_settings_that_can_not_be_meant_are_refused(
    settings: dict[str, Any], variable: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        GatewaySettings(**settings)
    assert caught.value.variable == variable
    assert digest(READER) not in str(caught.value)


# --- without tokens


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080"])
def test_on_loopback_this_machine_may_do_everything(bound: str, host: str) -> None:
    assert Access(GatewaySettings(host=bound)).who(request(host=host)) is LOCAL
    assert Role.ADMIN is LOCAL.role


@pytest.mark.parametrize(
    "host",
    [
        "",
        "muster.example",
        "muster.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8080",
        "10.0.0.1:8080",
        "localhost:",
        "localhost:8080:1",
        "[::1",
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    problem = refused(Access(GatewaySettings()), request(host=host))
    assert (problem.status, problem.code) == (403, "NOT_LOCAL")
    assert problem.more["header"] == "Host"
    assert "muster token new" in str(problem.more["detail"])


def test_a_request_without_host_is_refused() -> None:
    scope = request()
    scope["headers"] = []
    assert refused(Access(GatewaySettings()), scope).code == "NOT_LOCAL"


def test_what_a_proxy_passes_on_for_others_is_refused() -> None:
    problem = refused(Access(GatewaySettings()), request(client="203.0.113.9"))
    assert (problem.code, problem.more["header"]) == ("NOT_LOCAL", "X-Forwarded-For")
    for scope, header in (
        (request(x_forwarded_for="127.0.0.1"), "X-Forwarded-For"),
        (request(forwarded="for=127.0.0.1"), "Forwarded"),
    ):
        problem = refused(Access(GatewaySettings()), scope)
        assert (problem.code, problem.more["header"]) == ("NOT_LOCAL", header)


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://LOCALHOST:8080", "localhost:8080", True),
        ("http://localhost", "localhost", True),
        ("http://localhost", "localhost:80", True),
        ("https://localhost:443", "localhost", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://localhost:3000", "localhost:8080", False),
        ("http://localhost", "localhost:8080", False),
        ("http://evil.example", "localhost:8080", False),
        ("http://localhost:8080.evil.example", "localhost:8080", False),
        ("null", "localhost:8080", False),
        ("", "localhost:8080", False),
        ("http://[::1", "localhost:8080", False),
    ],
)
def test_a_page_of_another_site_is_refused(origin: str, host: str, same: bool) -> None:
    access = Access(GatewaySettings())
    scope = request(origin=origin, host=host)
    if same:
        assert access.who(scope) is LOCAL
    else:
        problem = refused(access, scope)
        assert (problem.code, problem.more["header"]) == ("NOT_LOCAL", "Origin")


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.0.0.1", "muster.example"])
def test_bound_elsewhere_without_tokens_it_says_how_to_configure_it(bound: str) -> None:
    problem = refused(Access(GatewaySettings(host=bound)), request())
    assert (problem.status, problem.code) == (403, "API_NOT_CONFIGURED")
    detail = str(problem.more["detail"])
    assert "MUSTER_API_TOKENS_FILE" in detail
    assert "muster token new" in detail
    assert "--open-api" in detail


def test_open_on_purpose_it_is_open_but_not_to_pages_of_other_sites() -> None:
    access = Access(GatewaySettings(host="0.0.0.0", open_api=True))
    assert access.who(request(host="muster.example", client="203.0.113.9")) is ANYONE
    scope = request(host="muster.example", origin="http://evil.example")
    assert refused(access, scope).code == "NOT_LOCAL"


@pytest.mark.parametrize(
    ("settings", "action"),
    [
        (GatewaySettings(api_tokens=LINES), "api_asks_for_tokens"),
        (GatewaySettings(), "api_open_to_this_machine"),
        (GatewaySettings(host="0.0.0.0"), "api_closed"),
        (GatewaySettings(host="0.0.0.0", open_api=True), "api_open_to_everybody"),
    ],
)
def test_the_log_says_who_is_let_in(
    settings: GatewaySettings, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        Access(settings).announce()
    assert [record.getMessage() for record in caplog.records] == [action]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("localhost.example", False),
        ("gateway", False),
    ],
)
def test_only_what_can_only_be_this_machine_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert GatewaySettings(host=host).on_loopback is loopback


# --- roles


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/v1/nodes", Role.READ),
        ("HEAD", "/v1/fleet", Role.READ),
        ("POST", "/v1/select", Role.READ),
        ("GET", "/v1/nodes/node-A/explain", Role.READ),
        ("POST", "/v1/nodes/node-A/explain", Role.ADMIN),
        ("DELETE", "/v1/holds/h-1", Role.READ),
        ("DELETE", "/v1/holds", Role.ADMIN),
        ("DELETE", "/v1/holds/a/b", Role.ADMIN),
        ("DELETE", "/v1/nodes/node-A", Role.ADMIN),
        ("POST", "/v1/nodes/node-A/drain", Role.ADMIN),
        ("PATCH", "/v1/nodes/node-A/labels", Role.ADMIN),
        ("PUT", "/v1/select", Role.ADMIN),
        ("POST", "/v1/select/more", Role.ADMIN),
        ("BREW", "/v1/nodes", Role.ADMIN),
    ],
)
def test_what_is_not_named_for_readers_is_for_admins(method: str, path: str, role: Role) -> None:
    assert role_needed(method, path) is role


def test_an_endpoint_can_require_a_role() -> None:
    reader, admin = Principal("r", Role.READ), Principal("a", Role.ADMIN, "x")
    asked = Request({**request(), "state": {"principal": reader}})
    assert require(asked, Role.READ) is reader
    with pytest.raises(ProblemError) as caught:
        require(asked, Role.ADMIN)
    assert (caught.value.status, caught.value.code) == (403, "FORBIDDEN")
    assert caught.value.more["role"] == "admin"
    assert "admin" in caught.value.title
    assert require(Request({**request(), "state": {"principal": admin}}), Role.ADMIN) is admin
