"""An example as a command for a terminal."""

from __future__ import annotations

from gateway.api.endpoint import Endpoint, Example
from gateway.api.pretty import WIDTH, pretty

HOST = "http://127.0.0.1:8080"


def command(endpoint: Endpoint, example: Example) -> str:
    """`curl …`; long bodies over several lines."""
    path = endpoint.path.format(**example.path)
    query = f"?{example.query}" if example.query else ""
    url = f"{HOST}{path}{query}"
    method = "" if endpoint.method == "GET" else f"-X {endpoint.method} "
    headers = "".join(f"-H '{name}: {value}' " for name, value in example.headers.items())
    line = f"curl {method}{headers}{_quoted(url)}"
    if example.body is None:
        return line
    room = WIDTH - len(line) - len(" -d ''")
    body = pretty(dict(example.body))
    if "\n" not in body and len(body) > room:
        return f"{line} -d \\\n  {_quoted(body)}"
    return f"{line} -d {_quoted(body)}"


def _quoted(text: str) -> str:
    """As a shell reads it; quotes inside are not needed by any example."""
    assert "'" not in text
    return f"'{text}'" if set(text) & set('?&{}" ') else text
