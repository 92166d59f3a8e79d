"""The pages' files: known by their content, allowed nothing foreign, in both languages."""

from __future__ import annotations

import re

import pytest

from gateway.pages.files import POLICY, everything
from gateway.pages.routing import PATHS
from tests.support.api import Api


@pytest.mark.parametrize("path", [path.format(node_id="node-A") for path in PATHS])
async def test_every_page_has_an_address_that_needs_no_token(api: Api, path: str) -> None:
    answer = await api.ask("GET", path, who=None)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert "'unsafe" not in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_copy_that_is_still_good_is_not_sent_again(api: Api) -> None:
    first = await api.ask("GET", "/pages/main.js", who=None)
    known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
    again = await api.ask("GET", "/pages/main.js", who=None, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    other = await api.ask("GET", "/pages/main.js", who=None, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


async def test_a_file_that_is_not_there_is_a_problem_as_elsewhere(api: Api) -> None:
    assert (await api.ask("GET", "/pages/nothing.js", who=None)).json()["code"] == "NOT_FOUND"


def test_every_file_that_a_page_asks_for_is_served_and_none_is_foreign() -> None:
    found = everything()
    for file in found.values():
        text = file.content.decode()
        for name in re.findall(r'(?:from |import\()"\./([\w.]+)"|"/pages/([\w.]+)"', text):
            assert "".join(name) in found
        assert not re.search(r'(?:src|href|from)\s*=?\s*"https?://', text)


def test_every_word_is_there_in_both_languages() -> None:
    text = everything()["words.js"].content.decode()
    rows = re.findall(
        r'^  (\w+): \[\s*"((?:[^"\\]|\\.)+)",\s*"((?:[^"\\]|\\.)+)",?\s*\],', text, re.M
    )
    assert len(rows) == len(re.findall(r"^  \w+: \[", text, re.MULTILINE)) > 100
    for name, english, chinese in rows:
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), name
