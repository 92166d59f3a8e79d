"""What is answered, and how it is made of what the registry says. Instants are the store's, ms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.api.frames import EventShown
from gateway.api.frames import shown as event_shown
from gateway.explaining import LackShown, shown
from muster.wire.bearer import Role
from registry.base import ms
from registry.cursor import event_id
from registry.events import Event
from registry.keys import partition_of
from registry.model import Selected, Verdict
from registry.reading import NodeDetail
from registry.settings import RegistrySettings
from registry.subject import Intent, Subject
from registry.surveying import Miss, Shortfall


class GpuShown(Struct, frozen=True):
    """A registered GPU; memory in GiB."""

    name: str
    memory_gb: float


class OperatorShown(Struct, frozen=True):
    """An operator's drain: who asked for it, why, when, and how long jobs may take."""

    who: str
    why: str
    at: int
    timeout_ms: int


class NodeRow(Struct, frozen=True):
    """One node of a list."""

    node_id: str
    status: str
    live: Annotated[bool, Meta(description="Heard of within the heartbeat time-out.")]
    reason: Annotated[str, Meta(description="Why it has this status.")]
    since: Annotated[int, Meta(description="When it took this status.")]
    last_heartbeat: int
    gateway: str
    version: Annotated[int, Meta(description="Orders the changes of this node.")]
    program_version: str | None
    platform: str | None
    public: bool
    capacity: Annotated[int, Meta(description="Jobs it may have at once now.")]
    running_jobs: int
    holds: Annotated[int, Meta(description="Open holds.")]
    load: Annotated[int, Meta(description="Running jobs and open holds.")]
    gpus: list[GpuShown]
    labels: Annotated[
        dict[str, str], Meta(description="In force: the node's own, overlaid by the operator's.")
    ]
    operator_intent: Annotated[bool, Meta(description="Whether an operator drains it.")]
    operator: OperatorShown | None


class NodeList(Struct, frozen=True):
    """A page of nodes. A page may be short though more follows."""

    nodes: list[NodeRow]
    cursor: Annotated[str | None, Meta(description="Where to go on; null after the last page.")]
    now: Annotated[int, Meta(description="When it was read.")]
    events_cursor: Annotated[
        str | UnsetType,
        Meta(
            description="With `snapshot=1`: that of the first page is where to watch from; nothing "
            "that changes after it is missed."
        ),
    ] = UNSET


class VerdictShown(Struct, frozen=True):
    """What one heartbeat or job was worth: P passed, else the letter of what failed, and its
    reason."""

    at: int
    verdict: str
    reason: str | None


class LabelledBy(Struct, frozen=True):
    """Who changed an operator's labels last, why, and when."""

    who: str
    why: str
    at: int


class RemovedBy(Struct, frozen=True):
    """Who took a node off the roll, why, and when."""

    who: str
    why: str
    at: int


class HoldShown(Struct, frozen=True):
    """A place kept. The id, which lets its holder end it, is shown to admins."""

    expires: int
    id: str | UnsetType = UNSET


class NodeStory(NodeRow, frozen=True, kw_only=True):
    """One node with everything known of it. Verdicts and events are newest first."""

    session: int
    ever_ready: bool
    window: Annotated[str, Meta(description="The verdicts that the rules see, newest first.")]
    capabilities: list[str]
    node_labels: dict[str, str]
    operator_labels: dict[str, str]
    labelled: LabelledBy | None
    open_holds: list[HoldShown]
    registration: dict[str, Any]
    report: Annotated[dict[str, Any] | None, Meta(description="Its last heartbeat's.")]
    verdicts: list[VerdictShown]
    events: list[EventShown]
    warnings: list[Any]
    now: int
    address: Annotated[
        str | UnsetType, Meta(description="Where it connected from; shown to admins.")
    ] = UNSET


class HoldTaken(Struct, frozen=True):
    """A place kept for the job about to come. Name the id, or the request's, as the `job_id`."""

    id: str
    expires: int


class Chosen(Struct, frozen=True):
    """A machine that can do it now."""

    node_id: str
    load: Annotated[int, Meta(description="Jobs and holds it had, without the one just taken.")]
    capacity: int
    age_ms: Annotated[int, Meta(description="Age of the report it was judged by.")]
    gateway: str
    hold: HoldTaken | UnsetType = UNSET


class Selection(Struct, frozen=True):
    """The machines, the preferred and least loaded first."""

    nodes: list[Chosen]


class Near(Struct, frozen=True):
    """A machine that nearly fits, and all that it lacks."""

    node_id: str
    status: str
    lacks: list[LackShown]


class Trial(Struct, frozen=True):
    """Who would be selected, and why the others would not. `reasons` counts the others by the first
    thing each lacks. Where `sampled`, all counts are of the `examined` nodes."""

    matching: Annotated[int, Meta(description="How many fit.")]
    nodes: Annotated[
        list[Chosen], Meta(description="Of those the best, at most 100: the order of a selection.")
    ]
    reasons: dict[str, int]
    nearest: Annotated[list[Near], Meta(description="Those that lack least.")]
    examined: int
    total: int
    sampled: bool
    now: int


class Me(Struct, frozen=True):
    """Who asks, by their token, and what they may. Without tokens it is whoever may connect."""

    name: str
    role: Role
    owner: Annotated[
        str | None, Meta(description="They see and change only machines labelled so; null: all.")
    ]
    gateway: Annotated[str, Meta(description="The gateway that answers.")]
    now: int


class Done(Struct, frozen=True):
    """Whether anything was changed; false where it was so already."""

    node_id: str
    changed: bool


class Released(Struct, frozen=True):
    """Whether the brake held until now."""

    held: bool


class LabelsInForce(Struct, frozen=True):
    """A node's labels as they are now."""

    node_id: str
    labels: dict[str, str]


class Failure(Struct, frozen=True):
    """A node to which it could not be done, and the code of the problem."""

    node_id: str
    code: str


class BulkDone(Struct, frozen=True):
    """How many nodes the filter showed and to how many it was done. Lists have at most 1000."""

    matched: int
    done: Annotated[
        int,
        Meta(
            description="Of a resume: those that were drained; others are neither done nor failed."
        ),
    ]
    failed: list[Failure]
    nodes: Annotated[list[str], Meta(description="Those that the filter showed.")]
    dry_run: bool


def row(s: Subject, settings: RegistrySettings) -> NodeRow:
    """A node as lists show it."""
    return NodeRow(**_row(s, settings))


def story(detail: NodeDetail, settings: RegistrySettings, *, for_admin: bool) -> NodeStory:
    """A node with all there is to tell."""
    s = detail.subject
    own = s.registration.get("labels") or {}
    by = detail.labelled
    return NodeStory(
        **_row(s, settings),
        session=detail.session,
        ever_ready=detail.ever_ready,
        window=detail.window,
        capabilities=sorted(s.capabilities),
        node_labels=own,
        operator_labels=s.operator_labels,
        labelled=LabelledBy(by.who, by.why, by.at) if by else None,
        open_holds=[
            HoldShown(hold.expires, hold.hold_id if for_admin else UNSET) for hold in detail.holds
        ],
        registration=dict(s.registration),
        report=dict(s.report) or None,
        verdicts=[
            VerdictShown(at, verdict, Verdict(verdict).reason) for at, verdict in detail.verdicts
        ],
        events=[_event(s.node_id, event, for_admin) for event in detail.events],
        warnings=s.registration.get("warnings") or [],
        now=s.now,
        address=detail.address if for_admin else UNSET,
    )


def selection(found: Iterable[Selected]) -> Selection:
    """What a selection found."""
    return Selection(
        [
            Chosen(
                s.node_id,
                s.load,
                s.capacity,
                s.age_ms,
                s.gateway,
                HoldTaken(s.hold_id, s.hold_expires) if s.hold_id else UNSET,
            )
            for s in found
        ]
    )


def trial(found: Shortfall, total: int, now: int) -> Trial:
    """What a selection would find."""
    best = [
        Chosen(s.node_id, s.load, s.capacity, s.now - s.last_beat, s.gateway) for s in found.best
    ]
    nearest = [near(miss) for miss in found.nearest]
    examined, sampled = found.examined, found.sampled
    return Trial(found.fitting, best, found.counts, nearest, examined, total, sampled, now)


def near(miss: Miss) -> Near:
    """A near miss with its lacks."""
    s = miss.subject
    return Near(s.node_id, s.status, [shown(lack) for lack in miss.lacks])


def _row(s: Subject, settings: RegistrySettings) -> dict[str, Any]:
    registration = s.registration
    hardware = registration.get("hardware") or {}
    return {
        "node_id": s.node_id,
        "status": s.status,
        "live": s.live(ms(settings.heartbeat_timeout_s)),
        "reason": s.reason,
        "since": s.since,
        "last_heartbeat": s.last_beat,
        "gateway": s.gateway,
        "version": s.version,
        "program_version": registration.get("version"),
        "platform": registration.get("platform"),
        "public": s.public,
        "capacity": s.capacity,
        "running_jobs": s.jobs,
        "holds": s.holds,
        "load": s.load,
        "gpus": [_gpu(gpu) for gpu in hardware.get("gpus") or ()],
        "labels": s.labels,
        "operator_intent": s.intent is not None,
        "operator": _operator(s.intent),
    }


def _gpu(gpu: Mapping[str, Any]) -> GpuShown:
    return GpuShown(str(gpu.get("name", "")), float(gpu.get("memory_gb", 0)))


def _operator(intent: Intent | None) -> OperatorShown | None:
    if intent is None:
        return None
    return OperatorShown(intent.who, intent.why, intent.at, intent.timeout_ms)


def _event(node_id: str, stored: Mapping[str, str], for_admin: bool) -> EventShown:
    event = Event(partition_of(node_id), event_id(stored["event_id"]), stored)
    return event_shown(event, for_admin=for_admin)
