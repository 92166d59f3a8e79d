"""What `muster agent --help` says, in the language of whoever asks.

Settings explain themselves in English (`AgentConfig`); their Chinese is here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from muster.agent.config import AgentConfig, variable_of
from muster.agent.language import pick
from muster.wire.errors import Locale

LOCALE: Locale = pick()

COMMANDS: Mapping[str, Mapping[Locale, str]] = {
    "agent": {
        "zh": "节点程序：让这台 GPU 机器接入调度服务器并保持在线。",
        "en": "The node side: puts this GPU machine into the fleet and keeps it there.",
    },
    "probe": {
        "zh": "查看这台机器的硬件：即注册时上报的内容。\n\n"
        "退出码：0 有可用的 GPU；2 用法错误；3 没有可用的 GPU（并说明原因和处理办法）。",
        "en": "Look at this machine's hardware: what a registration would say.\n\n"
        "Exit status: 0 there is a usable GPU, 2 wrong usage, 3 there is none (it says why, and "
        "what to do).",
    },
    "run": {
        "zh": "运行节点：注册、发送心跳，直到被要求退出。\n\n"
        "终端上显示面板，否则每个事件输出一行。\n\n"
        "Ctrl-C 或 SIGTERM：等待任务完成后退出；第二次：立即结束。\n\n"
        "退出码：0 按要求退出；1 程序缺陷；2 用法或设置错误；3 没有可用的 GPU；"
        "4 被服务器永久拒绝（令牌、重复的身份、版本、已被移除）。",
        "en": "Run the node: register and beat until told to leave.\n\n"
        "On a terminal a panel is shown, otherwise one line an event.\n\n"
        "Ctrl-C or SIGTERM: leave when running jobs are done; a second one: now.\n\n"
        "Exit status: 0 left as asked, 1 a bug, 2 wrong usage or settings, 3 no usable GPU, "
        "4 refused for good by the server (token, duplicate identity, version, removed).",
    },
    "models": {
        "zh": "检查模型文件：列出会上报的模型，指出有问题的文件和字段。\n\n"
        "退出码：0 没有问题；2 有问题或用法错误。",
        "en": "Check the models' files: what would be reported, and what is wrong.\n\n"
        "Each problem names file and field.\n\n"
        "Exit status: 0 nothing is wrong, 2 something is, or wrong usage.",
    },
    "status": {
        "zh": "显示正在运行的节点程序的状态。\n\n它须以 --status-port 启动。\n\n"
        "退出码：0 节点在线；2 用法错误；5 没有节点程序响应；6 节点不在线。",
        "en": "Show the state of the agent that runs here.\n\n"
        "It must have been started with --status-port.\n\n"
        "Exit status: 0 the node is online, 2 wrong usage, 5 no agent answers, 6 the node is not "
        "online.",
    },
    "drain": {
        "zh": "让正在运行的节点程序退出。\n\n它完成现有任务，不再接新任务。\n\n"
        "退出码：0 已开始退出；2 用法错误；5 没有节点程序响应；6 请求被拒绝。",
        "en": "Tell the agent that runs here to leave.\n\n"
        "It finishes its jobs and takes no new ones.\n\n"
        "Exit status: 0 it is leaving, 2 wrong usage, 5 no agent answers, 6 it refused.",
    },
    "reset-identity": {
        "zh": "清除保存的 node_id，用于克隆出来的机器。\n\n下次启动时以新节点注册。\n\n"
        "退出码：0 已清除（或本来就没有）；2 节点程序正在运行，目录不可用，或没有确认。",
        "en": "Forget the saved node_id, on a machine that was cloned.\n\n"
        "At the next start it registers as a new node.\n\n"
        "Exit status: 0 forgotten (or nothing was there), 2 an agent runs, the directory can't be "
        "used, or it was not confirmed.",
    },
    "settings": {
        "zh": "列出所有设置：环境变量、当前值、来源和说明。\n\n退出码：0；2 某个设置不可用。",
        "en": "List every setting: its variable, value, source and meaning.\n\n"
        "Exit status: 0, or 2 if a setting can't be used.",
    },
}

OPTIONS: Mapping[str, Mapping[Locale, str]] = {
    "json": {"zh": "输出 JSON。", "en": "Print JSON."},
    "join_token_file": {
        "zh": "存有加入令牌的文件；令牌不要写在命令行上。",
        "en": "A file with the join token, which does not belong on a command line.",
    },
    "port": {
        "zh": "节点程序的 --status-port；默认从状态目录中得知。",
        "en": "The agent's --status-port; by default the state directory tells.",
    },
    "reason": {"zh": "退出的原因，管理员会看到。", "en": "Why; the operator sees it."},
    "timeout": {
        "zh": "最多等待任务多少秒；默认由节点程序决定。",
        "en": "The most seconds to wait for jobs; by default as the agent was started.",
    },
    "yes": {"zh": "不再询问。", "en": "Do not ask."},
}

SETTINGS_ZH: Mapping[str, str] = {
    "servers": "服务器地址，ws:// 或 wss://；路径默认 /ws/node。一个不通就换下一个。",
    "join_token": "管理员发放的加入令牌，仅在调度服务器要求时需要。",
    "tls_cert_file": "本机出示的证书（PEM），仅在服务器要求时需要。",
    "tls_key_file": "证书的私钥（PEM），不带密码。",
    "models_dir": "模型目录：每个模型一个文件夹，内有 model.json。",
    "models_file": "models.toml：列出模型和功能。",
    "state_dir": "保存节点身份的目录；默认为系统的惯用位置。",
    "labels": "标签 名=值：地区、所有者等，供筛选。",
    "accept_public_jobs": "no：只接受声明 public: false 的请求。",
    "max_concurrent_jobs": "最多同时运行的任务数；默认等于 GPU 数量。",
    "simulate": '模拟的显卡，如 "RTX 4090:24,RTX 3090:24"：没有 GPU 时试用。',
    "drain_timeout_s": "被要求退出时，最多等待任务多少秒。",
    "status_port": "127.0.0.1 上的端口，提供本地 API 和页面；0：任取一个空闲端口。默认不提供。",
    "locale": "给人看的文字的语言；默认取自环境。",
    "log_format": "给人看（text）或给程序看（json）的日志；auto：终端上显示面板，否则为 text。",
    "gpu_interval_s": "每隔多少秒查看一次 GPU。",
    "gpu_deadline_s": "GPU 查询超过多少秒视为挂起，该卡视为异常。",
    "probe_deadline_s": "查找硬件最多用多少秒。",
    "reprobe_interval_s": "硬件被服务器拒绝后，每隔多少秒重新检测。",
    "models_debounce_s": "模型文件多少秒没有变动后才上报。",
    "connect_timeout_s": "连接服务器最多用多少秒。",
    "backoff_first_s": "第一次重试前最多等待多少秒。",
    "backoff_most_s": "每次重试前最多等待多少秒。",
}

SEVERAL: Mapping[Locale, str] = {
    "zh": "多个：选项重复给出，变量中以逗号分隔。",
    "en": "Several: the option again and again; in the variable, separated by commas.",
}

EXAMPLES: Mapping[str, Mapping[Locale, str]] = {
    "agent": {
        "zh": """\
\b
示例：
  muster agent probe                                       这台机器有可用的 GPU 吗
  muster agent run --server wss://dispatcher.example.com --models-dir ./models
  muster agent status                                      正在运行的节点怎么样""",
        "en": """\
\b
Examples:
  muster agent probe                                       is there a usable GPU
  muster agent run --server wss://dispatcher.example.com --models-dir ./models
  muster agent status                                      how is the node that runs here""",
    },
    "probe": {
        "zh": "\b\n示例：\n  muster agent probe\n  muster agent probe --json | jq .gpus",
        "en": "\b\nExamples:\n  muster agent probe\n  muster agent probe --json | jq .gpus",
    },
    "run": {
        "zh": """\
\b
示例：
  muster agent run --server wss://dispatcher.example.com --models-dir ./models
  muster agent run --server wss://a.example.com --server wss://b.example.com
  muster agent run --server ws://127.0.0.1:8080 --simulate "RTX 4090:24"    没有 GPU 时试用
  muster agent run --server … --status-port 7070                            本地 API 和页面
每个选项都可用环境变量 MUSTER_AGENT_… 代替; muster agent settings 列出全部.""",
        "en": """\
\b
Examples:
  muster agent run --server wss://dispatcher.example.com --models-dir ./models
  muster agent run --server wss://a.example.com --server wss://b.example.com
  muster agent run --server ws://127.0.0.1:8080 --simulate "RTX 4090:24"    without a GPU
  muster agent run --server … --status-port 7070                            local API and page
Every option may be a variable MUSTER_AGENT_… instead; muster agent settings lists them.""",
    },
    "models": {
        "zh": "\b\n示例：\n  muster agent models --models-dir ./models\n"
        "  muster agent models --models-file models.toml --json",
        "en": "\b\nExamples:\n  muster agent models --models-dir ./models\n"
        "  muster agent models --models-file models.toml --json",
    },
    "status": {
        "zh": "\b\n示例：\n  muster agent status\n  muster agent status --json | jq -r .status",
        "en": "\b\nExamples:\n  muster agent status\n  muster agent status --json | jq -r .status",
    },
    "drain": {
        "zh": '\b\n示例：\n  muster agent drain --reason "更换显卡"',
        "en": '\b\nExamples:\n  muster agent drain --reason "a new card" --timeout 600',
    },
    "reset-identity": {
        "zh": "\b\n示例：\n  muster agent reset-identity --yes",
        "en": "\b\nExamples:\n  muster agent reset-identity --yes",
    },
    "settings": {
        "zh": "\b\n示例：\n  muster agent settings\n  muster agent settings --json",
        "en": "\b\nExamples:\n  muster agent settings\n  muster agent settings --json",
    },
}

_ENGLISH = {field.name: str(field.metadata["help"]) for field in dataclasses.fields(AgentConfig)}


def command(name: str) -> str:
    """What a command does, and its exit status."""
    return COMMANDS[name][LOCALE]


def short(name: str) -> str:
    """The same in one line."""
    return command(name).partition("\n")[0]


def examples(name: str) -> str:
    """How a command is called."""
    return EXAMPLES[name][LOCALE]


def option(name: str) -> str:
    """An option that is no setting."""
    return OPTIONS[name][LOCALE]


def setting(name: str, locale: Locale = LOCALE) -> str:
    """What a setting means."""
    said = SETTINGS_ZH[name] if locale == "zh" else _ENGLISH[name]
    return f"{said} {SEVERAL[locale]}" if name in ("servers", "labels") else said


def flag(name: str) -> str:
    """What a setting's option means, and the variable that may stand for it."""
    return f"{setting(name)} [{variable_of(name)}]"
