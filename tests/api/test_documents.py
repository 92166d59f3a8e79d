"""What is said of the API: OpenAPI, the page at /docs, docs/api.md. All come from one table."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from gateway.api import arguments, recorded
from gateway.api.curl import command
from gateway.api.document import DOCUMENT, drawn
from gateway.api.endpoint import Endpoint, Example
from gateway.api.openapi import document
from gateway.api.page import page
from gateway.api.pretty import WIDTH, pretty
from gateway.api.problems import CODES
from gateway.api.questions import BulkBody, SelectBody
from gateway.api.table import TABLE
from gateway.problem import BadParameterError, ProblemError
from registry.holding import hold_of
from tests.support.api import Api

DESCRIBED = document(TABLE, asks_for_tokens=True, hold_most_ms=3_600_000)
PAGE = page(TABLE)


def of_row(endpoint: Endpoint) -> str:
    return endpoint.title


def examples(endpoint: Endpoint) -> list[Example]:
    return [endpoint.example, *([endpoint.problem[1]] if endpoint.problem else [])]


def test_no_two_endpoints_are_the_same() -> None:
    assert len({endpoint.title for endpoint in TABLE}) == len(TABLE)
    assert len({endpoint.name for endpoint in TABLE}) == len(TABLE)


@pytest.mark.parametrize("endpoint", TABLE, ids=of_row)
def test_an_example_is_a_request_that_could_be_served(endpoint: Endpoint) -> None:
    assert set(endpoint.example.path) == set(endpoint.parameters)
    pairs = [pair.partition("=")[::2] for pair in endpoint.example.query.split("&") if pair]
    arguments.query(endpoint.query, pairs)
    for example in examples(endpoint):
        assert (example.body is None) == (endpoint.body is None)
        if endpoint.body is not None:
            arguments.body(endpoint.body, msgspec.json.encode(example.body))
        assert f"curl {'' if endpoint.method == 'GET' else '-X'}".strip() in command(
            endpoint, example
        )


def test_the_hold_of_the_examples_is_the_one_the_other_example_takes() -> None:
    rows = {endpoint.name: endpoint.example for endpoint in TABLE}
    body = rows["select"].body
    assert body is not None
    assert rows["releaseHold"].path["hold_id"] == hold_of(body["request_id"], "node-ABC12345")


@pytest.mark.parametrize("endpoint", TABLE, ids=of_row)
def test_recorded_answers_are_of_the_shape_that_is_documented(endpoint: Endpoint) -> None:
    answer = recorded.answer(endpoint.name)
    assert (answer is None) == (endpoint.answer is None)
    if answer is not None:
        msgspec.convert(answer, endpoint.answer, strict=True)
        assert schema_of(f"#/components/schemas/{endpoint.answer.__name__}").is_valid(answer)
    if endpoint.problem is not None:
        problem, code = recorded.problem(endpoint.name), endpoint.problem[0]
        assert problem["code"] == code
        msgspec.convert(problem, CODES[code].document, strict=True)


def schema_of(ref: str) -> Any:
    """A validator of one schema of the OpenAPI document."""
    return jsonschema_rs.validator_for({"$ref": ref, "components": DESCRIBED["components"]})


@pytest.mark.parametrize("endpoint", TABLE, ids=of_row)
def test_every_endpoint_is_described_whole(endpoint: Endpoint) -> None:
    operation = DESCRIBED["paths"][endpoint.path][endpoint.method.lower()]
    assert operation["operationId"] == endpoint.name
    statuses = {str(CODES[code].status) for code in endpoint.every_code}
    success = "204" if endpoint.answer is None else "200"
    assert set(operation["responses"]) == statuses | {success}
    for code in endpoint.every_code:
        response = operation["responses"][str(CODES[code].status)]
        assert f"`{code}`" in response["description"]
        assert set(CODES[code].headers) <= set(response.get("headers", {}))
    names = [parameter["name"] for parameter in operation["parameters"]]
    asked = endpoint.query.__struct_fields__ if endpoint.query else ()
    assert names == [*endpoint.parameters, *asked]
    assert ("requestBody" in operation) == (endpoint.body is not None)
    operations = {e.name: e for e in TABLE}
    for name, parts in endpoint.links.items():
        assert list(parts) == operations[name].parameters


def test_nothing_is_described_that_is_not_there() -> None:
    described = {
        f"{method.upper()} {path}"
        for path, methods in DESCRIBED["paths"].items()
        for method in methods
    }
    assert described == {endpoint.title for endpoint in TABLE}
    text = json.dumps(DESCRIBED)
    for ref in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert ref in DESCRIBED["components"]["schemas"]
    assert "(?![" not in text, "our own end of a pattern"


def test_tokens_are_asked_for_in_the_document_where_the_gateway_asks_for_them() -> None:
    open_ = document(TABLE, asks_for_tokens=False, hold_most_ms=1)
    assert DESCRIBED["security"] == [{"bearer": []}]
    assert open_["security"] == [{"bearer": []}, {}]


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        (SelectBody, {}),
        (SelectBody, {"kind": "asr", "src_lang": "zh"}),
        (SelectBody, {"kind": "asr"}),
        (SelectBody, {"kind": "asr", "src_lang": None}),
        (SelectBody, {"kind": "tts", "src_lang": None, "tgt_lang": "en"}),
        (SelectBody, {"kind": "nmt", "src_lang": "zh"}),
        (SelectBody, {"kind": None, "src_lang": "zh"}),
        (SelectBody, {"src_lang": "zh"}),
        (SelectBody, {"kind": None, "src_lang": None}),
        (SelectBody, {"asr": ["zh\n"]}),
        (SelectBody, {"asr": ["z" * 64]}),
        (SelectBody, {"asr": ["z" * 65]}),
        (SelectBody, {"asr": ["\U0001f600" * 64]}),
        (SelectBody, {"labels": {"a": "x", "b": ["y"], "c": {"not": ["z"]}}}),
        (SelectBody, {"labels": {"a": []}}),
        (SelectBody, {"labels": {"a": {"not": ["z"], "in": ["y"]}}}),
        (SelectBody, {"labels": {"a": {"in": ["y", "z"]}}}),
        (SelectBody, {"labels": {"a": {"in": []}}}),
        (SelectBody, {"labels": {"a": {}}}),
        (SelectBody, {"hold_ms": 1000.0}),
        (SelectBody, {"ceilings": {}}),
        (BulkBody, {"action": "drain", "reason": "r"}),
        (BulkBody, {"action": "drain", "reason": "r", "filter": {}}),
        (BulkBody, {"action": "drain", "reason": "r", "filter": {}, "all": False}),
        (BulkBody, {"action": "drain", "reason": "r", "filter": {}, "all": True}),
        (BulkBody, {"action": "drain", "reason": "r", "all": True}),
        (BulkBody, {"action": "drain", "reason": "r", "filter": {"q": "a"}}),
        (BulkBody, {"action": "drain", "reason": "r", "filter": {"ceilings": {}}}),
        (BulkBody, {"action": "drain", "reason": "r", "filter": {"ids": []}}),
        (BulkBody, {"action": "resume", "reason": "r", "filter": {"q": "a"}, "timeout_s": 1}),
        (BulkBody, {"action": "label", "reason": "r", "filter": {"q": "a"}}),
        (BulkBody, {"action": "label", "reason": "r", "all": True, "labels": {"a": None}}),
        (BulkBody, {"action": "label", "reason": "r", "all": True, "labels": {"a" * 256: "b"}}),
        (BulkBody, {"action": "label", "reason": "r", "all": True, "labels": {"a": "b" * 257}}),
    ],
    ids=str,
)
def test_the_schema_takes_exactly_the_bodies_that_we_take(type_: Any, body: Any) -> None:
    path = "/v1/select" if type_ is SelectBody else "/v1/bulk"
    content = DESCRIBED["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = content["schema"] | {"components": DESCRIBED["components"]}
    try:
        arguments.body(type_, msgspec.json.encode(body))
        taken = True
    except BadParameterError:
        taken = False
    assert jsonschema_rs.validator_for(schema).is_valid(body) == taken


def test_docs_api_md_is_as_the_table_says() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert drawn(text) == text, "run: make docs"


def test_examples_in_docs_api_md_are_json() -> None:
    for block in re.findall(r"^```json\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.S | re.M):
        json.loads(block)


def test_links_in_docs_api_md_lead_somewhere() -> None:
    text = DOCUMENT.read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    for target in re.findall(r"\]\(#([^)]+)\)", text):
        assert target in anchors
    for file in re.findall(r"\]\(([a-z]+\.md)\)", text):
        assert DOCUMENT.with_name(file).exists()


class Tags(HTMLParser):
    """Every tag with its attributes, the text, and the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data


@pytest.fixture(scope="module")
def tags() -> Tags:
    parser = Tags()
    parser.feed(PAGE.html.decode())
    assert parser.open == []
    return parser


def test_the_page_needs_no_script_and_nothing_from_outside(tags: Tags) -> None:
    assert {tag for tag, _ in tags.tags} & {"script", "link", "img", "iframe", "form"} == set()
    for _, attributes in tags.tags:
        assert not {name for name in attributes if name.startswith("on") or name == "style"}
        assert (attributes.get("href") or "#").startswith(("#", "/openapi.json"))
    assert not re.search(r"url\(|@import", tags.style)


async def test_the_page_goes_out_under_a_policy_that_allows_its_style_alone(tags: Tags) -> None:
    answer = await Api(None).ask("GET", "/docs", who=None)
    assert (answer.status_code, answer.content) == (200, PAGE.html)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    hashed = base64.b64encode(hashlib.sha256(tags.style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{hashed}'"]
    assert "unsafe" not in policy


def test_links_on_the_page_lead_somewhere(tags: Tags) -> None:
    ids = [attributes["id"] for _, attributes in tags.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in tags.tags:
        target = attributes.get("href") or ""
        assert not target.startswith("#") or target[1:] in ids, target


def test_the_page_tells_every_endpoint_field_and_code() -> None:
    text = PAGE.html.decode()
    for endpoint in TABLE:
        assert f'id="{endpoint.name.lower()}"' in text
        for name in endpoint.query.__struct_fields__ if endpoint.query else ():
            assert f"<code>{name}</code>" in text
    for code in CODES:
        assert f'id="{code}"' in text


@pytest.mark.parametrize("code", CODES)
async def test_the_type_of_a_problem_leads_to_its_code_on_the_page(code: str, tags: Tags) -> None:
    problem = json.loads(bytes(ProblemError(400, code, "title").response().body))
    served, _, anchor = problem["type"].partition("#")
    assert (await Api(None).ask("GET", served, who=None)).content == PAGE.html
    assert anchor == code
    assert [attributes for _, attributes in tags.tags if attributes.get("id") == anchor]


async def test_the_document_is_served_as_it_is_made() -> None:
    answer = await Api(None).ask("GET", "/openapi.json", who=None)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads(json.dumps(DESCRIBED))


def test_json_for_people_fits_the_width_and_leaves_out_what_is_deep() -> None:
    value = {"a": [1, 2], "b": {"c": [{"d": {f"k{n}": "x" * 30 for n in range(9)}}]}, "e": "x" * 60}
    text = pretty(value)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert '"…": "…"' in text
    assert "k8" not in text
    assert pretty({"a": [1, {"b": None}]}) == '{"a": [1, {"b": null}]}'
    wide = {f"name-{n}": "x" * 20 for n in range(9)}
    assert json.loads(pretty(wide)) == wide
