"""Every message of the protocol as a frozen struct. Names are the wire's own and never change."""

from __future__ import annotations

from typing import Any

import msgspec

SUPPORTED_SCHEMAS = ("1.0", "2.0")
KINDS = ("asr", "nmt", "tts", "vad", "emotion", "other")
MODEL_STATUSES = ("ready", "downloading", "not_installed", "error")


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU; `memory_gb` in GiB."""

    name: str
    memory_gb: float
    uuid: str | None = None
    driver_version: str | None = None
    index: int | None = None


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """`memory_gb` in GiB."""

    cpu_cores: float
    memory_gb: float
    gpus: tuple[Gpu, ...]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """An installed model. NMT needs both languages, TTS the target language."""

    model_id: str
    kind: str
    version: str
    src_lang: str | None = None
    tgt_lang: str | None = None
    dialect: str | None = None
    enabled: bool = True
    status: str = "ready"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A service of a 2.0 fleet; shown, never judged."""

    service_id: str | None = None
    type: str | None = None
    device: str | None = None
    status: str | None = None


class CapabilityOfType(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a 2.0 node can do one type of work."""

    type: str
    ready: bool
    reason: str | None = None


class LanguageCapabilities(msgspec.Struct, frozen=True, kw_only=True):
    """Languages of a 2.0 node; directed NMT pairs are asr x semantic without equals."""

    asr_languages: tuple[str, ...] = ()
    semantic_languages: tuple[str, ...] = ()
    tts_languages: tuple[str, ...] = ()


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """`node_register`, read and checked. `warnings` are what reading found odd but accepted."""

    hardware: Hardware
    installed_models: tuple[Model, ...]
    node_id: str | None = None
    version: str = "unknown"
    platform: str = "unknown"
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
    capability_state: dict[str, str] | None = None
    warnings: tuple[str, ...] = ()


class GpuReport(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU's health in a heartbeat; memory in GiB, temperature in degrees Celsius."""

    index: int | None = None
    uuid: str | None = None
    healthy: bool = True
    reason: str | None = None
    memory_used_gb: float | None = None
    temperature_c: float | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """`resource_usage`; percentages of 100. None means not reported."""

    cpu_percent: float | None = None
    mem_percent: float | None = None
    running_jobs: int | None = None
    gpu_percent: float | None = None
    gpu_mem_percent: float | None = None
    gpu_queue_length: int | None = None
    gpus: tuple[GpuReport, ...] | None = None


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """`node_heartbeat`. `hardware_gpus` is None when not reported and () when reported empty;
    `raw` is the usage as it came, for people."""

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


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """`job_result`: a task finished. `success` None counts as neither."""

    node_id: str | None = None
    job_id: str | None = None
    success: bool | None = None
    error_code: str | None = None
    error_message: str | None = None
    running_jobs: int | None = None


class Unregister(msgspec.Struct, frozen=True, kw_only=True):
    """`node_unregister`."""

    reason: str | None = None
    drain: bool = True


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose type this protocol does not know."""

    type: str


class RegisterAck(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="type",
    tag="node_register_ack",
):
    """The first frame of a session. `resumed` and `node_token` are left out when there are none."""

    node_id: str
    message: str
    status: str
    session: int
    version: int
    heartbeat_interval_ms: int
    heartbeat_timeout_ms: int
    warnings: tuple[str, ...]
    node_token: str | None = None
    resumed: bool | None = None


class NodeError(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="node_error"):
    """Why a message was refused."""

    node_id: str | None
    code: str
    message: str
    details: dict[str, Any] | None


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="node_status"):
    """A node's state changed; drop it when `version` is not above the last one."""

    node_id: str
    status: str
    previous: str
    reason: str
    message: str
    timestamp: int
    version: int


class HeartbeatAck(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="node_heartbeat_ack"
):
    """When to beat next, and whether the store took the last beat (`ok` or `unavailable`)."""

    node_id: str
    next_ms: int
    store: str


class Reconnect(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="reconnect"):
    """This socket will be closed (1012); reconnect after about `after_ms`."""

    after_ms: int
    reason: str
