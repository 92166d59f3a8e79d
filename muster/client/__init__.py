"""A scheduler's client of Muster's HTTP API, for programs that wait and for asyncio.

    with Client("http://gw-1:8080", "http://gw-2:8080", token=token) as muster:
        with muster.hold(kind="nmt", src_lang="zh", tgt_lang="en") as place:
            translate_at(place.node_id, job_id=place.id)

Needs httpx: the extra `client`. docs/client.md tells the rest.
"""

import logging

from muster.client.aio import AsyncClient
from muster.client.answers import (
    BulkDone,
    Chosen,
    Done,
    Explanation,
    Fleet,
    Gpu,
    Hold,
    Node,
    NodePage,
    NodeStory,
    Trial,
)
from muster.client.asking import Ceilings, Filter, Not, Requirement, Wanted
from muster.client.errors import (
    ConflictError,
    InternalError,
    InvalidParameterError,
    MusterError,
    NoAvailableNodeError,
    NotAllowedError,
    NotFoundError,
    ProblemError,
    RateLimitedError,
    UnavailableError,
    UnexpectedAnswerError,
    UnreachableError,
)
from muster.client.following import Event, Gap, Snapshot
from muster.client.holding import Held
from muster.client.sync import Client

__all__ = [
    "AsyncClient",
    "BulkDone",
    "Ceilings",
    "Chosen",
    "Client",
    "ConflictError",
    "Done",
    "Event",
    "Explanation",
    "Filter",
    "Fleet",
    "Gap",
    "Gpu",
    "Held",
    "Hold",
    "InternalError",
    "InvalidParameterError",
    "MusterError",
    "NoAvailableNodeError",
    "Node",
    "NodePage",
    "NodeStory",
    "Not",
    "NotAllowedError",
    "NotFoundError",
    "ProblemError",
    "RateLimitedError",
    "Requirement",
    "Snapshot",
    "Trial",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnreachableError",
    "Wanted",
]

logging.getLogger("muster.client").addHandler(logging.NullHandler())
