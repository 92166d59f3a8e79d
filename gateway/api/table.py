"""Every endpoint of the API: the one place that says what there is.

Routes, roles, the OpenAPI document, the page at `/docs` and docs/api.md are made from these rows.
An example's request is written here; its answer was recorded from a running system (`make docs`).
"""

from __future__ import annotations

from gateway.api import doctor, events, fleet, me, nodes, operating, selecting
from gateway.api.answers import (
    BulkDone,
    Done,
    LabelsInForce,
    Me,
    NodeList,
    NodeStory,
    Released,
    Selection,
    Trial,
)
from gateway.api.endpoint import Endpoint, Example
from gateway.api.frames import EventShown
from gateway.api.questions import (
    BulkBody,
    DrainBody,
    EventsQuery,
    LabelsBody,
    NeedsBody,
    NodesQuery,
    ReasonQuery,
    RequirementQuery,
    ResumeBody,
    SelectBody,
)
from gateway.examining import Diagnosis
from gateway.explaining import Explanation
from muster.wire.bearer import Role
from registry.overview import Overview

TABLE: tuple[Endpoint, ...] = (
    Endpoint(
        "POST",
        "/v1/select",
        "select",
        Role.READ,
        selecting.select,
        "Find a machine for a job, and hold a place on it",
        "Answers ready, live machines that meet everything asked for: those preferred first, then "
        "the least loaded of a random sample, so that callers do not all get the same one. With "
        "`hold_ms` a place on each is kept for the job about to come. If nobody fits, the problem "
        "`NO_AVAILABLE_NODE` says why and who nearly does.",
        Example(
            body={
                "asr": ["zh"],
                "nmt": [{"src_lang": "zh", "tgt_lang": "en"}],
                "tts": ["en"],
                "labels": {"region": ["eu", "us"], "owner": {"not": ["lab"]}},
                "min_gpu_memory_gb": 16,
                "hold_ms": 30_000,
                "request_id": "call-4711",
            }
        ),
        answer=Selection,
        body=SelectBody,
        codes=("NO_AVAILABLE_NODE", "REQUEST_ID_REUSED"),
        problem=("NO_AVAILABLE_NODE", Example(body={"tts": ["en", "ja"], "public": False})),
        links={
            "releaseHold": {"hold_id": "/nodes/0/hold/id"},
            "showNode": {"node_id": "/nodes/0/node_id"},
        },
    ),
    Endpoint(
        "POST",
        "/v1/select/explain",
        "explainSelection",
        Role.READ,
        selecting.try_selection,
        "Try a selection: who would match, and why the others would not",
        "Nothing is held, and no machine notices. Every node is looked at, or a random sample of a "
        "large fleet: whoever needs a machine asks `POST /v1/select`, which costs less.",
        Example(
            body={
                "kind": "asr",
                "src_lang": "zh",
                "labels": {"region": "eu"},
                "min_gpu_memory_gb": 30,
            }
        ),
        answer=Trial,
        body=NeedsBody,
        links={"showNode": {"node_id": "/nodes/0/node_id"}},
    ),
    Endpoint(
        "DELETE",
        "/v1/holds/{hold_id}",
        "releaseHold",
        Role.READ,
        selecting.release_hold,
        "Give a held place back",
        "For a job that will not come after all. A hold also ends with the `job_result` whose "
        "`job_id` is the hold's id or its `request_id`, and with the first report after its time.",
        Example(path={"hold_id": "58e1bfffd133c665ab9afd08~node-ABC12345"}),
        codes=("HOLD_NOT_FOUND",),
    ),
    Endpoint(
        "GET",
        "/v1/nodes",
        "listNodes",
        Role.READ,
        nodes.list_nodes,
        "List nodes",
        "Every condition narrows. Follow `cursor` until it is null: a node that is there all the "
        "while is shown once, whatever comes and goes meanwhile (sorted, as long as what it is "
        "sorted by does not change).",
        Example(query="status=ready&asr=zh&label=region=eu&sort=load&limit=2"),
        answer=NodeList,
        query=NodesQuery,
        problem=("INVALID_PARAMETER", Example(query="stauts=ready")),
        links={
            "showNode": {"node_id": "/nodes/0/node_id"},
            "explainNode": {"node_id": "/nodes/0/node_id"},
            "drainNode": {"node_id": "/nodes/0/node_id"},
        },
    ),
    Endpoint(
        "GET",
        "/v1/events",
        "watchEvents",
        Role.READ,
        events.watch_events,
        "Watch what happens",
        "A stream of server-sent events that does not end by itself: each frame has the kind as "
        "`event`, a cursor as `id` and an EventShown as `data`. Every condition narrows. Send the "
        "last `id` as `Last-Event-ID` (browsers do) or `after`, to any gateway, to go on without a "
        "gap or a repetition. Where that can't be done an event `gap` (GapShown) says so: list the "
        "nodes anew. A gateway that ends the stream says why with an event `end` (EndShown).",
        Example(query="types=transition&status=ready"),
        answer=EventShown,
        query=EventsQuery,
        timed=False,
        streams=True,
    ),
    Endpoint(
        "GET",
        "/v1/nodes/{node_id}",
        "showNode",
        Role.READ,
        nodes.show_node,
        "Show one node",
        "Its record, its last verdicts, and its last events with their evidence.",
        Example(path={"node_id": "node-ABC12345"}),
        answer=NodeStory,
        codes=("NODE_NOT_FOUND",),
    ),
    Endpoint(
        "GET",
        "/v1/nodes/{node_id}/explain",
        "explainNode",
        Role.READ,
        nodes.explain_node,
        "Explain why a node is given no work",
        "Why it is not ready, what to do, what it waits for and how long. With a requirement, also "
        "whether it matches and what it lacks; `public` then counts as true unless it is false, as "
        "in a selection. `Accept-Language` picks Chinese or English.",
        Example(
            path={"node_id": "node-DRAINED1"},
            query="kind=nmt&src_lang=zh&tgt_lang=fr",
            headers={"Accept-Language": "en"},
        ),
        answer=Explanation,
        query=RequirementQuery,
        codes=("NODE_NOT_FOUND",),
    ),
    Endpoint(
        "GET",
        "/v1/fleet",
        "showFleet",
        Role.READ,
        fleet.show_fleet,
        "The fleet in numbers",
        "Counts by status, kind, languages, GPU and program version, and how well the fleet is "
        "watched.",
        Example(),
        answer=Overview,
    ),
    Endpoint(
        "GET",
        "/v1/me",
        "showMe",
        Role.READ,
        me.show_me,
        "Show who you are",
        "The name, role and owner of the token that asks: what you may see and do. Where no tokens "
        "are asked for, the name is `local` or `anyone`, with the role `admin`.",
        Example(),
        answer=Me,
    ),
    Endpoint(
        "GET",
        "/v1/doctor",
        "showDoctor",
        Role.READ,
        doctor.examine,
        "What is not well, and what to do",
        "The store's set-up, clocks, sweepers, and the gateway that answers: each check with what "
        "it found, the worst first. It is answered also while the store does not answer. A "
        "token with an owner may not.",
        Example(),
        answer=Diagnosis,
        codes=("FORBIDDEN",),
        without_store=True,
    ),
    Endpoint(
        "POST",
        "/v1/fleet/release-brake",
        "releaseBrake",
        Role.ADMIN,
        fleet.release_brake,
        "Let go of the offline brake",
        "With `MUSTER_OFFLINE_BRAKE` on, a fleet of which much falls silent at once is called "
        "offline slowly; `brake` of `GET /v1/fleet` shows it. After this, whoever is silent is "
        "called so at once. A token with an owner may not.",
        Example(body={"reason": "the power is out, they are really gone"}),
        answer=Released,
        body=ResumeBody,
    ),
    Endpoint(
        "POST",
        "/v1/nodes/{node_id}/drain",
        "drainNode",
        Role.ADMIN,
        operating.drain,
        "Drain a node",
        "It gets no more work from this moment on, until it is resumed; no reconnect or restart of "
        "its program undoes that. Its jobs may go on for `timeout_s`. When they have ended its "
        "reason becomes `drained`: it may be taken away safely.",
        Example(path={"node_id": "node-ABC12345"}, body={"reason": "new driver", "timeout_s": 600}),
        answer=Done,
        body=DrainBody,
        codes=("NODE_NOT_FOUND",),
        problem=(
            "NODE_NOT_FOUND",
            Example(path={"node_id": "node-NOBODY00"}, body={"reason": "new driver"}),
        ),
        links={"resumeNode": {"node_id": "/node_id"}, "explainNode": {"node_id": "/node_id"}},
    ),
    Endpoint(
        "POST",
        "/v1/nodes/{node_id}/resume",
        "resumeNode",
        Role.ADMIN,
        operating.resume,
        "End an operator's drain",
        "`changed` is false if there was none.",
        Example(path={"node_id": "node-ABC12345"}, body={"reason": "driver is in"}),
        answer=Done,
        body=ResumeBody,
        codes=("NODE_NOT_FOUND",),
    ),
    Endpoint(
        "PATCH",
        "/v1/nodes/{node_id}/labels",
        "labelNode",
        Role.ADMIN,
        operating.label,
        "Change an operator's labels on a node",
        "They are kept apart from the node's own, lie over them, and outlive its record; null "
        "takes one away. A token with an owner may not change the label `owner`.",
        Example(
            path={"node_id": "node-ABC12345"},
            body={"labels": {"tier": "gold", "rack": None}, "reason": "moved to the good rack"},
        ),
        answer=LabelsInForce,
        body=LabelsBody,
        codes=("NODE_NOT_FOUND", "TOO_MANY_LABELS"),
    ),
    Endpoint(
        "POST",
        "/v1/bulk",
        "bulk",
        Role.ADMIN,
        operating.bulk,
        "Do the same to every node that a filter shows",
        "Try it with `dry_run` first. A filter without a condition is refused unless `all` is "
        "true. It takes as long as it takes: no time limit.",
        Example(
            body={
                "action": "drain",
                "filter": {"labels": {"region": "eu"}, "gpu": "3090"},
                "reason": "cards are replaced",
                "dry_run": True,
            }
        ),
        answer=BulkDone,
        body=BulkBody,
        timed=False,
    ),
    Endpoint(
        "DELETE",
        "/v1/nodes/{node_id}",
        "removeNode",
        Role.ADMIN,
        operating.remove,
        "Take a node off the roll",
        "At once, whatever it runs. The machine may register again; an operator's drain and labels "
        "stay for when it does. Until then the problem `NODE_NOT_FOUND` says who took it off, when "
        "and why (for a day, `MUSTER_RETENTION_S`).",
        Example(path={"node_id": "node-OLDCARD1"}, query="reason=sold"),
        query=ReasonQuery,
        codes=("NODE_NOT_FOUND",),
        problem=(
            "NODE_NOT_FOUND",
            Example(path={"node_id": "node-OLDCARD1"}, query="reason=sold"),
        ),
    ),
)
