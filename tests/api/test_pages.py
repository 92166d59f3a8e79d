"""The pages' files: known by their content, allowed nothing foreign, in both languages."""

from __future__ import annotations

import json
import re

import pytest

from gateway.explaining import TO_DO
from gateway.pages.files import POLICY, everything
from gateway.pages.routing import PATHS
from muster.wire.errors import STATUS_TEXTS, TEXTS, ErrorCode
from registry.events import EventType
from registry.model import Reason, Status
from registry.requirement import Unfit
from tests.support.api import Api, token


@pytest.mark.parametrize("path", [path.format(node_id="node-A") for path in PATHS])
async def test_every_page_has_an_address_that_needs_no_token(api: Api, path: str) -> None:
    answer = await api.ask("GET", path, who=None)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert "'unsafe" not in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_pages_ask_nothing_of_the_store_so_they_are_there_without_it_and_cost_little() -> (
    None
):
    # As with /healthz and /docs no rate is kept: a limit would cost what it saves.
    api = Api(None, api_burst=1, api_rate_per_s=0.001)
    for _ in range(5):
        for path in ("/", "/pages/main.js"):
            assert (await api.ask("GET", path, who=None)).status_code == 200


async def test_no_cookie_lets_anybody_in_so_no_other_page_can_act_for_them(api: Api) -> None:
    for path in ("/", "/mine", "/pages/main.js", "/v1/me"):
        assert "set-cookie" not in (await api.ask("GET", path)).headers
    reason = {"reason": "test"}
    for cookie in (f"Authorization=Bearer {token('admin')}", f"muster.token={token('admin')}"):
        url = "/v1/nodes/node-A/drain"
        answer = await api.ask("POST", url, reason, who=None, headers={"Cookie": cookie})
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
    for file in everything().values():
        assert "document.cookie" not in file.content.decode()
    for name in ("api.js", "worker.js"):
        script = everything()[name].content.decode()
        assert script.count("fetch(") == script.count('credentials: "omit"')


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


def test_the_document_names_every_module_of_the_page_so_that_they_come_at_once() -> None:
    found = everything()
    reached, waiting = set[str](), ["main.js"]
    while waiting:
        text = found[waiting.pop()].content.decode()
        new = set(re.findall(r'from "\./([\w.]+)"', text)) - reached
        reached |= new
        waiting += new
    named = re.findall(
        r'"modulepreload" href="/pages/([\w.]+)"', found["index.html"].content.decode()
    )
    assert named == sorted(reached)


def test_advice_is_what_the_tables_say() -> None:
    text = everything()["advice.js"].content.decode()
    found = json.loads(text.removeprefix("export const ADVICE = ").removesuffix(";\n"))
    for locale in ("en", "zh"):
        for code, sentence in TEXTS[locale].items():
            assert found[locale][code] == [sentence, ""]
        for reason in set(Reason) & set(TO_DO[locale]):
            assert found[locale][reason] == [STATUS_TEXTS[locale][reason], TO_DO[locale][reason]]
        assert set(found[locale]) == {*ErrorCode, *(set(Reason) & set(TO_DO[locale]))}


def test_every_word_is_used_and_every_word_used_is_there() -> None:
    found = everything()
    words = set(re.findall(r"^  (\w+): \[", found["words.js"].content.decode(), re.MULTILINE))
    scripts = "".join(
        file.content.decode() for name, file in found.items()
        if name.endswith(".js") and name not in ("words.js", "advice.js")
    )  # fmt: skip
    heads = tuple(re.findall(r"`(\w+_)\$\{", scripts))
    tails = tuple(re.findall(r"\$\{\w+\}(_\w+)`", scripts))
    unused = {
        word for word in words
        if not (word.startswith(heads) or word.endswith(tails))
        and not re.search(rf'"{word}"', scripts)
    }  # fmt: skip
    assert unused == set()
    assert set(re.findall(r'word\("(\w+)"', scripts)) <= words
    for kind, names in (("event", EventType), ("status", Status), ("reason", Reason)):
        assert {f"{kind}_{name}" for name in names} <= words
    assert {f"unfit_{name}" for name in Unfit} <= words


def test_every_word_is_there_in_both_languages() -> None:
    text = everything()["words.js"].content.decode()
    rows = re.findall(
        r'^  (\w+): \[\s*"((?:[^"\\]|\\.)+)",\s*"((?:[^"\\]|\\.)+)",?\s*\],', text, re.M
    )
    assert len(rows) == len(re.findall(r"^  \w+: \[", text, re.MULTILINE)) > 100
    for name, english, chinese in rows:
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), name
