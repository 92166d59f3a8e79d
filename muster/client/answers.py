"""What the API answers, as a client sees it. Instants are the store's clock, ms.

Fields that are not known here are passed over, and most may be missing, so that a client goes on
working when the gateways are newer or older than it is. The meaning of each is in docs/api.md.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

SIMULATED_LABEL = "simulated"


class Gpu(Struct, frozen=True):
    """A registered GPU; memory in GiB."""

    name: str
    memory_gb: float = 0.0


class Operator(Struct, frozen=True):
    """An operator's drain: who asked for it, why, when, and how long jobs may take."""

    who: str = ""
    why: str = ""
    at: int = 0
    timeout_ms: int = 0


class Node(Struct, frozen=True, kw_only=True):
    """One node of a list."""

    node_id: str
    status: str
    live: bool = False
    reason: str = ""
    since: int = 0
    last_heartbeat: int = 0
    gateway: str = ""
    version: int = 0
    program_version: str | None = None
    platform: str | None = None
    public: bool = True
    capacity: int = 0
    running_jobs: int = 0
    holds: int = 0
    load: int = 0
    gpus: tuple[Gpu, ...] = ()
    labels: dict[str, str] = {}
    operator_intent: bool = False
    operator: Operator | None = None

    @property
    def simulated(self) -> bool:
        """Whether it only pretends to have GPUs, for trying out."""
        return self.labels.get(SIMULATED_LABEL) == "true"


class NodePage(Struct, frozen=True, kw_only=True):
    """A page of nodes; `cursor` goes on, None after the last page. It may be short though more
    follows. `now` is the instant it was read, `events_cursor` where to watch from (in a snapshot);
    None if the gateway does not say."""

    nodes: tuple[Node, ...]
    cursor: str | None = None
    events_cursor: str | None = None
    now: int | None = None


class Verdict(Struct, frozen=True):
    """What one heartbeat or job was worth: P passed, else the letter of what failed, and its
    reason."""

    at: int
    verdict: str
    reason: str | None = None


class LabelledBy(Struct, frozen=True):
    """Who changed an operator's labels last, why, and when."""

    who: str = ""
    why: str = ""
    at: int = 0


class OpenHold(Struct, frozen=True):
    """A place kept. Only admins are told the id, as it lets its holder end it."""

    expires: int
    id: str | None = None


class NodeStory(Node, frozen=True, kw_only=True):
    """One node with everything known of it. Verdicts and events are newest first."""

    session: int = 0
    ever_ready: bool = False
    window: str = ""
    capabilities: tuple[str, ...] = ()
    node_labels: dict[str, str] = {}
    operator_labels: dict[str, str] = {}
    labelled: LabelledBy | None = None
    open_holds: tuple[OpenHold, ...] = ()
    registration: dict[str, Any] = {}
    report: dict[str, Any] | None = None
    verdicts: tuple[Verdict, ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    warnings: tuple[Any, ...] = ()
    now: int = 0
    address: str | None = None


class Hold(Struct, frozen=True):
    """A place kept for the job about to come. The machine names the id, or the request's, as the
    `job_id` of its `job_result`."""

    id: str
    expires: int = 0


class Chosen(Struct, frozen=True, kw_only=True):
    """A machine that can do it now. `load` is without the hold just taken, `age_ms` the age of the
    report it was judged by."""

    node_id: str
    load: int = 0
    capacity: int = 0
    age_ms: int = 0
    gateway: str = ""
    hold: Hold | None = None


class Selection(Struct, frozen=True):
    """The machines, the preferred and least loaded first."""

    nodes: tuple[Chosen, ...]


class Lack(Struct, frozen=True):
    """One thing of a requirement that a node lacks."""

    reason: str
    wanted: Any = None
    has: Any = None


class Near(Struct, frozen=True):
    """A machine that nearly fits, and all that it lacks."""

    node_id: str
    status: str = ""
    lacks: tuple[Lack, ...] = ()


class Trial(Struct, frozen=True, kw_only=True):
    """Who would be selected (`matching` in all, the best of them in `nodes`), and why the others
    would not: how many lack what first, and the nearest misses. Where `sampled`, all counts are of
    the `examined` nodes of `total`."""

    matching: int
    nodes: tuple[Chosen, ...] = ()
    reasons: dict[str, int] = {}
    nearest: tuple[Near, ...] = ()
    examined: int = 0
    total: int = 0
    sampled: bool = False
    now: int = 0


class Point(Struct, frozen=True):
    """One reason why a node is given no work now."""

    code: str
    text: str = ""


class Waiting(Struct, frozen=True):
    """What a node waits for; `have` of `needed`, and the milliseconds until time alone changes
    something."""

    what: str
    text: str = ""
    have: int | None = None
    needed: int | None = None
    changes_in_ms: int | None = None


class Explanation(Struct, frozen=True, kw_only=True):
    """The answer to "why?" for one node. `matches` is None unless a requirement was given."""

    node_id: str
    status: str
    reason: str = ""
    since: int = 0
    for_ms: int = 0
    selectable: bool = False
    summary: str = ""
    now: int = 0
    why_not: tuple[Point, ...] = ()
    to_do: tuple[str, ...] = ()
    waits_for: Waiting | None = None
    blame: str | None = None
    matches: bool | None = None
    lacks: tuple[Lack, ...] = ()


class Tally(Struct, frozen=True):
    """Nodes that have something: all that are not offline, and those that are ready now."""

    nodes: int = 0
    ready: int = 0


class Observation(Struct, frozen=True, kw_only=True):
    """How well the fleet is watched: how many partitions a sweeper looked at lately, how long ago
    the one looked at longest ago was (ms; None if never), and the most unobserved time of any."""

    partitions: int = 0
    watched: int = 0
    stalest_ms: int | None = None
    unobserved_ms: int = 0


class MassExpiry(Struct, frozen=True):
    """Much of the fleet went silent at once."""

    at: int
    lost: int = 0
    living: int = 0


class Brake(Struct, frozen=True):
    """Silent nodes are called offline slowly, since when and until when at most; `waiting` of them
    are not yet."""

    since: int
    until: int = 0
    waiting: int = 0


class Fleet(Struct, frozen=True, kw_only=True):
    """The fleet at `now`. Where `sampled`, the tallies are of `examined` nodes only."""

    now: int
    total: int = 0
    status: dict[str, int] = {}
    selectable: int = 0
    examined: int = 0
    sampled: bool = False
    kinds: dict[str, Tally] = {}
    languages: dict[str, Tally] = {}
    gpus: dict[str, Tally] = {}
    program_versions: dict[str, Tally] = {}
    platforms: dict[str, Tally] = {}
    gateways: int = 0
    sweepers: int = 0
    watch: Observation = Observation()
    mass_expiry: MassExpiry | None = None
    brake: Brake | None = None


class Finding(Struct, frozen=True):
    """What one check found: `level` is `ok`, `note`, `warning` or `fatal`; what to do about it."""

    check: str
    level: str
    what: str = ""
    to_do: str | None = None


class Diagnosis(Struct, frozen=True):
    """How one gateway finds the system, worst first; `level` is the worst."""

    now: int
    gateway: str = ""
    level: str = "ok"
    findings: list[Finding] = []


class Me(Struct, frozen=True, kw_only=True):
    """Who the token is of, and what it may: `role` is `read` or `admin`; with an `owner`, only
    machines labelled so are seen."""

    name: str
    role: str = "read"
    owner: str | None = None
    gateway: str = ""
    now: int = 0


class Done(Struct, frozen=True):
    """Whether anything was changed; false where it was so already."""

    node_id: str
    changed: bool = True


class Released(Struct, frozen=True):
    """Whether the brake held until now."""

    held: bool = True


class Labels(Struct, frozen=True):
    """A node's labels as they are now."""

    node_id: str
    labels: dict[str, str] = {}


class Failure(Struct, frozen=True):
    """A node to which it could not be done, and the code of the problem."""

    node_id: str
    code: str = ""


class BulkDone(Struct, frozen=True, kw_only=True):
    """How many nodes the filter showed and to how many it was done. Lists have at most 1000."""

    matched: int
    done: int = 0
    failed: tuple[Failure, ...] = ()
    nodes: tuple[str, ...] = ()
    dry_run: bool = False
