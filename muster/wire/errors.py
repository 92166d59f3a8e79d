"""Error codes, and the sentences people read, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

Locale = Literal["zh", "en"]


class ErrorCode(StrEnum):
    """Why a message was refused."""

    NO_GPU_AVAILABLE = "NO_GPU_AVAILABLE"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    INVALID_CAPABILITY_SCHEMA = "INVALID_CAPABILITY_SCHEMA"
    NODE_ID_CONFLICT = "NODE_ID_CONFLICT"
    NOT_REGISTERED = "NOT_REGISTERED"
    UNAUTHORIZED = "UNAUTHORIZED"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


TEXTS: Mapping[Locale, Mapping[ErrorCode, str]] = {
    "zh": {
        ErrorCode.NO_GPU_AVAILABLE: "节点注册失败: 必须提供 GPU 信息",
        ErrorCode.INVALID_MESSAGE: "消息格式错误",
        ErrorCode.INVALID_CAPABILITY_SCHEMA: "不支持的 capability_schema_version, 请升级节点程序",
        ErrorCode.NODE_ID_CONFLICT: "该 node_id 属于另一个节点, 请清除已保存的 node_id 后重新注册",
        ErrorCode.NOT_REGISTERED: "节点尚未注册, 请先发送 node_register",
        ErrorCode.UNAUTHORIZED: "加入令牌缺失或错误, 请联系管理员",
        ErrorCode.RATE_LIMITED: "消息过于频繁, 请稍后再试",
        ErrorCode.UNAVAILABLE: "服务器暂时无法处理注册, 请稍后重试",
        ErrorCode.INTERNAL_ERROR: "服务器内部错误, 请稍后重试或联系管理员",
    },
    "en": {
        ErrorCode.NO_GPU_AVAILABLE: "Registration failed: GPU information is required",
        ErrorCode.INVALID_MESSAGE: "The message is malformed",
        ErrorCode.INVALID_CAPABILITY_SCHEMA: (
            "This capability_schema_version is not supported; upgrade the node's program"
        ),
        ErrorCode.NODE_ID_CONFLICT: (
            "This node_id belongs to another node; clear the saved node_id and register again"
        ),
        ErrorCode.NOT_REGISTERED: "The node is not registered; send node_register first",
        ErrorCode.UNAUTHORIZED: "The join token is missing or wrong; ask the operator",
        ErrorCode.RATE_LIMITED: "Too many messages; wait before the next",
        ErrorCode.UNAVAILABLE: "The server can't take registrations just now; try again shortly",
        ErrorCode.INTERNAL_ERROR: (
            "An internal error of the server; try again later or tell the operator"
        ),
    },
}

_WAIT_FOR_ID: Mapping[Locale, str] = {
    "zh": "该 node_id 仍在使用中, 请稍后用同一 node_id 重试",
    "en": "This node_id is still in use; wait, then try the same node_id",
}

SIMULATED_PATH = "labels.simulated"
"""Where a registration says that its GPUs are not real; not every fleet lets such nodes in."""

_NO_SIMULATED: Mapping[Locale, str] = {
    "zh": "此服务器不接收模拟 GPU 的节点 (标签 simulated=true); 请使用真实 GPU, "
    "或请管理员设置 MUSTER_ALLOW_SIMULATED=true",
    "en": "This server lets no nodes with simulated GPUs in (label simulated=true); "
    "use a real GPU, or ask the operator to set MUSTER_ALLOW_SIMULATED=true",
}


def error_text(code: ErrorCode | str, locale: str, **details: Any) -> str:
    """The sentence for an error; `details` are those of the error itself."""
    code = ErrorCode(code)
    language = _language(locale)
    if code is ErrorCode.NODE_ID_CONFLICT and details.get("retry_after_ms") is not None:
        return _WAIT_FOR_ID[language]
    text = TEXTS[language][code]
    if code is ErrorCode.INVALID_MESSAGE and details.get("path") == SIMULATED_PATH:
        return _NO_SIMULATED[language]
    if code is ErrorCode.INVALID_MESSAGE:
        return text + _misfit(language, details)
    if code is ErrorCode.INVALID_CAPABILITY_SCHEMA and details.get("supported"):
        versions = ", ".join(map(str, details["supported"]))
        return text + (f" (支持: {versions})" if language == "zh" else f" (supported: {versions})")
    if code is ErrorCode.INTERNAL_ERROR and details.get("trace_id"):
        return f"{text} (trace_id {details['trace_id']})"
    return text


def _misfit(language: Locale, details: Mapping[str, Any]) -> str:
    path, expected, got = (details.get(key) for key in ("path", "expected", "got"))
    if expected is None:
        return f": {path}" if path else ""
    where = f"{path}: " if path else ""
    if language == "zh":
        return f": {where}应为 {expected}" + (f", 实际为 {got}" if got else "")
    return f": {where}expected {expected}" + (f", got {got}" if got else "")


# What a change of status means, by reason; `status:reason` where the status makes a difference.

STATUS_TEXTS: Mapping[Locale, Mapping[str, str]] = {
    "zh": {
        "registered": "注册成功, 连续 3 次心跳正常后即可接收任务",
        "operator": "管理员已停止分配新任务, 请完成现有任务并保持运行",
        "healthy": "健康检查通过, 节点可以接收任务",
        "warmup_timeout": "节点未能及时就绪, 请检查模型和 GPU, 并保持心跳",
        "gpu_unavailable": "没有可用的 GPU, 请检查驱动和显卡",
        "model_missing": "缺少必需的模型, 请安装或启用所需模型",
        "self_reported": "节点自报异常, 请查看节点日志并排除故障",
        "missed_heartbeat": "心跳中断或延迟, 请检查网络和节点负载",
        "job_failed": "失败的任务过多, 请查看节点日志",
        "recovered": "节点已恢复, 可以继续接收任务",
        "node_request": "应节点请求停止分配新任务, 完成现有任务后下线",
        "drained": "现有任务已全部完成, 节点已下线; 如需继续请重新注册",
        "draining:drained": "现有任务已全部完成, 现在可以安全关机或维护",
        "drain_timeout": "等待任务完成超时, 节点已下线; 如需继续请重新注册",
        "draining:drain_timeout": "等待任务完成超时, 仍有任务在运行, 现在关机会丢失任务",
        "resumed": "管理员已恢复该节点, 无需操作",
        "heartbeat_timeout": "长时间未收到心跳, 节点已离线; 请恢复心跳或重新连接",
        "unregistered": "节点已注销, 如需继续请重新注册",
        "removed": "管理员已移除该节点, 请联系管理员后再重新注册",
    },
    "en": {
        "registered": "registered; after 3 good heartbeats in a row the node may be given work",
        "operator": "the operator stopped new work; finish what is running and stay connected",
        "healthy": "the health checks pass; the node may be given work",
        "warmup_timeout": (
            "the node did not become ready in time; check its models and GPU, keep beating"
        ),
        "gpu_unavailable": "no GPU is usable; check the driver and the card",
        "model_missing": "a required model is missing; install or enable it",
        "self_reported": "the node reported itself unfit; see its log and mend the cause",
        "missed_heartbeat": "heartbeats were late or missing; check the network and the load",
        "job_failed": "too many tasks failed; see the node's log",
        "recovered": "the node has recovered and may be given work again",
        "node_request": "no new work, as the node asked; it goes offline when its work is done",
        "drained": "all work is done and the node is offline; register again to come back",
        "draining:drained": "all work is done; the machine may safely be taken away",
        "drain_timeout": "the work did not end in time, the node is offline; register to come back",
        "draining:drain_timeout": "the work did not end in time; stopping the machine now loses it",
        "resumed": "the operator resumed the node; nothing to do",
        "heartbeat_timeout": "no heartbeat for too long, the node is offline; beat or reconnect",
        "unregistered": "the node has unregistered; register again to come back",
        "removed": "the operator removed the node; ask before registering again",
    },
}


def status_text(status: str, reason: str, locale: str) -> str:
    """What a change of status means and what to do; an unknown reason is named as it is."""
    texts = STATUS_TEXTS[_language(locale)]
    return f"{status}: {texts.get(f'{status}:{reason}') or texts.get(reason, reason)}"


def pick_locale(accept_language: str | None, default: str) -> Locale:
    """The language a client wants most among ours, else the default."""
    best: Locale | None = None
    most = 0.0
    for part in (accept_language or "").split(","):
        tag, _, parameters = part.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(parameters)
        if primary in ("zh", "en") and weight > most:
            best, most = _language(primary), weight
    return best or _language(default)


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip().lower() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


def _language(locale: str) -> Locale:
    return "en" if locale.lower().startswith("en") else "zh"
