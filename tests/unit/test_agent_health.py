"""What readings of a card mean."""

from __future__ import annotations

import pytest

from muster.agent.facts import CardReading
from muster.agent.hardware import Gpu
from muster.agent.health import HOT_QUIET_S, XID_QUIET_S, CardHealth

GIB = 1024**3


@pytest.fixture
def card() -> CardHealth:
    return CardHealth(Gpu(name="RTX 3070", memory_gb=8.0, uuid="GPU-0", index=2))


def test_before_the_first_reading_a_card_is_as_it_was_found(card: CardHealth) -> None:
    assert card.state.healthy
    assert (card.state.index, card.state.uuid) == (2, "GPU-0")
    assert card.state.temperature_c is None


def test_a_good_reading_is_told_in_the_units_of_the_protocol(card: CardHealth) -> None:
    reading: CardReading = {
        "memory_used_bytes": 3 * GIB // 2,
        "memory_total_bytes": 8 * GIB,
        "temperature_c": 61.0,
        "busy_percent": 40.0,
        "hot": False,
        "ecc_uncorrected": 0,
    }
    card.see(reading, 0.0)
    state = card.state
    assert state.healthy and state.reason is None
    assert (state.memory_used_gb, state.temperature_c, state.gpu_percent) == (1.5, 61.0, 40.0)
    assert card.memory == (3 * GIB // 2, 8 * GIB)


def test_a_card_that_tells_no_total_has_what_it_was_found_with(card: CardHealth) -> None:
    card.see({"memory_used_bytes": GIB}, 0.0)
    assert card.memory == (GIB, 8 * GIB)


def test_a_fault_is_the_reason_and_ends_with_the_first_good_reading(card: CardHealth) -> None:
    card.see({"fault": "nvml_999"}, 0.0)
    assert (card.state.healthy, card.state.reason) == (False, "nvml_999")
    card.see({}, 1.0)
    assert (card.state.healthy, card.state.reason) == (True, None)


def test_a_missed_reading_keeps_no_figures_of_an_earlier_one(card: CardHealth) -> None:
    card.see({"memory_used_bytes": GIB, "temperature_c": 61.0, "busy_percent": 40.0}, 0.0)
    card.miss("probe_timeout")
    assert (card.state.healthy, card.state.reason) == (False, "probe_timeout")
    assert card.state.memory_used_gb is card.state.temperature_c is card.state.gpu_percent is None
    assert card.memory is None


def test_heat_is_over_when_it_was_not_seen_for_a_while(card: CardHealth) -> None:
    card.see({"hot": True}, 0.0)
    assert card.state.reason == "overheated"
    card.see({"hot": False}, HOT_QUIET_S - 0.1)
    assert card.state.reason == "overheated"
    card.see({"hot": False}, HOT_QUIET_S)
    assert card.state.healthy


def test_a_critical_error_is_over_when_none_came_for_a_while(card: CardHealth) -> None:
    card.see({"xids": [62, 79]}, 0.0)
    assert card.state.reason == "xid_79"
    card.see({"xids": [48]}, XID_QUIET_S - 1)
    assert card.state.reason == "xid_48"
    card.see({}, 2 * XID_QUIET_S - 1.1)
    assert card.state.reason == "xid_48"
    card.see({}, 2 * XID_QUIET_S - 1)
    assert card.state.healthy


@pytest.mark.parametrize("fault", ["gpu_lost", "reset_required"])
def test_a_card_that_was_lost_and_is_back_has_its_critical_errors_behind_it(
    card: CardHealth, fault: str
) -> None:
    card.see({"fault": fault, "xids": [79]}, 0.0)
    assert card.state.reason == fault
    card.see({}, 1.0)
    assert card.state.healthy


def test_a_card_with_another_fault_has_not(card: CardHealth) -> None:
    card.see({"fault": "nvml_10", "xids": [79]}, 0.0)
    card.see({}, 1.0)
    assert card.state.reason == "xid_79"


def test_uncorrected_memory_errors_last_until_the_card_counts_none(card: CardHealth) -> None:
    card.see({"ecc_uncorrected": 1}, 0.0)
    assert card.state.reason == "ecc_uncorrected"
    card.see({"ecc_uncorrected": 1}, 10_000.0)
    assert card.state.reason == "ecc_uncorrected"
    card.see({"ecc_uncorrected": 0}, 10_001.0)
    assert card.state.healthy


def test_the_gravest_reason_is_told(card: CardHealth) -> None:
    all_of_it: CardReading = {"ecc_uncorrected": 1, "hot": True, "xids": [48]}
    card.see({"fault": "gpu_lost", **all_of_it}, 0.0)
    assert card.state.reason == "gpu_lost"
    card.see(all_of_it, 1.0)
    assert card.state.reason == "xid_48"
    card.see({"ecc_uncorrected": 1, "hot": True}, 1.0 + XID_QUIET_S)
    assert card.state.reason == "ecc_uncorrected"
    card.see({"ecc_uncorrected": 0}, 2.0 + XID_QUIET_S)
    assert card.state.reason == "overheated"
