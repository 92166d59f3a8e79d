"""No secret of a URL stands in a message, whatever is wrong with the URL."""

from __future__ import annotations

import pytest
from websockets.exceptions import InvalidProxy, InvalidURI

from muster.agent.config import AgentConfig, ConfigError
from muster.agent.masking import masked, masked_in
from muster.agent.session import _detail

URLS = [
    "wss//gateway.example/ws?token=s3cret",
    "htps://user:s3cret@gateway.example/ws/node",
    "wss:gateway.example?token=s3cret",
    "user:s3cret@gateway.example",
    "wss://gateway.example:port/ws?token=s3cret",
    "wss://[gateway.example/ws?token=s3cret",
    "wss://user:s3cret@gateway.example:99999/",
    "ftp://gateway.example/#s3cret",
    "ftp://u:p@s3cret@gateway.example",
    "ftp://u:p/s3cret@gateway.example",
    "ftp://u:p?s3cret@gateway.example",
    "ftp://gateway.example/?token=x@s3cret",
]


@pytest.mark.parametrize("url", URLS)
def test_a_mistyped_server_is_shown_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        AgentConfig(servers=(url,))
    assert "s3cret" not in str(raised.value)
    assert raised.value.name == "servers"


@pytest.mark.parametrize("url", URLS)
def test_nor_does_what_a_library_says_of_it_show_them(url: str) -> None:
    for error in (InvalidProxy(url, "scheme isn't supported"), InvalidURI(url, "no host")):
        told = _detail(error)
        assert "s3cret" not in told
        assert "isn't" in told


def test_pieces_of_a_url_a_parser_quotes_are_not_passed_on() -> None:
    error = ValueError("Port could not be cast to integer value as 's3cret'")
    assert _detail(error) == "ValueError"


def test_what_holds_no_secret_stays_as_it_is() -> None:
    assert masked("wss://gateway.example/ws/node") == "wss://gateway.example/ws/node"
    said = "[Errno 111] Connect call failed ('127.0.0.1', 9): why?"
    assert masked_in(said) == said
