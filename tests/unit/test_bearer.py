"""API tokens: made, hashed, written down as lines and read back."""

from __future__ import annotations

import hashlib
import re
import secrets

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muster.wire.bearer import (
    NAMES_OF_NOBODY,
    Entry,
    EntryError,
    Role,
    WeakTokenError,
    digest,
    entries,
    hash_token,
    new_token,
)

HASH = "sha256:" + "0123456789abcdef" * 4
TOKEN = "mst_uT3LuXEydypB9WVbd2sDPJIHQ94nTp7DCwb0MNCbGb4"
RANDOM = "d5564eb58b0a099a7b996e5d0d78755b32ee212c5f1755a3cea2d2436e218979"
OTHER = "sha256:" + "fedcba9876543210" * 4


def test_a_new_token_is_like_no_other_and_holds_256_bits() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"mst_[0-9A-Za-z]{43}", token) for token in made)
    assert 62**43 >= 2**256


def test_the_hash_is_the_sha_256_of_the_token() -> None:
    token = new_token()
    assert hash_token(token) == "sha256:" + hashlib.sha256(token.encode()).hexdigest()
    assert hash_token(token) == digest(token)


@pytest.mark.parametrize(
    "make",
    [
        lambda: secrets.token_hex(16),
        lambda: secrets.token_hex(64),
        lambda: secrets.token_urlsafe(32),
        lambda: secrets.token_urlsafe(24) + "==",
    ],
)
def test_a_random_token_made_elsewhere_can_be_hashed(make: object) -> None:
    assert callable(make)
    for _ in range(200):
        token = make()
        assert hash_token(token) == digest(token)


@pytest.mark.parametrize(
    "weak",
    [
        "",
        "secret",
        "correct-horse-battery",
        "a" * 64,
        "password" * 8,
        "1234567890" * 5,
        "abcdefghijklmnop" * 3,
        "aabacadaebbcbdbeccdceddeeabbccddeeaa",
        "00000000-0000-0000-0000-000000000001",
        "mst_tooshort",
        TOKEN[:-1],
        TOKEN + "x",
        TOKEN[:-1] + "-",
        RANDOM + " ",
        RANDOM + "\n",
        "令牌" * 30,
    ],
)
def test_what_could_be_guessed_or_not_be_sent_is_refused(weak: str) -> None:
    with pytest.raises(WeakTokenError) as caught:
        hash_token(weak)
    assert not weak or weak not in str(caught.value)


def test_a_file_is_read_line_by_line_and_comments_are_passed_over() -> None:
    text = f"""
# who schedules
scheduler:read:{HASH}
   # indented
  team-x:admin:{OTHER}:x:y
"""
    assert entries(text.splitlines()) == [
        Entry("scheduler", Role.READ, HASH),
        Entry("team-x", Role.ADMIN, OTHER, "x:y"),
    ]


def test_one_name_may_have_two_tokens_while_it_changes_over() -> None:
    found = entries([f"ci:read:{HASH}", f"ci:read:{OTHER}"])
    assert [entry.hash for entry in found] == [HASH, OTHER]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (f":read:{HASH}", "name"),
        (f"two words:read:{HASH}", "name"),
        (f"a,b:read:{HASH}", "name"),
        (f"{'n' * 65}:read:{HASH}", "name"),
        (f"tab\tbed:read:{HASH}", "name"),
        (f"{NAMES_OF_NOBODY[0]}:read:{HASH}", "name"),
        (f"{NAMES_OF_NOBODY[1]}:admin:{HASH}", "name"),
        ("ci", "role"),
        (f"ci::{HASH}", "role"),
        (f"ci:READ:{HASH}", "role"),
        (f"ci:write:{HASH}", "role"),
        ("ci:read", "hash"),
        ("ci:read:", "hash"),
        ("ci:read:sha256:", "hash"),
        (f"ci:read:sha512:{HASH[7:]}", "hash"),
        (f"ci:read:{HASH[:-1]}", "hash"),
        (f"ci:read:{HASH}0", "hash"),
        (f"ci:read:{HASH.upper()}", "hash"),
        (f"ci:read:{HASH}:", "owner"),
        (f"ci:read:{HASH}:a b", "owner"),
        (f"ci:read:{HASH}:{'o' * 257}", "owner"),
    ],
)
def test_a_bad_line_is_named_with_its_field(line: str, field: str) -> None:
    with pytest.raises(EntryError) as caught:
        entries(["# first", f"ok:read:{OTHER}", line])
    assert (caught.value.where, caught.value.field) == ("line 3", field)
    assert str(caught.value).startswith(f"line 3: {field}: expected ")


def test_an_error_never_repeats_what_stood_there() -> None:
    token = new_token()
    for line in (token, f"ci:{token}", f"ci:read:{token}", f"ci:read:{HASH}:{token} {token}"):
        with pytest.raises(EntryError) as caught:
            entries([line])
        assert token not in str(caught.value)


def test_two_entries_with_one_token_are_refused() -> None:
    with pytest.raises(EntryError, match=r"entry 2: hash: .*entry 1 has the same"):
        entries([f"a:read:{HASH}", f"b:admin:{HASH}"], "entry")


_WORDS = st.text(min_size=1, max_size=12).filter(
    lambda text: text.isprintable() and not set(" ,") & set(text)
)


@given(
    name=_WORDS.filter(lambda text: ":" not in text and text[0] != "#"),
    role=st.sampled_from(Role),
    owner=st.none() | _WORDS,
)
def test_what_is_written_is_read_back(name: str, role: Role, owner: str | None) -> None:
    entry = Entry(name, role, HASH, owner)
    assume(name not in NAMES_OF_NOBODY)
    assert entries([entry.line()]) == [entry]


def test_an_admin_may_what_a_reader_may_and_not_the_other_way() -> None:
    assert Role.ADMIN.covers(Role.READ)
    assert Role.ADMIN.covers(Role.ADMIN)
    assert Role.READ.covers(Role.READ)
    assert not Role.READ.covers(Role.ADMIN)
