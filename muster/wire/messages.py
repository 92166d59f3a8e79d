"""Every message of the protocol as a frozen value.

What a node says is kept as it was understood, after defaults and mappings; `reading` makes these.
What a server says is encoded exactly as declared here: the tag is the wire's `type`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct, field

SUPPORTED_SCHEMAS = ("1.0", "2.0")
"""Values of `capability_schema_version` that are understood."""

COUNT_MOST = 2**31 - 1
"""The largest count (jobs, queue length, indexes) taken for true."""

Count = Annotated[int, Meta(ge=0, le=COUNT_MOST)]

# Parts


class Gpu(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One graphics card; memory in GiB."""

    name: str
    memory_gb: float
    uuid: str | None = None
    driver_version: str | None = None
    index: Count | None = None


class Hardware(Struct, frozen=True, kw_only=True):
    """What a machine is made of; memory in GiB."""

    cpu_cores: float
    memory_gb: float
    gpus: tuple[Gpu, ...]


class Model(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installed model."""

    model_id: str
    kind: str
    version: str
    src_lang: str | None = None
    tgt_lang: str | None = None
    dialect: str | None = None
    enabled: bool = True
    status: str = "ready"


class Service(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installed service of schema 2.0; types no list names are kept."""

    service_id: str | None = None
    type: str | None = None
    device: str | None = None
    status: str | None = None


class CapabilityOfType(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a core capability is ready, by the node's own word (schema 2.0)."""

    type: str
    ready: bool
    reason: str | None = None


class LanguageCapabilities(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Languages by direction (schema 2.0)."""

    asr_languages: tuple[str, ...] = ()
    semantic_languages: tuple[str, ...] = ()
    tts_languages: tuple[str, ...] = ()


class GpuReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One card as a heartbeat sees it; memory in GiB, temperature in degrees Celsius.

    What says nothing of its health is not called ill.
    """

    index: Count | None = None
    uuid: str | None = None
    healthy: bool = field(default_factory=lambda: True)
    reason: str | None = None
    memory_used_gb: float | None = None
    temperature_c: float | None = None


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How busy a machine is. Percentages are kept as reported, also outside 0-100."""

    cpu_percent: float | None = None
    mem_percent: float | None = None
    running_jobs: Count | None = None
    gpu_percent: float | None = None
    gpu_mem_percent: float | None = None
    gpu_queue_length: Count | None = None
    gpus: tuple[GpuReport, ...] | None = None


# Node to server


class Register(Struct, frozen=True, kw_only=True, tag="node_register"):
    """A node introduces itself. `warnings` says what was accepted though it looks wrong."""

    node_id: str | None = None
    version: str = "unknown"
    platform: str = "unknown"
    hardware: Hardware
    installed_models: tuple[Model, ...] = ()
    features_supported: dict[str, bool | None] = {}
    accept_public_jobs: bool = True
    capability_schema_version: str = "1.0"
    advanced_features: tuple[str, ...] = ()
    max_concurrent_jobs: int | None = None
    labels: dict[str, str] = {}
    node_token: str | None = None
    boot_id: str | None = None
    attempt: int | None = None
    heartbeat_ack: bool = False
    installed_services: tuple[Service, ...] | None = None
    capability_by_type: tuple[CapabilityOfType, ...] | None = None
    language_capabilities: LanguageCapabilities | None = None
    capability_state: dict[str, str] = {}
    warnings: tuple[str, ...] = ()


class Heartbeat(Struct, frozen=True, kw_only=True, tag="node_heartbeat"):
    """A sign of life. None = not reported; an empty tuple = reported as empty.

    `hardware_gpus` stands for itself: a report may name its cards and nothing else. `raw` is the
    usage as sent, flat and bounded, for people to look at; a small report is kept whole instead,
    as the `frame` it came in, and read by whoever looks at it.
    """

    node_id: str | None = None
    timestamp: Any = None
    usage: Usage = Usage()
    health_ok: bool | None = None
    health_reason: str | None = None
    hardware_gpus: tuple[Gpu, ...] | None = None
    hardware: Hardware | None = None
    installed_models: tuple[Model, ...] | None = None
    installed_services: tuple[Service, ...] | None = None
    capability_by_type: tuple[CapabilityOfType, ...] | None = None
    language_capabilities: LanguageCapabilities | None = None
    capability_state: dict[str, str] | None = None
    warnings: tuple[str, ...] = ()
    raw: dict[str, Any] = {}
    frame: bytes = b""


class JobResult(Struct, frozen=True, kw_only=True, tag="job_result"):
    """A task finished."""

    node_id: str | None = None
    job_id: str | None = None
    success: bool | None = None
    error_code: str | None = None
    error_message: str | None = None
    running_jobs: Count | None = None


class Unregister(Struct, frozen=True, kw_only=True, tag="node_unregister"):
    """A node leaves; with `drain`, after finishing what it has."""

    reason: str | None = None
    drain: bool = True


class Unknown(Struct, frozen=True, kw_only=True):
    """A message of a type this version does not know."""

    type: str


# Server to node


class RegisterAck(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="node_register_ack"):
    """The first frame of a session. Times in milliseconds; the first two are left out if None.

    The other defaults are made, not given, because a made default is never left out.
    """

    node_token: str | None = None
    resumed: bool | None = None
    node_id: str
    message: str = field(default_factory=lambda: "registered")
    status: str = field(default_factory=lambda: "registering")
    session: int = field(default_factory=lambda: 0)
    version: int = field(default_factory=lambda: 0)
    heartbeat_interval_ms: int = field(default_factory=lambda: 15_000)
    heartbeat_timeout_ms: int = field(default_factory=lambda: 45_000)
    warnings: Sequence[str] = field(default_factory=lambda: ())


class NodeError(Struct, frozen=True, kw_only=True, tag="node_error"):
    """A refusal; the keys are always present."""

    node_id: str | None
    code: str
    message: str
    details: dict[str, Any] | None = None


class NodeStatus(Struct, frozen=True, kw_only=True, tag="node_status"):
    """The node's status changed; `timestamp` in ms of the store's clock."""

    node_id: str
    status: str
    previous: str | None
    reason: str
    message: str
    timestamp: int
    version: int


class HeartbeatAck(Struct, frozen=True, kw_only=True, tag="node_heartbeat_ack"):
    """When the next heartbeat is wanted (ms), and whether the store can be asked."""

    node_id: str
    next_ms: int
    store: str


class Reconnect(Struct, frozen=True, kw_only=True, tag="reconnect"):
    """This socket will be closed: come back after so many milliseconds."""

    after_ms: int
    reason: str


Message = Register | Heartbeat | JobResult | Unregister | Unknown
"""What a node may say."""

Reply = RegisterAck | NodeError | NodeStatus | HeartbeatAck | Reconnect
"""What a server may say."""
