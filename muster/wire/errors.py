"""Error codes of the protocol and the sentences people read, in Chinese and English."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """The codes of `node_error`."""

    NO_GPU_AVAILABLE = "NO_GPU_AVAILABLE"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    INVALID_CAPABILITY_SCHEMA = "INVALID_CAPABILITY_SCHEMA"
    NODE_ID_CONFLICT = "NODE_ID_CONFLICT"
    NOT_REGISTERED = "NOT_REGISTERED"
    UNAUTHORIZED = "UNAUTHORIZED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class WireError(Exception):
    """A message that is refused. `path` names the field, `details` go into the answer;
    `unreadable` says that the frame was no message at all."""

    code = ErrorCode.INVALID_MESSAGE

    def __init__(
        self,
        path: str | None = None,
        expected: str = "",
        *,
        type: str | None = None,
        unreadable: bool = False,
    ) -> None:
        super().__init__(f"{path or 'message'}: expected {expected}")
        self.path = path
        self.expected = expected
        self.type = type
        self.unreadable = unreadable

    @property
    def details(self) -> dict[str, Any] | None:
        return {"path": self.path, "expected": self.expected}


class InvalidMessage(WireError):
    """Malformed, of the wrong type, or without a field that must be there."""


class NoGpu(WireError):
    """A registration without a usable GPU."""

    code = ErrorCode.NO_GPU_AVAILABLE

    @property
    def details(self) -> dict[str, Any] | None:
        return None


TEXTS: dict[str, dict[ErrorCode, str]] = {
    "zh": {
        ErrorCode.NO_GPU_AVAILABLE: "节点注册失败: 必须提供 GPU 信息",
        ErrorCode.INVALID_MESSAGE: "消息格式错误: {path} 应为 {expected}",
        ErrorCode.INVALID_CAPABILITY_SCHEMA: "不支持的 capability_schema_version, 请升级节点程序",
        ErrorCode.NODE_ID_CONFLICT: "该 node_id 属于另一台机器, 请清除已保存的 node_id 后重新注册",
        ErrorCode.NOT_REGISTERED: "节点尚未注册, 请先发送 node_register",
        ErrorCode.UNAUTHORIZED: "加入令牌缺失或错误, 请联系管理员",
        ErrorCode.RATE_LIMITED: "消息过于频繁, 请稍后再发",
        ErrorCode.UNAVAILABLE: "注册服务暂时不可用, 请稍后重试",
        ErrorCode.INTERNAL_ERROR: "服务器内部错误, 请稍后重试或联系管理员",
    },
    "en": {
        ErrorCode.NO_GPU_AVAILABLE: "registration refused: GPU information is required; "
        "check that the driver is installed and finds the card",
        ErrorCode.INVALID_MESSAGE: "invalid message: {path}: expected {expected}",
        ErrorCode.INVALID_CAPABILITY_SCHEMA: "unsupported capability_schema_version: "
        "upgrade the node's program",
        ErrorCode.NODE_ID_CONFLICT: "this node_id belongs to another machine: "
        "clear the saved node_id and register again",
        ErrorCode.NOT_REGISTERED: "not registered: send node_register first",
        ErrorCode.UNAUTHORIZED: "the join token is missing or wrong: ask the operator for one",
        ErrorCode.RATE_LIMITED: "too many messages: wait, then send again",
        ErrorCode.UNAVAILABLE: "registration is unavailable just now: try again shortly",
        ErrorCode.INTERNAL_ERROR: "internal error: try again later, or tell the operator",
    },
}

_CONFLICT_WAIT = {
    "zh": "该 node_id 正在另一连接上使用, 请稍候再用同一 node_id 注册",
    "en": "this node_id is in use on another connection: wait, then register the same id again",
}


def error_text(code: ErrorCode | str, locale: str, **details: Any) -> str:
    """The sentence for an error; INVALID_MESSAGE names `path` and `expected`."""
    code = ErrorCode(code)
    locale = locale if locale in TEXTS else "zh"
    if code is ErrorCode.NODE_ID_CONFLICT and details.get("retry_after_ms"):
        return _CONFLICT_WAIT[locale]
    text = TEXTS[locale][code]
    if code is ErrorCode.INVALID_MESSAGE:
        return text.format(
            path=details.get("path") or ("消息" if locale == "zh" else "the message"),
            expected=details.get("expected") or "?",
        )
    return text


def pick_locale(accept_language: str | None, default: str) -> str:
    """`zh` or `en`: the better liked of the two in an Accept-Language header, else the default."""
    best, best_q = default, 0.0
    for part in (accept_language or "").split(","):
        tag, _, q = part.strip().partition(";")
        language = tag.split("-")[0].strip().lower()
        try:
            weight = float(q.strip().removeprefix("q=")) if q else 1.0
        except ValueError:
            continue
        if language in TEXTS and weight > best_q:
            best, best_q = language, weight
    return best


_STATUS_TEXTS: dict[str, tuple[str, str]] = {
    "registered": (
        "已注册, 等待连续 3 次心跳正常",
        "registered; three good heartbeats make it ready",
    ),
    "operator": ("管理员要求排空: 不再分配新任务", "an operator drains this node: no new work"),
    "healthy": ("健康检查通过, 可以接收任务", "healthy: may be given work"),
    "warmup_timeout": ("未能在预热时间内就绪", "did not become ready within the warm-up time"),
    "gpu_unavailable": (
        "GPU 不可用, 请检查驱动和显卡",
        "no usable GPU: check the driver and the card",
    ),
    "model_missing": (
        "必需的模型未就绪, 请检查模型安装",
        "required models are not ready: check the installed models",
    ),
    "self_reported": ("节点自报异常", "the node says that it is not well"),
    "missed_heartbeat": ("心跳缺失, 请检查网络", "heartbeats were missed: check the network"),
    "job_failed": ("任务多次失败", "jobs failed repeatedly: check the node's log"),
    "recovered": ("已恢复, 可以接收任务", "recovered: may be given work again"),
    "node_request": (
        "节点请求下线, 正在完成已有任务",
        "the node asked to leave: finishing its jobs",
    ),
    "drained": ("已排空, 可以安全下线", "drained: nothing runs any more"),
    "drain_timeout": (
        "排空超时, 仍有任务在运行",
        "the drain's time ran out with jobs still running",
    ),
    "resumed": ("管理员已恢复该节点", "an operator resumed this node"),
    "heartbeat_timeout": ("心跳超时, 节点已离线", "no heartbeat in time: the node is offline"),
    "unregistered": ("节点已注销", "the node unregistered"),
    "removed": ("管理员已移除该节点", "an operator removed this node"),
}


def status_text(status: str, reason: str, locale: str) -> str:
    """One sentence on a status: what it means and what to do."""
    zh, en = _STATUS_TEXTS.get(reason, (reason, reason))
    return f"{status}: {en if locale == 'en' else zh}"
