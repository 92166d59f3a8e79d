"""The pages' routes. They need no token: they hold nothing but what is in the project's files, and
whatever they show they ask of the API, which knows who asks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.methods import Methods
from gateway.pages.files import SHELL, File, everything

PATHS = ("/", "/nodes/{node_id}", "/mine", "/select", "/events")
"""Each page has an address of its own, to be kept and sent to others."""


def routes() -> list[Route]:
    """The document at each of its paths, and the files it asks for under `/pages/`."""
    found = everything()
    shell = _Served(found[SHELL])
    return [
        *(Route(path, shell) for path in PATHS),
        *(
            Route(f"/pages/{name}", _Served(file))
            for name, file in sorted(found.items())
            if name != SHELL
        ),
    ]


class _Served(Methods):
    """One file."""

    def __init__(self, file: File) -> None:
        super().__init__(["GET"])
        self._file = file

    async def answer(self, method: str, request: Request) -> Response:
        headers = dict(self._file.headers)
        if self._file.known_to(request.headers.get("if-none-match", "")):
            del headers["Content-Type"]
            return Response(status_code=304, headers=headers)
        return Response(self._file.content, headers=headers)
