"""Why a node is not ready, what to do about it, and what it waits for and how long.

Pure: what was read of the node in, sentences and numbers out, in Chinese or English. The numbers
are those that the sweeper's rules go by; the decision is never made here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from muster.wire.errors import Locale, status_text
from registry.base import ms
from registry.model import Facts, Reason, Status, Verdict
from registry.reading import NodeDetail
from registry.requirement import Lack, Requirement
from registry.settings import RegistrySettings
from registry.window import IN_A_ROW, passes_in_a_row


class Waiting(Struct, frozen=True, omit_defaults=True):
    """What the node waits for; `have` of `needed`, and the milliseconds until time alone changes
    something (a warm-up, a drain, or the patience with silence ends)."""

    what: Annotated[
        str,
        Meta(
            description="good_heartbeats, heartbeat, jobs_to_end, capacity, operator, registration"
        ),
    ]
    text: str
    have: int | None = None
    needed: int | None = None
    changes_in_ms: int | None = None


class Point(Struct, frozen=True):
    """One reason why the node is given no work now."""

    code: str
    text: str


class LackShown(Struct, frozen=True):
    """One thing of a requirement that the node lacks."""

    reason: str
    wanted: Any
    has: Any


class Explanation(Struct, frozen=True, omit_defaults=True):
    """The answer to "why?" for one node. `matches` and `lacks` are there when a requirement was
    given."""

    node_id: str
    status: str
    reason: str
    since: int
    for_ms: int
    selectable: bool
    summary: str
    now: int
    why_not: tuple[Point, ...] = ()
    to_do: tuple[str, ...] = ()
    waits_for: Waiting | None = None
    blame: str | None = None
    matches: bool | None = None
    lacks: tuple[LackShown, ...] = ()


TO_DO: Mapping[Locale, Mapping[str, str]] = {
    "zh": {
        Reason.GPU_UNAVAILABLE: "运行 nvidia-smi, 检查驱动和显卡; 修复后节点会自动恢复",
        Reason.MODEL_MISSING: (
            "安装或启用至少一个 ASR、NMT 或 TTS 模型 (或管理员要求的模型), 再发送一次心跳"
        ),
        Reason.SELF_REPORTED: "查看节点程序的日志, 排除它自己报告的故障",
        Reason.MISSED_HEARTBEAT: "检查网络和机器负载, 心跳应按约定的间隔发送",
        Reason.JOB_FAILED: "查看失败任务的日志, 检查模型文件和显存",
        Reason.WARMUP_TIMEOUT: "检查模型和 GPU, 并保持心跳; 连续 3 次正常心跳后即可就绪",
        Reason.HEARTBEAT_TIMEOUT: "确认节点程序在运行, 能连接服务器; 重新连接后会自动恢复",
        Reason.UNREGISTERED: "需要时重新启动节点程序并注册",
        Reason.DRAINED: "需要时重新启动节点程序并注册",
        Reason.DRAIN_TIMEOUT: "需要时重新启动节点程序并注册",
        Reason.NODE_REQUEST: "等待现有任务完成, 节点随后下线",
        "operator": "等待管理员恢复; 请保持程序运行",
        "drained by an operator": "可以安全关机或维护; 完成后请管理员恢复该节点",
        "late": "心跳已迟到: 检查节点程序和网络",
        "full": "任务已满: 等待任务结束, 或提高 max_concurrent_jobs",
        "private": "该节点不接收公共任务 (accept_public_jobs 为 false)",
    },
    "en": {
        Reason.GPU_UNAVAILABLE: (
            "run nvidia-smi, check the driver and the card; the node then recovers by itself"
        ),
        Reason.MODEL_MISSING: (
            "install or enable an ASR, NMT or TTS model (or those the operator requires), then beat"
        ),
        Reason.SELF_REPORTED: "read the node program's log and mend what it reports of itself",
        Reason.MISSED_HEARTBEAT: (
            "check the network and the machine's load; beats must come at the agreed interval"
        ),
        Reason.JOB_FAILED: "read the failed tasks' log; check model files and GPU memory",
        Reason.WARMUP_TIMEOUT: (
            "check models and GPU and keep beating; 3 good heartbeats in a row make it ready"
        ),
        Reason.HEARTBEAT_TIMEOUT: (
            "see that the node's program runs and reaches the server; it comes back by itself"
        ),
        Reason.UNREGISTERED: "start the node's program again when it shall come back",
        Reason.DRAINED: "start the node's program again when it shall come back",
        Reason.DRAIN_TIMEOUT: "start the node's program again when it shall come back",
        Reason.NODE_REQUEST: "wait until its jobs end; then it goes offline",
        "operator": "wait until the operator resumes it; keep the program running",
        "drained by an operator": "it may be taken away safely; then have the operator resume it",
        "late": "its heartbeat is late: check the node's program and the network",
        "full": "all its places are taken: wait for jobs to end, or raise max_concurrent_jobs",
        "private": "the node keeps out of the public pool (accept_public_jobs is false)",
    },
}

_WAITS: Mapping[Locale, Mapping[str, str]] = {
    "zh": {
        "good_heartbeats": "连续 {needed} 次正常心跳, 已有 {have} 次",
        "heartbeat": "下一次心跳",
        "jobs_to_end": "{have} 个任务和预留结束",
        "capacity": "任务结束, 目前 {have}/{needed}",
        "operator": "管理员恢复",
        "registration": "节点重新注册",
    },
    "en": {
        "good_heartbeats": "{needed} good heartbeats in a row; it has {have}",
        "heartbeat": "its next heartbeat",
        "jobs_to_end": "{have} jobs and holds to end",
        "capacity": "a job to end; {have} of {needed} places are taken",
        "operator": "the operator to resume it",
        "registration": "the node to register again",
    },
}
_WAITS_FOR_ONE: Mapping[Locale, Mapping[str, str]] = {
    "zh": {"good_heartbeats": "一次正常心跳"},
    "en": {"good_heartbeats": "one good heartbeat", "jobs_to_end": "one job or hold to end"},
}


def explain(
    detail: NodeDetail,
    facts: Facts | None,
    settings: RegistrySettings,
    locale: Locale,
    wanted: Requirement | None = None,
) -> Explanation:
    """Explains one node. `facts` are those its sweeper would judge by; None if it just went."""
    s = detail.subject
    timeout = ms(settings.heartbeat_timeout_s)
    lacks = wanted.lacks(s, timeout) if wanted is not None else []
    summary = status_text(s.status, _failure(detail, facts) or s.reason, locale)
    return Explanation(
        node_id=s.node_id,
        status=s.status,
        reason=s.reason,
        since=s.since,
        for_ms=max(0, s.now - s.since),
        selectable=not any(Requirement(public=None).unavailable(s, timeout)),
        summary=summary,
        now=s.now,
        why_not=tuple(_why_not(detail, facts, timeout, locale)),
        to_do=tuple(_to_do(detail, facts, timeout, locale)),
        waits_for=_waits_for(detail, facts, settings, locale),
        blame=_blame(detail),
        matches=None if wanted is None else not lacks,
        lacks=tuple(shown(lack) for lack in lacks),
    )


def shown(lack: Lack) -> LackShown:
    """A lack as programs read it."""
    return LackShown(lack.reason.value, lack.wanted, lack.has)


def _failure(detail: NodeDetail, facts: Facts | None) -> Reason | None:
    """Why its last verdict failed, where that stands in the way."""
    if detail.subject.status not in (Status.REGISTERING, Status.DEGRADED) or facts is None:
        return None
    letter = facts.window[:1] or facts.last_verdict
    return Verdict(letter).reason if letter else None


def _why_not(detail: NodeDetail, facts: Facts | None, timeout: int, locale: Locale) -> list[Point]:
    s = detail.subject
    points = []
    for lack in Requirement(public=None).unavailable(s, timeout):
        text = status_text(s.status, s.reason, locale)
        if lack.reason == "not_live":
            text = TO_DO[locale]["late"]
        elif lack.reason == "capacity_exceeded":
            text = TO_DO[locale]["full"]
        elif lack.reason == "gpu_unavailable":
            text = TO_DO[locale][Reason.GPU_UNAVAILABLE]
        points.append(Point(lack.reason.value, text))
    failure = _failure(detail, facts)
    if failure is not None:
        points.append(Point(failure.value, status_text(s.status, failure.value, locale)))
    return points


def _to_do(detail: NodeDetail, facts: Facts | None, timeout: int, locale: Locale) -> list[str]:
    s, texts = detail.subject, TO_DO[locale]
    if s.status == Status.DRAINING and s.intent is not None:
        return [texts["drained by an operator" if s.reason == Reason.DRAINED else "operator"]]
    found = []
    if s.status != Status.OFFLINE and not s.live(timeout):
        found.append(texts["late"])
    if s.status == Status.READY:
        full = s.load >= s.capacity > 0
        found += [texts["full"]] if full else []
        found += [texts["private"]] if not s.public else []
    else:
        found += [texts[r] for r in (_failure(detail, facts) or s.reason,) if r in texts]
    return found


def _waits_for(
    detail: NodeDetail, facts: Facts | None, settings: RegistrySettings, locale: Locale
) -> Waiting | None:
    s = detail.subject
    if s.status == Status.OFFLINE or facts is None:
        return _waiting("registration", locale) if s.status == Status.OFFLINE else None
    silence = facts.now - facts.last_beat - (facts.unobserved - facts.beat_unobserved)
    patience = max(0, ms(settings.heartbeat_timeout_s) - silence)
    if silence > 2 * ms(settings.heartbeat_interval_s):
        return _waiting("heartbeat", locale, changes_in_ms=patience)
    if s.status == Status.DRAINING:
        return _drain(detail, facts, locale)
    if s.status == Status.READY:
        if s.load >= s.capacity:
            return _waiting("capacity", locale, s.load, s.capacity)
        return None
    needed = 1 if s.status == Status.DEGRADED and facts.ever_ready else IN_A_ROW
    warmed = facts.now - facts.warmup_at - (facts.unobserved - facts.warmup_unobserved)
    ends = max(0, ms(settings.warmup_timeout_s) - warmed)
    return _waiting(
        "good_heartbeats",
        locale,
        min(passes_in_a_row(facts.window), needed),
        needed,
        ends if s.status == Status.REGISTERING else None,
    )


def _drain(detail: NodeDetail, facts: Facts, locale: Locale) -> Waiting:
    s = detail.subject
    if s.intent is not None and s.reason == Reason.DRAINED:
        return _waiting("operator", locale)
    if s.intent is not None and s.reason == Reason.DRAIN_TIMEOUT:
        return _waiting("jobs_to_end", locale, s.load)
    if facts.leave:
        ran = facts.now - facts.leave_at - (facts.unobserved - facts.leave_unobserved)
        allowed = facts.leave_timeout_ms
    else:
        ran = facts.now - facts.intent_at - (facts.unobserved - facts.intent_unobserved)
        allowed = facts.intent_timeout_ms
    return _waiting("jobs_to_end", locale, s.load, None, max(0, allowed - ran))


def _waiting(
    what: str,
    locale: Locale,
    have: int | None = None,
    needed: int | None = None,
    changes_in_ms: int | None = None,
) -> Waiting:
    one = 1 in (needed, have if needed is None else None)
    words = (one and _WAITS_FOR_ONE[locale].get(what)) or _WAITS[locale][what]
    text = words.format(have=have, needed=needed)
    return Waiting(what, text, have, needed, changes_in_ms)


def _blame(detail: NodeDetail) -> str | None:
    """Whose fault the last transition to offline was, by its evidence."""
    if detail.subject.status != Status.OFFLINE:
        return None
    for event in detail.events:
        if event.get("type") == "transition":
            try:
                blame = json.loads(event.get("evidence") or "{}").get("blame")
            except ValueError:
                return None
            return str(blame) if blame else None
    return None
