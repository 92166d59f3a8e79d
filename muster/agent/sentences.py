"""Every sentence the agent says to a machine's owner, Chinese beside English.

A pair is (what happened, what to do next); an empty second part means that nothing is to be done.
What to do may be several steps, one a line. `{names}` are filled in by `texts`. The sentences for
error codes and reasons of a status are the wire's own (`muster.wire.errors`): here is only what
the owner of an agent can do about them.
"""

from __future__ import annotations

from collections.abc import Mapping

from muster.agent.trouble import Note, Trouble
from muster.wire.errors import ErrorCode, Locale

Pair = tuple[str, str]
Both = Mapping[Locale, str]
BothPairs = Mapping[Locale, Pair]

BY_ITSELF: Both = {
    "zh": "无需操作, 节点程序会自动处理",
    "en": "nothing: the agent sees to it by itself",
}

# Why there is no usable GPU, by `NoGpuCause`.

NO_GPU: Mapping[str, BothPairs] = {
    "no_gpu": {
        "zh": (
            "没有找到可用的 GPU (NVIDIA、AMD 或 Apple), 没有 GPU 的机器不能注册",
            (
                "检查显卡是否插好、供电线是否接好\n"
                "Linux: lspci | grep -iE 'nvidia|amd' 应能列出显卡; "
                "Windows: 在设备管理器的“显示适配器”中查看\n"
                "虚拟机或容器: 需要把显卡直通进来 (docker run --gpus all …)\n"
                "之后运行 muster agent probe 再次检查"
            ),
        ),
        "en": (
            "no usable GPU (NVIDIA, AMD or Apple) was found; without one a machine can't register",
            (
                "check that the card sits firmly and its power cables are connected\n"
                "Linux: lspci | grep -iE 'nvidia|amd' should list the card; "
                "Windows: see Display adapters in the Device Manager\n"
                "virtual machine, container: the card must be passed in (docker run --gpus all …)\n"
                "then look again with: muster agent probe"
            ),
        ),
    },
    "no_driver": {
        "zh": (
            "机器里有显卡, 但没有安装驱动 (或驱动没有加载)",
            (
                "Ubuntu: sudo ubuntu-drivers install; 其他系统: https://www.nvidia.com/drivers\n"
                "安装后重新启动机器, nvidia-smi 应能列出显卡\n"
                "如已安装: 启用了安全启动 (Secure Boot) 时, 未签名的驱动不会被加载"
            ),
        ),
        "en": (
            "there is a card in this machine, but no driver is installed (or it is not loaded)",
            (
                "Ubuntu: sudo ubuntu-drivers install; others: https://www.nvidia.com/drivers\n"
                "restart the machine after that; nvidia-smi should list the card\n"
                "if it is installed: with Secure Boot on, an unsigned driver is not loaded"
            ),
        ),
    },
    "driver_mismatch": {
        "zh": (
            "显卡驱动与驱动库的版本不一致 (通常是驱动刚升级, 还没有重启)",
            "重新启动机器\n容器: 重新创建容器, 使其使用主机现在的驱动; 不要在镜像里安装驱动",
        ),
        "en": (
            (
                "the driver and its library are of different versions "
                "(mostly: upgraded, but not restarted yet)"
            ),
            (
                "restart the machine\n"
                "container: create it anew, so that it gets the host's present driver; "
                "install no driver inside the image"
            ),
        ),
    },
    "no_permission": {
        "zh": (
            "没有权限访问显卡",
            (
                "Docker: 安装 NVIDIA Container Toolkit, 用 docker run --gpus all … 启动, "
                "并保留 NVIDIA_DRIVER_CAPABILITIES=compute,utility\n"
                "Linux: 把运行节点程序的用户加入 video 和 render 组 "
                "(sudo usermod -aG video,render 用户名), 然后重新登录"
            ),
        ),
        "en": (
            "access to the card is not permitted",
            (
                "Docker: install the NVIDIA Container Toolkit, start with docker run --gpus all …, "
                "and keep NVIDIA_DRIVER_CAPABILITIES=compute,utility\n"
                "Linux: add the user that runs the agent to the groups video and render "
                "(sudo usermod -aG video,render USER), then log in again"
            ),
        ),
    },
    "gpu_lost": {
        "zh": (
            "显卡已从总线上掉线, 驱动无法再访问它",
            (
                "关机断电一分钟后再开机 (只重启往往不够)\n"
                "若再次发生: 检查供电、温度和插槽; Linux 用 sudo dmesg | grep -i xid 查看原因"
            ),
        ),
        "en": (
            "the card has fallen off the bus; the driver can't reach it any more",
            (
                "shut the machine down, cut the power for a minute, start it (a restart often is "
                "not enough)\n"
                "if it happens again: check power supply, temperature and slot; "
                "on Linux sudo dmesg | grep -i xid tells why"
            ),
        ),
    },
    "probe_timeout": {
        "zh": (
            "显卡驱动在限定时间内没有回答",
            (
                "运行 nvidia-smi: 如果它也没有反应, 请重新启动机器\n"
                "若再次发生: 升级驱动; Linux 用 sudo dmesg | grep -iE 'xid|nvrm' 查看原因"
            ),
        ),
        "en": (
            "the driver of the card did not answer in time",
            (
                "run nvidia-smi: if it hangs as well, restart the machine\n"
                "if it happens again: upgrade the driver; "
                "on Linux sudo dmesg | grep -iE 'xid|nvrm' tells why"
            ),
        ),
    },
    "unknown": {
        "zh": (
            "查询显卡时发生了未知错误",
            (
                "运行 nvidia-smi 查看显卡是否正常, 并升级驱动\n"
                "若仍未解决: 把 muster agent probe --json 的输出发给管理员"
            ),
        ),
        "en": (
            "asking for the card failed in a way that is not known",
            (
                "see with nvidia-smi whether the card works, and upgrade the driver\n"
                "if that does not help: send the operator what muster agent probe --json prints"
            ),
        ),
    },
}

# What is wrong with one card, by the code its monitor gives; `xid` and `nvml` stand for families.

GPU_REASONS: Mapping[str, Both] = {
    "probe_timeout": {"zh": "驱动没有按时回答", "en": "the driver does not answer in time"},
    "probe_failed": {
        "zh": "查询显卡的程序崩溃了",
        "en": "the program that asks the card has crashed",
    },
    "gpu_lost": {"zh": "显卡已从总线上掉线", "en": "fell off the bus"},
    "reset_required": {
        "zh": "显卡需要复位, 请重新启动机器",
        "en": "needs a reset: restart the machine",
    },
    "ecc_uncorrected": {
        "zh": "显存出现不可纠正的错误",
        "en": "memory errors that can't be corrected",
    },
    "overheated": {"zh": "温度过高, 请检查散热", "en": "too hot: check the cooling"},
    "driver_mismatch": {
        "zh": "驱动与驱动库版本不一致, 请重新启动机器",
        "en": "driver and library differ: restart the machine",
    },
    "no_driver": {"zh": "驱动没有加载", "en": "the driver is not loaded"},
    "no_permission": {"zh": "没有权限访问显卡", "en": "access is not permitted"},
    "driver_error": {"zh": "驱动报告错误", "en": "the driver reports an error"},
    "unknown": {"zh": "未知错误", "en": "failed in a way that is not known"},
    "xid": {"zh": "驱动报告严重错误 {code}", "en": "the driver reports a grave error: {code}"},
    "nvml": {"zh": "驱动返回错误 {code}", "en": "the driver answers with an error: {code}"},
}

# What the owner does about a refusal, by error code; the sentence itself is the wire's.

ERRORS: Mapping[ErrorCode, Both] = {
    ErrorCode.NO_GPU_AVAILABLE: {
        "zh": "运行 muster agent probe 查看原因, 检查驱动和显卡\n"
        "节点程序会继续检测显卡: 没有变化时不会重试, 有变化时会告诉你并重新注册",
        "en": "run muster agent probe to see why; check the driver and the card\n"
        "the agent keeps looking at the cards: it does not try again while they are the same; "
        "when they change it tells you how, and registers again",
    },
    ErrorCode.INVALID_MESSAGE: {
        "zh": "如果指出的是模型或标签, 请改正 model.json、models.toml 或设置\n"
        "否则请升级节点程序, 并把这条信息告诉管理员",
        "en": "if a model or a label is named, mend model.json, models.toml or the setting\n"
        "else upgrade the agent, and tell the operator this message",
    },
    ErrorCode.INVALID_CAPABILITY_SCHEMA: {
        "zh": "升级节点程序后重新启动; 新版本向管理员索取",
        "en": "upgrade the agent, then start it again; the operator has the new version",
    },
    ErrorCode.NODE_ID_CONFLICT: {
        "zh": "节点程序会清除已保存的 node_id, 以新节点的身份注册一次\n"
        "若再次出现: 两台机器可能用了同一份状态目录, 在其中一台运行 muster agent reset-identity",
        "en": "the agent clears its saved node_id and registers once as a new node\n"
        "if it comes again, two machines may share a copied state directory: on one of them run "
        "muster agent reset-identity",
    },
    ErrorCode.NOT_REGISTERED: BY_ITSELF,
    ErrorCode.UNAUTHORIZED: {
        "zh": "向管理员索取加入令牌, 用 --join-token-file 或变量 MUSTER_AGENT_JOIN_TOKEN 提供, "
        "再重新启动",
        "en": "ask the operator for a join token, give it with --join-token-file or "
        "MUSTER_AGENT_JOIN_TOKEN, and start again",
    },
    ErrorCode.RATE_LIMITED: BY_ITSELF,
    ErrorCode.UNAVAILABLE: BY_ITSELF,
    ErrorCode.INTERNAL_ERROR: {
        "zh": "节点程序会自动重试; 若持续出现, 把 trace_id 告诉管理员",
        "en": "the agent tries again by itself; if it lasts, tell the operator the trace_id",
    },
}

# Ends of a connection, by close code.

CLOSES: Mapping[int, BothPairs] = {
    1000: {"zh": ("连接已正常结束", ""), "en": ("the connection ended as wanted", "")},
    1001: {
        "zh": ("服务器正在离开, 稍后自动重连", ""),
        "en": ("the server is going away; the agent reconnects shortly", ""),
    },
    1006: {
        "zh": ("连接意外中断, 自动重连", "若经常出现: 检查网络、路由器和机器的休眠设置"),
        "en": (
            "the connection broke; the agent reconnects",
            "if it happens often: check the network, the router, and whether the machine sleeps",
        ),
    },
    1008: {
        "zh": (
            "服务器读不懂的消息太多, 连接被关闭",
            "升级节点程序; 新版本向管理员索取",
        ),
        "en": (
            "too many messages the server could not read",
            "upgrade the agent; the operator has the new version",
        ),
    },
    1009: {
        "zh": (
            "消息过大, 连接被关闭",
            "若是任务结果过大, 请推理程序减小结果; 若是模型过多, 请减少模型条目",
        ),
        "en": (
            "a message was too big",
            (
                "if a job's result was too big, let the inference program send less; "
                "if there are very many models, list fewer"
            ),
        ),
    },
    1012: {
        "zh": ("服务器正在重启, 稍后自动重连", ""),
        "en": ("the server restarts; the agent reconnects shortly", ""),
    },
    4408: {
        "zh": ("未能在限定时间内完成注册, 自动重连", "若之前有错误信息, 请先处理那个错误"),
        "en": (
            "no registration in time; the agent reconnects",
            "if an error was shown before, mend that first",
        ),
    },
    4409: {
        "zh": (
            "另一个连接接管了这个节点, 自动重连",
            "若经常出现: 检查是否启动了两个节点程序, 或两台机器用了同一个 node_id",
        ),
        "en": (
            "another connection took over this node; the agent reconnects",
            "if it happens often: see whether two agents run here, or two machines share a node_id",
        ),
    },
    4410: {
        "zh": ("长时间没有消息, 连接被服务器关闭, 自动重连", "检查网络、负载和机器的休眠设置"),
        "en": (
            "silent for too long; the server closed the connection, the agent reconnects",
            "check the network, the load, and whether the machine sleeps",
        ),
    },
    4429: {
        "zh": ("服务器过载, 稍后自动重连", ""),
        "en": ("the server is overloaded; the agent reconnects later", ""),
    },
    4501: {
        "zh": (
            "加入令牌缺失或错误, 不会自动重连",
            (
                "向管理员索取加入令牌, 用 --join-token-file 或变量 MUSTER_AGENT_JOIN_TOKEN 提供, "
                "再重新启动"
            ),
        ),
        "en": (
            "the join token is missing or wrong; the agent does not reconnect by itself",
            (
                "ask the operator for a join token, give it with --join-token-file or "
                "MUSTER_AGENT_JOIN_TOKEN, and start again"
            ),
        ),
    },
    4509: {
        "zh": (
            "另一台机器正在使用这个 node_id, 不会自动重连",
            (
                "若这台机器是克隆出来的: 运行 muster agent reset-identity, 再重新启动\n"
                "否则请联系管理员"
            ),
        ),
        "en": (
            "another machine uses this node_id; the agent does not reconnect by itself",
            (
                "if this machine was cloned: run muster agent reset-identity, then start again\n"
                "else ask the operator"
            ),
        ),
    },
}

OTHER_CLOSES: Mapping[bool, BothPairs] = {
    True: {
        "zh": ("连接被关闭 ({code}), 自动重连", ""),
        "en": ("the connection was closed ({code}); the agent reconnects", ""),
    },
    False: {
        "zh": ("连接被关闭 ({code}), 不会自动重连", "请联系管理员, 并升级节点程序"),
        "en": (
            "the connection was closed ({code}); the agent does not reconnect by itself",
            "ask the operator, and upgrade the agent",
        ),
    },
}

# What the owner does about a status, by reason, or `status:reason` where the status matters.

STATUSES: Mapping[str, Both] = {
    "registered": {"zh": "", "en": ""},
    "healthy": {"zh": "", "en": ""},
    "recovered": {"zh": "", "en": ""},
    "resumed": {"zh": "", "en": ""},
    "operator": {
        "zh": "保持节点程序运行; 何时恢复由管理员决定",
        "en": "keep the agent running; the operator decides when work comes again",
    },
    "warmup_timeout": {
        "zh": "查看下面的显卡和模型列表; 用 muster agent probe 检查显卡",
        "en": "see the cards and models below; look at the cards with muster agent probe",
    },
    "gpu_unavailable": {
        "zh": "运行 muster agent probe 查看原因; 显卡恢复后节点会自动恢复",
        "en": "run muster agent probe to see why; once a card works again so does the node",
    },
    "model_missing": {
        "zh": "在模型目录中安装模型 (每个一个文件夹, 内有 model.json), 或在 models.toml 启用\n"
        "节点程序会自动发现改动并上报",
        "en": "install a model in the models' directory (one folder each, with a model.json), or "
        "enable it in models.toml\nthe agent notices by itself and reports it",
    },
    "self_reported": {
        "zh": "查看推理程序的日志; 排除故障后推理程序会通过 PUT /health 报告恢复",
        "en": "see the inference program's log; once mended it says so with PUT /health",
    },
    "missed_heartbeat": {
        "zh": "检查网络是否稳定、CPU 是否过载、机器是否会休眠",
        "en": "check whether the network is steady, the CPU overloaded, or the machine asleep",
    },
    "job_failed": {
        "zh": "查看推理程序的日志; 常见原因是显存不足",
        "en": "see the inference program's log; often the card's memory is too small",
    },
    "node_request": {
        "zh": "等待任务完成后自动退出; 再按一次 Ctrl-C 立即退出",
        "en": "wait: the agent leaves when its work is done; Ctrl-C once more leaves now",
    },
    "drained": {
        "zh": "需要继续时重新启动: muster agent run",
        "en": "to come back: muster agent run",
    },
    "draining:drained": {
        "zh": "现在可以关机; 维护完成后启动节点程序并告诉管理员",
        "en": "you may shut down now; afterwards start the agent and tell the operator",
    },
    "drain_timeout": {
        "zh": "检查推理程序为何没有完成任务, 再重新启动: muster agent run",
        "en": "see why the inference program did not finish, then come back: muster agent run",
    },
    "draining:drain_timeout": {
        "zh": "先不要关机; 检查推理程序为何没有完成任务",
        "en": "do not shut down yet; see why the inference program does not finish",
    },
    "heartbeat_timeout": {
        "zh": "节点程序会自动恢复; 若再次出现: 检查网络和机器的休眠设置",
        "en": "the agent comes back by itself; if it happens again: check the network, and whether "
        "the machine sleeps",
    },
    "unregistered": {
        "zh": "需要继续时重新启动: muster agent run",
        "en": "to come back: muster agent run",
    },
    "removed": {
        "zh": "联系管理员; 得到同意后重新启动: muster agent run",
        "en": "ask the operator; once agreed, come back: muster agent run",
    },
}

# Why the server can't be reached.

TROUBLES: Mapping[Trouble, BothPairs] = {
    Trouble.BAD_URL: {
        "zh": (
            "服务器地址 {server} 不是有效的 WebSocket 地址",
            "地址应形如 wss://dispatcher.example.com/ws/node",
        ),
        "en": (
            "the server's address {server} is no WebSocket address",
            "it should look like wss://dispatcher.example.com/ws/node",
        ),
    },
    Trouble.NAME: {
        "zh": (
            "找不到服务器 {server}: 域名无法解析",
            "检查地址是否写对, 以及这台机器的网络和 DNS 是否正常",
        ),
        "en": (
            "the server {server} was not found: its name does not resolve",
            "check the address for typing errors, and this machine's network and DNS",
        ),
    },
    Trouble.REFUSED: {
        "zh": (
            "服务器 {server} 拒绝连接",
            "检查地址和端口; 若正确, 服务器可能没有运行, 节点程序会自动重试",
        ),
        "en": (
            "the server {server} refuses connections",
            (
                "check address and port; if they are right the server may be down, and the agent "
                "keeps trying"
            ),
        ),
    },
    Trouble.UNREACHABLE: {
        "zh": (
            "无法连接服务器 {server}: {detail}",
            "检查这台机器的网络、防火墙和 VPN; 节点程序会自动重试",
        ),
        "en": (
            "the server {server} can't be reached: {detail}",
            "check this machine's network, firewall and VPN; the agent keeps trying",
        ),
    },
    Trouble.TIMEOUT: {
        "zh": (
            "服务器 {server} 没有按时回答",
            "检查网络和防火墙是否放行这个端口; 节点程序会自动重试",
        ),
        "en": (
            "the server {server} did not answer in time",
            (
                "check the network, and whether a firewall lets this port through; "
                "the agent keeps trying"
            ),
        ),
    },
    Trouble.TLS: {
        "zh": (
            "与服务器 {server} 的加密连接失败: {detail}",
            (
                "检查这台机器的日期和时间; 若服务器使用自签名证书, 请管理员提供受信任的证书\n"
                "服务器不使用加密时, 地址应以 ws:// 开头"
            ),
        ),
        "en": (
            "the encrypted connection to {server} failed: {detail}",
            (
                "check this machine's date and time; if the server's certificate is self-made, ask "
                "the operator for a trusted one\n"
                "if the server does not encrypt, the address begins with ws://"
            ),
        ),
    },
    Trouble.PROXY: {
        "zh": (
            "代理服务器出错: {detail}",
            "检查环境变量 HTTPS_PROXY、HTTP_PROXY 和 NO_PROXY",
        ),
        "en": (
            "the proxy failed: {detail}",
            "check the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        ),
    },
    Trouble.FORBIDDEN: {
        "zh": (
            "服务器 {server} 不允许连接 ({detail})",
            "向管理员确认地址, 以及是否需要加入令牌或允许这台机器的 IP",
        ),
        "en": (
            "the server {server} does not permit the connection ({detail})",
            (
                "ask the operator for the right address, and whether a join token or a permitted "
                "address is needed"
            ),
        ),
    },
    Trouble.NOT_FOUND: {
        "zh": (
            "服务器 {server} 上没有节点入口 (404)",
            "检查地址的路径, 它应以 /ws/node 结尾",
        ),
        "en": (
            "there is no entrance for nodes at {server} (404)",
            "check the path of the address: it should end in /ws/node",
        ),
    },
    Trouble.UPSTREAM: {
        "zh": (
            "服务器 {server} 暂时不可用 ({detail}), 自动重试",
            "若持续几分钟: 联系管理员",
        ),
        "en": (
            "the server {server} is not available just now ({detail}); the agent keeps trying",
            "if it lasts for minutes: tell the operator",
        ),
    },
    Trouble.NOT_MUSTER: {
        "zh": (
            "{server} 有回答, 但那里不是 Muster 服务器 ({detail})",
            "检查地址、端口和路径; ws:// 与 wss:// 不要混用",
        ),
        "en": (
            "something answers at {server}, but it is no Muster server ({detail})",
            "check address, port and path, and that ws:// and wss:// are not mixed up",
        ),
    },
    Trouble.LOST: {
        "zh": ("与服务器 {server} 的连接中断, 自动重连", "若经常出现: 检查网络和机器的休眠设置"),
        "en": (
            "the connection to {server} was lost; the agent reconnects",
            "if it happens often: check the network, and whether the machine sleeps",
        ),
    },
    Trouble.SILENT: {
        "zh": ("服务器 {server} 不再回答, 重新连接", "若经常出现: 检查网络"),
        "en": (
            "the server {server} has stopped answering; the agent connects anew",
            "if it happens often: check the network",
        ),
    },
}

# What an owner should know.

NOTES: Mapping[Note, Both] = {
    Note.SIMULATED: {
        "zh": "显卡是模拟的 (--simulate): 仅供试用, 不能真正执行任务",
        "en": "the cards are simulated (--simulate): for trying out, no work can really be done",
    },
    Note.NO_MODELS: {
        "zh": "没有任何模型: 注册后节点会一直等待模型. 用 --models-dir 或 --models-file 指明模型",
        "en": "no models: once registered the node waits for one. "
        "Name them with --models-dir or --models-file",
    },
    Note.IDENTITY_OF_ANOTHER_MACHINE: {
        "zh": "保存的 node_id {node_id} 属于另一台机器 (磁盘镜像被复制?), 将以新节点注册",
        "en": "the saved node_id {node_id} is another machine's (a copied disk image?); "
        "this one registers as a new node",
    },
    Note.IDENTITY_CLEARED: {
        "zh": "已清除保存的 node_id {node_id}, 将以新节点注册",
        "en": "the saved node_id {node_id} was cleared; the machine registers as a new node",
    },
    Note.IDENTITY_UNREADABLE: {
        "zh": "无法读取保存的身份: {detail}. 将以新节点注册",
        "en": "the saved identity can't be read: {detail}. The machine registers as a new node",
    },
    Note.STATE_NOT_WRITABLE: {
        "zh": "无法写入状态目录: {detail}. 重启后 node_id 会丢失; 用 --state-dir 另选目录",
        "en": "the state directory can't be written: {detail}. The node_id will be lost "
        "at the next start; choose another with --state-dir",
    },
    Note.HARDWARE_CHANGED: {
        "zh": "显卡有变化: 新增 {added}; 消失 {removed}",
        "en": "the cards changed: new {added}; gone {removed}",
    },
    Note.CLEAR_TEXT: {
        "zh": "与 {server} 的连接没有加密; 生产环境请使用 wss://",
        "en": "the connection to {server} is not encrypted; use wss:// in production",
    },
    Note.STORE_AWAY: {
        "zh": "服务器的存储暂时不可用; 连接保持, 无需操作",
        "en": "the server can't reach its store just now; the connection stays, nothing to do",
    },
}

MODEL_PROBLEM: Both = {
    "zh": "{place}: 应为 {expected}, 实际为 {got}",
    "en": "{place}: expected {expected}, got {got}",
}

LEFT_OUT: Mapping[bool, Both] = {
    True: {"zh": "; 该条目已跳过", "en": "; the entry is left out"},
    False: {"zh": "; 该条目仍会上报", "en": "; the entry is reported all the same"},
}

SETTING: BothPairs = {
    "zh": (
        "设置 {name}: 应为 {expected}, 实际为 {got}",
        "改正后重新运行; muster agent run --help 列出所有设置",
    ),
    "en": (
        "setting {name}: expected {expected}, got {got}",
        "mend it and start again; muster agent run --help lists every setting",
    ),
}

STATE_IN_USE: BothPairs = {
    "zh": (
        "另一个节点程序正在使用状态目录 {directory}",
        (
            "一台机器只需运行一个节点程序; 先停止另一个, 或用 --state-dir 另选目录\n"
            "用 muster agent status 查看正在运行的节点程序"
        ),
    ),
    "en": (
        "another agent uses the state directory {directory}",
        (
            "one agent a machine is enough: stop the other, or choose another with --state-dir\n"
            "muster agent status shows the one that runs"
        ),
    ),
}

UNKNOWN: Both = {
    "zh": "升级节点程序; 若无帮助, 联系管理员",
    "en": "upgrade the agent; if that does not help, ask the operator",
}

NOBODY_ANSWERS: BothPairs = {
    "zh": (
        "没有正在运行的节点程序回答",
        (
            "启动时加上 --status-port: muster agent run --status-port 7070 …\n"
            "若以其他用户或其他状态目录运行: 用 --state-dir 或 --port 指明"
        ),
    ),
    "en": (
        "no running agent answers",
        (
            "start it with --status-port: muster agent run --status-port 7070 …\n"
            "if it runs as another user or with another state directory: give --state-dir or --port"
        ),
    ),
}

MISSING_PARTS: BothPairs = {
    "zh": ("缺少节点程序的组件", "在 Muster 源码目录中运行: pip install '.[agent]'"),
    "en": ("parts of the agent are not installed", "in Muster's source: pip install '.[agent]'"),
}

# What happened, by the action of an event, where the event's own code does not say it better.

EVENTS: Mapping[str, Both] = {
    "probed": {"zh": "硬件: {gpus}", "en": "hardware: {gpus}"},
    "connecting": {"zh": "正在连接 {server}", "en": "connecting to {server}"},
    "connection": {"zh": "连接", "en": "connection"},
    "connected": {"zh": "已连接 {server}", "en": "connected to {server}"},
    "registered": {"zh": "已注册为 {node_id}", "en": "registered as {node_id}"},
    "resumed": {"zh": "已恢复 {node_id} 的会话", "en": "resumed as {node_id}"},
    "retrying": {"zh": "{in_s} 秒后重试", "en": "trying again in {in_s} s"},
    "gpu_healthy": {"zh": "GPU {index} {name}: 已恢复正常", "en": "GPU {index} {name}: healthy"},
    "gpu_unhealthy": {
        "zh": "GPU {index} {name}: {trouble}",
        "en": "GPU {index} {name}: {trouble}",
    },
    "hardware_changed": NOTES[Note.HARDWARE_CHANGED],
    "models_changed": {
        "zh": "模型有变化: 模型 {models} 个, 问题 {problems} 个",
        "en": "the models changed; models: {models}, problems: {problems}",
    },
    "serving": {
        "zh": "本地页面和 API: {url} (写入所需的令牌在 {token_file})",
        "en": "local page and API: {url} (the token for writes is in {token_file})",
    },
    "draining": {
        "zh": "正在离开: 等待任务完成, 最多 {timeout_s} 秒",
        "en": "leaving: waiting for running jobs, {timeout_s} s at most",
    },
    "lost": {
        "zh": "这里缺少 {lines} 行: 输出没有被及时读取",
        "en": "{lines} lines are missing here: nobody read them in time",
    },
    "left": {"zh": "已离开", "en": "left"},
}

NONE: Both = {"zh": "无", "en": "none"}

# Labels of panel and page. `registration_…` and the statuses are values of those names.

WORDS: Mapping[str, Both] = {
    "title": {"zh": "Muster 节点", "en": "Muster agent"},
    "simulated": {"zh": "模拟", "en": "SIMULATED"},
    "registration_idle": {"zh": "未开始", "en": "idle"},
    "registration_registering": {"zh": "注册中", "en": "registering"},
    "registration_success": {"zh": "成功", "en": "success"},
    "registration_failed": {"zh": "失败", "en": "failed"},
    "registering": {"zh": "等待就绪", "en": "registering"},
    "ready": {"zh": "就绪", "en": "ready"},
    "degraded": {"zh": "降级", "en": "degraded"},
    "draining": {"zh": "排空中", "en": "draining"},
    "offline": {"zh": "离线", "en": "offline"},
    "registration": {"zh": "注册", "en": "registration"},
    "node_id": {"zh": "节点 ID", "en": "node id"},
    "server": {"zh": "服务器", "en": "server"},
    "connection": {"zh": "连接", "en": "connection"},
    "connected": {"zh": "已连接", "en": "connected"},
    "not_connected": {"zh": "未连接", "en": "not connected"},
    "round_trip": {"zh": "往返 {ms} 毫秒", "en": "round trip {ms} ms"},
    "retry": {"zh": "{at} 重试", "en": "trying again at {at}"},
    "heartbeat": {"zh": "心跳", "en": "heartbeat"},
    "next": {"zh": "下一次 {at}", "en": "next {at}"},
    "jobs": {"zh": "任务", "en": "jobs"},
    "running": {"zh": "{count} 个正在运行", "en": "{count} running"},
    "models": {"zh": "模型", "en": "models"},
    "local_page": {"zh": "本地页面", "en": "local page"},
    "gpu": {"zh": "GPU", "en": "GPU"},
    "memory": {"zh": "显存", "en": "memory"},
    "load": {"zh": "负载", "en": "load"},
    "temperature": {"zh": "温度", "en": "temp"},
    "health": {"zh": "健康", "en": "health"},
    "healthy": {"zh": "正常", "en": "healthy"},
    "unhealthy": {"zh": "异常", "en": "unhealthy"},
    "no_gpus": {"zh": "没有 GPU", "en": "no GPU"},
    "recent": {"zh": "最近", "en": "recent"},
    "since": {"zh": "已持续 {age}", "en": "for {age}"},
    "days": {"zh": "{n} 天", "en": "{n} d"},
    "hours": {"zh": "{n} 小时", "en": "{n} h"},
    "minutes": {"zh": "{n} 分钟", "en": "{n} min"},
    "seconds": {"zh": "{n} 秒", "en": "{n} s"},
    "leave": {
        "zh": "Ctrl-C: 完成任务后离开, 再按一次立即离开",
        "en": "Ctrl-C: finish jobs, then leave; twice: now",
    },
    "agent_gone": {
        "zh": "节点程序没有回答, 可能已停止",
        "en": "the agent does not answer; it may have stopped",
    },
    "drain_begun": {
        "zh": "节点程序正在离开: 完成现有任务后退出",
        "en": "the agent is leaving: it ends when its jobs are done",
    },
    "nothing_saved": {"zh": "没有保存的身份: {path}", "en": "no identity is saved: {path}"},
    "forget": {
        "zh": "清除 {path}? 这台机器将以新节点注册, 历史不再延续",
        "en": "forget {path}? This machine will register as a new node, without its history",
    },
    "forgotten": {
        "zh": "已清除; 下次启动时以新节点注册",
        "en": "forgotten; at the next start the machine registers as a new node",
    },
    "cores": {"zh": "{count} 核", "en": "{count} cores"},
    "driver": {"zh": "驱动 {version}", "en": "driver {version}"},
    "may_register": {
        "zh": "这台机器可以注册. 下一步: muster agent run --server wss://… --models-dir …",
        "en": "This machine may register. Next: muster agent run --server wss://… --models-dir …",
    },
    "language": {"zh": "English", "en": "中文"},
    "more": {"zh": "… 还有 {count} 个", "en": "… {count} more"},
}

# Refusals of the local API, by their `code`.

API: Mapping[str, Both] = {
    "FOREIGN_HOST": {
        "zh": "只接受发给 {expected} 的请求, 而 Host 是 {got}",
        "en": "only requests to {expected} are served; Host says {got}",
    },
    "FOREIGN_ORIGIN": {
        "zh": "不接受其他网页发来的请求 ({got}); 请从程序中调用",
        "en": "requests of other web pages are not served ({got}); call from a program",
    },
    "TOKEN_MISSING": {
        "zh": "需要令牌: Authorization: Bearer …, 令牌在文件 {path} 中",
        "en": "a token is needed: Authorization: Bearer …, it is in the file {path}",
    },
    "TOKEN_WRONG": {
        "zh": "令牌错误; 正确的令牌在文件 {path} 中",
        "en": "the token is wrong; the right one is in the file {path}",
    },
    "INVALID_PARAMETER": {
        "zh": "{parameter}: 应为 {expected}",
        "en": "{parameter}: expected {expected}",
    },
    "TOO_LARGE": {
        "zh": "请求最多 {expected} 字节",
        "en": "a request has at most {expected} bytes",
    },
    "TOO_MANY_READERS": {
        "zh": "最多 {expected} 个程序可以同时读取 /events; 请改用 GET /status",
        "en": "at most {expected} programs may read /events at once; use GET /status",
    },
    "NOT_FOUND": {
        "zh": "没有这个路径; 可用的有: {expected}",
        "en": "there is no such path; there are: {expected}",
    },
    "METHOD_NOT_ALLOWED": {
        "zh": "这个路径只接受 {expected}",
        "en": "this path takes {expected} only",
    },
}
