"""Sentences people read in two languages, and close codes with what to do about them."""

from __future__ import annotations

import pytest

from muster.wire.closing import CLOSE_CODES, CloseCode, retry_policy
from muster.wire.errors import TEXTS, ErrorCode, error_text, pick_locale, status_text
from registry.model import Reason, Status


def has_chinese(text: str) -> bool:
    return any("一" <= character <= "鿿" for character in text)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_a_sentence_in_both_languages(code: ErrorCode) -> None:
    assert has_chinese(error_text(code, "zh"))
    english = error_text(code, "en")
    assert english and not has_chinese(english)
    assert set(TEXTS) == {"zh", "en"}


def test_no_gpu_in_chinese_is_the_documents_own_sentence() -> None:
    text = error_text(ErrorCode.NO_GPU_AVAILABLE, "zh")
    assert text == "节点注册失败: 必须提供 GPU 信息"


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_an_invalid_message_names_the_field_and_what_was_expected(locale: str) -> None:
    text = error_text(ErrorCode.INVALID_MESSAGE, locale, path="hardware.gpus", expected="an array")
    assert "hardware.gpus" in text
    assert "an array" in text


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_a_brace_in_a_path_is_only_text(locale: str) -> None:
    text = error_text(ErrorCode.INVALID_MESSAGE, locale, path="{expected}", expected="{path}")
    assert "{expected}" in text
    assert "{path}" in text


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_a_conflict_that_passes_says_to_wait(locale: str) -> None:
    for_good = error_text(ErrorCode.NODE_ID_CONFLICT, locale)
    for_now = error_text(ErrorCode.NODE_ID_CONFLICT, locale, retry_after_ms=1000)
    assert for_now != for_good


def test_a_language_nobody_wrote_is_chinese() -> None:
    assert error_text(ErrorCode.UNAVAILABLE, "fr") == error_text(ErrorCode.UNAVAILABLE, "zh")


@pytest.mark.parametrize(
    ("header", "default", "picked"),
    [
        (None, "zh", "zh"),
        ("", "en", "en"),
        ("en", "zh", "en"),
        ("en-GB,en;q=0.9", "zh", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "en", "zh"),
        ("zh;q=0.2, EN;q=0.7", "zh", "en"),
        ("fr, de", "zh", "zh"),
        ("fr, en;q=0.1", "zh", "en"),
        ("en;q=0", "zh", "zh"),
        ("en;q=much", "zh", "zh"),
        (";;,,=", "zh", "zh"),
    ],
)
def test_the_better_liked_language_is_picked(header: str | None, default: str, picked: str) -> None:
    assert pick_locale(header, default) == picked


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence_in_both_languages(reason: Reason) -> None:
    chinese = status_text(Status.READY, reason, "zh")
    english = status_text(Status.READY, reason, "en")
    assert has_chinese(chinese)
    assert not has_chinese(english)
    assert english != f"ready: {reason}"


def test_a_reason_nobody_knows_stands_for_itself() -> None:
    assert status_text("ready", "dance", "zh") == "ready: dance"


def test_every_close_code_is_in_the_table() -> None:
    assert {close.code: close for close in CloseCode} == CLOSE_CODES
    assert len(CLOSE_CODES) == len(list(CloseCode))
    assert set(CLOSE_CODES) == {
        1000, 1001, 1008, 1009, 1012, 4408, 4409, 4410, 4429, 4501, 4509,
    }  # fmt: skip


@pytest.mark.parametrize("close", CloseCode)
def test_a_close_reason_fits_its_frame(close: CloseCode) -> None:
    assert 0 < len(close.reason.encode()) <= 123
    assert retry_policy(close.code) == close.retry


@pytest.mark.parametrize(
    ("codes", "policy"),
    [
        (range(1000, 1001), "none"),
        ([1001, 1012], "jitter"),
        ([1006, 1008, 1009, 1011, 1013], "backoff"),
        (range(4000, 4500), "backoff"),
        (range(4500, 5000), "never"),
    ],
)
def test_retrying_follows_the_ranges_of_codes(codes: list[int], policy: str) -> None:
    assert {retry_policy(code) for code in codes} == {policy}
