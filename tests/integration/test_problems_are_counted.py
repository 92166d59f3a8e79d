"""Problems told over one connection are each counted once."""

from __future__ import annotations

import re

import httpx

from tests.integration.conftest import System
from tests.support.node import metrics


async def test_each_problem_is_counted_once_under_its_code(system: System) -> None:
    await system.start(sweepers=0)
    asked = {
        "NODE_NOT_FOUND": ("GET", "/v1/nodes/nobody"),
        "": ("GET", "/v1/nodes"),
        "NOT_FOUND": ("GET", "/v1/nowhere"),
        "METHOD_NOT_ALLOWED": ("PUT", "/v1/nodes"),
        "INVALID_PARAMETER": ("GET", "/v1/nodes?nonsense=1"),
    }
    async with httpx.AsyncClient(base_url=system.http, trust_env=False) as client:
        for code, (method, path) in asked.items():
            assert (await client.request(method, path)).json().get("code", "") == code
        assert (await client.get("/v1/fleet")).status_code == 200
    counted = re.findall(
        r'^muster_http_problems_total{code="(\w+)"} ([1-9].*)$', await metrics(system.http), re.M
    )
    assert dict(counted) == {code: "1.0" for code in asked if code}
