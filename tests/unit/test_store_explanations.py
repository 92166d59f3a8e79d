"""What a connection to the store that fails is explained with."""

from __future__ import annotations

from registry.opening import explained

RESET = "Error while reading from 127.0.0.1:6379 : (104, 'Connection reset by peer')"


def test_a_door_that_closes_before_a_word_may_want_a_certificate() -> None:
    told = explained(RESET, "rediss+cluster://store:6379", reached=False)
    assert told.startswith(RESET)
    assert "MUSTER_REDIS_CERT_FILE" in told


def test_a_door_that_closes_to_who_speaks_in_the_clear_may_want_tls() -> None:
    told = explained(RESET, "redis+cluster://store:6379", reached=False)
    assert "must begin with rediss" in told


def test_a_connection_that_ends_later_needs_no_explanation() -> None:
    assert explained(RESET, "rediss://store:6379", reached=True) == RESET
