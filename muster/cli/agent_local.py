"""Speaking to the agent that runs on this machine, over its local API."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from muster.agent import local_files

TIMEOUT_S = 5.0


class NobodyAnswersError(Exception):
    """No agent with a local API runs here."""


class RefusedError(Exception):
    """The agent does not do what it was asked; the text is its own."""


class LocalAgent:
    """The agent of one state directory."""

    def __init__(self, state_dir: Path, port: int | None) -> None:
        self._state_dir = state_dir
        self._url = f"http://127.0.0.1:{port}" if port else local_files.read_url(state_dir)

    def get(self, path: str) -> dict[str, Any]:
        """What the agent answers. Raises NobodyAnswersError or RefusedError."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Tells the agent something, with this user's token."""
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if self._url is None:
            raise NobodyAnswersError
        parts = urlsplit(self._url)
        connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=TIMEOUT_S
        )
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, self._headers(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NobodyAnswersError from error
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise NobodyAnswersError
        if response.status >= 400:
            raise RefusedError(answer.get("title", f"HTTP {response.status}"))
        return answer

    def _headers(self, body: dict[str, Any] | None) -> dict[str, str]:
        token = local_files.read_token(self._state_dir) if body is not None else None
        return {"Authorization": f"Bearer {token}"} if token else {}
