"""Every problem the documentation promises can be met, and is what the documentation says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest

from gateway.api.endpoint import Endpoint, Example
from gateway.api.problems import CODES
from gateway.api.table import TABLE
from muster.wire.bearer import Role
from registry.errors import Contended, StoreUnavailable
from registry.registry import Registry
from tests.support.api import Api, Machines

Ask = Callable[[Endpoint, Registry], Awaitable[httpx.Response]]


class Stub:
    """Stands in for a registry: whatever is asked of it, the same happens."""

    def __init__(self, happens: Callable[[], Awaitable[Any]]) -> None:
        self._happens = happens

    def __getattr__(self, _: str) -> Callable[..., Awaitable[Any]]:
        async def asked(*_: Any, **__: Any) -> Any:
            return await self._happens()

        return asked


async def away() -> None:
    raise StoreUnavailable("cut off")


async def bug() -> None:
    raise KeyError("a bug")


async def for_ever() -> None:
    await asyncio.Event().wait()


async def unauthorized(e: Endpoint, _: Registry) -> httpx.Response:
    return await Api(Stub(bug)).example(e, who=None)


async def forbidden(e: Endpoint, _: Registry) -> httpx.Response:
    """Acting takes an admin; what is everybody's is not for those who see one owner's nodes."""
    who = "reader" if e.role is Role.ADMIN else "reader of x"
    return await Api(Stub(bug)).example(e, who=who)


async def api_not_configured(e: Endpoint, _: Registry) -> httpx.Response:
    return await Api(Stub(bug), api_tokens=[], host="192.0.2.1").example(e)


async def not_local(e: Endpoint, _: Registry) -> httpx.Response:
    return await Api(Stub(bug), api_tokens=[]).example(e, base="http://elsewhere.example")


async def invalid_parameter(e: Endpoint, _: Registry) -> httpx.Response:
    query = f"{e.example.query}&nonsense=1".lstrip("&")
    return await Api(Stub(bug)).example(e, Example(e.example.path, query, e.example.body))


async def too_large(e: Endpoint, _: Registry) -> httpx.Response:
    example = Example(e.example.path, e.example.query, {"reason": "x" * 2000})
    return await Api(Stub(bug), api_body_bytes=1000).example(e, example)


async def rate_limited(e: Endpoint, registry: Registry) -> httpx.Response:
    api = Api(registry, api_burst=1, api_rate_per_s=0.01)
    await api.example(e)
    return await api.example(e)


async def internal_error(e: Endpoint, _: Registry) -> httpx.Response:
    return await Api(Stub(bug)).example(e)


async def unavailable(e: Endpoint, _: Registry) -> httpx.Response:
    return await Api(Stub(away)).example(e)


async def timeout(e: Endpoint, _: Registry) -> httpx.Response:
    return await Api(Stub(for_ever), api_timeout_s=0.02).example(e)


async def overloaded(e: Endpoint, _: Registry) -> httpx.Response:
    asked = asyncio.Event()

    async def asks_for_ever() -> None:
        asked.set()
        await for_ever()

    api = Api(Stub(asks_for_ever), api_requests_most=1)
    first = asyncio.create_task(api.example(e))
    await asyncio.wait_for(asked.wait(), 5)
    try:
        return await api.example(e)
    finally:
        first.cancel()


async def no_available_node(e: Endpoint, registry: Registry) -> httpx.Response:
    await Machines(registry).ready("node-A")
    assert e.problem is not None
    return await Api(registry).example(e, e.problem[1])


async def not_there(e: Endpoint, registry: Registry) -> httpx.Response:
    return await Api(registry).example(e)


async def request_id_reused(e: Endpoint, registry: Registry) -> httpx.Response:
    await Machines(registry).ready("node-A")
    api = Api(registry)
    assert (await api.ask(e.method, e.path, {"request_id": "r"})).status_code == 200
    return await api.ask(e.method, e.path, {"request_id": "r", "kind": "asr", "src_lang": "zh"})


async def too_many_labels(e: Endpoint, registry: Registry) -> httpx.Response:
    await Machines(registry).ready("node-A")
    api, url = Api(registry), e.path.format(node_id="node-A")
    labels = {f"label-{n}": "x" for n in range(32)}
    assert (await api.ask(e.method, url, {"labels": labels, "reason": "r"})).status_code == 200
    return await api.ask(e.method, url, {"labels": {"one more": "x"}, "reason": "r"})


MET: dict[str, Ask] = {
    "INVALID_PARAMETER": invalid_parameter,
    "UNAUTHORIZED": unauthorized,
    "FORBIDDEN": forbidden,
    "API_NOT_CONFIGURED": api_not_configured,
    "NOT_LOCAL": not_local,
    "NO_AVAILABLE_NODE": no_available_node,
    "NODE_NOT_FOUND": not_there,
    "HOLD_NOT_FOUND": not_there,
    "REQUEST_ID_REUSED": request_id_reused,
    "TOO_MANY_LABELS": too_many_labels,
    "TOO_LARGE": too_large,
    "RATE_LIMITED": rate_limited,
    "INTERNAL_ERROR": internal_error,
    "UNAVAILABLE": unavailable,
    "TIMEOUT": timeout,
    "OVERLOADED": overloaded,
}
OF_NO_ENDPOINT = {"NOT_FOUND", "METHOD_NOT_ALLOWED"}


def as_documented(response: httpx.Response, code: str) -> dict[str, Any]:
    """The problem, once it is what the catalogue of codes says."""
    documented = CODES[code]
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (problem["code"], problem["status"]) == (code, documented.status), problem
    assert problem["type"] == f"/docs#{code}"
    assert response.status_code == documented.status
    for header in documented.headers:
        assert header in response.headers
    msgspec.convert(problem, documented.document, strict=True)
    known = {f.encode_name for f in msgspec.structs.fields(documented.document)}
    extra = {"parameter", "header", "detail"}  # of FORBIDDEN and NOT_LOCAL: for people
    assert set(problem) <= known | extra, set(problem) - known
    return problem


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [(endpoint, code) for endpoint in TABLE for code in endpoint.every_code],
    ids=lambda value: value if isinstance(value, str) else value.title,
)
async def test_every_problem_of_every_endpoint_can_be_met(
    endpoint: Endpoint, code: str, registry: Registry
) -> None:
    as_documented(await MET[code](endpoint, registry), code)


def test_every_code_belongs_to_an_endpoint_or_to_none() -> None:
    of_endpoints = {code for endpoint in TABLE for code in endpoint.every_code}
    assert set(CODES) == of_endpoints | OF_NO_ENDPOINT
    assert set(MET) == of_endpoints


@pytest.mark.parametrize("stub", [away, for_ever])
async def test_what_needs_no_store_is_answered_without_it(
    stub: Callable[[], Awaitable[None]], registry: Registry
) -> None:
    (endpoint,) = [endpoint for endpoint in TABLE if endpoint.without_store]
    without = Stub(stub)
    without.clock = registry.clock  # type: ignore[attr-defined]
    answer = await Api(without, api_timeout_s=3.0).example(endpoint)
    assert answer.status_code == 200
    assert answer.json()["findings"][0]["check"] == "store_answers"


async def test_an_unknown_path_is_a_problem_too() -> None:
    for path in ("/v1/nothing", "/nothing", "/v1/nodes/", "/v1/nodes/a/b/c", "/v1"):
        as_documented(await Api(Stub(bug)).ask("GET", path), "NOT_FOUND")


async def test_other_paths_answer_unknown_methods_alike() -> None:
    response = await Api(Stub(bug)).ask("DELETE", "/healthz")
    as_documented(response, "METHOD_NOT_ALLOWED")
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/asyncapi.json", *(e.path for e in TABLE)]
)
async def test_an_unknown_method_is_told_those_that_are_known(path: str) -> None:
    known = {e.method for e in TABLE if e.path == path} or {"GET"}
    known |= {"OPTIONS"} | ({"HEAD"} if "GET" in known else set())
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
        response = await Api(Stub(bug)).ask(method, path)
        if method == "HEAD":  # its answer has no body
            assert response.status_code == 405
        else:
            as_documented(response, "METHOD_NOT_ALLOWED")
        assert set(response.headers["allow"].split(", ")) == known
    response = await Api(Stub(bug)).ask("OPTIONS", path)
    assert (response.status_code, response.text) == (204, "")
    assert set(response.headers["allow"].split(", ")) == known


async def test_a_bug_is_logged_under_the_id_its_asker_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    problem = (await Api(Stub(bug)).ask("GET", "/v1/nodes")).json()
    (record,) = [r for r in caplog.records if r.getMessage() == "request_failed"]
    assert record.context["trace_id"] == problem["trace_id"]  # type: ignore[attr-defined]
    assert "KeyError" in (record.exc_text or str(record.exc_info))
    assert "KeyError" not in str(problem)
    assert "a bug" not in str(problem)


async def test_a_bulk_that_takes_long_is_not_given_up(registry: Registry) -> None:
    await Machines(registry).ready("node-A")
    api = Api(registry, api_timeout_s=0.001)
    body = {"action": "drain", "all": True, "reason": "r"}
    answer = await api.ask("POST", "/v1/bulk", body)
    assert (answer.status_code, answer.json()["done"]) == (200, 1)


async def test_a_record_that_changes_too_fast_is_not_called_a_store_that_is_away() -> None:
    async def contended() -> None:
        raise Contended("again and again")

    answer = await Api(Stub(contended)).ask("POST", "/v1/nodes/a/drain", {"reason": "r"})
    problem = as_documented(answer, "UNAVAILABLE")
    assert problem["title"] == "the record changes faster than it can be read; try again"
    problem = (await Api(Stub(away)).ask("POST", "/v1/nodes/a/drain", {"reason": "r"})).json()
    assert problem["title"] == "the store can't be asked right now"
