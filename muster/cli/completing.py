"""What the shell completes: ids of nodes, asked of a gateway, quickly or not at all."""

from __future__ import annotations

import os
from typing import Annotated

import typer

_SHOWN_MOST = 50
_TIMEOUT_S = 1.0


def node_ids(incomplete: str) -> list[str]:
    """Ids that begin so; none where no gateway answers in time."""
    try:
        from muster.cli.remote import split, token
        from muster.client import Client, Filter

        servers = split([os.environ.get("MUSTER_SERVER", "")])
        with Client(*servers, token=token(), timeout_s=_TIMEOUT_S, patience_s=0) as muster:
            which: Filter = {"q": incomplete} if incomplete else {}
            found = [node.node_id for node in muster.nodes(limit=_SHOWN_MOST, **which)]
    except Exception:  # noqa: BLE001  # a person is typing: nothing must be in the way
        return []
    return sorted(node_id for node_id in found if node_id.startswith(incomplete))


NodeId = Annotated[
    str, typer.Argument(metavar="ID", autocompletion=node_ids, help="The machine's node id.")
]
NodeIds = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID]...", autocompletion=node_ids, help="The machines' node ids."),
]
