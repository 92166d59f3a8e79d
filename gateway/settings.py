"""A gateway's settings: what all processes share, and what concerns sockets and HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

from gateway.loopback import is_loopback
from muster.wire.bearer import FORM, EntryError, entries
from registry.settings import RegistrySettings, SettingsError, setting


@dataclass(frozen=True)
class GatewaySettings(RegistrySettings):
    """Read once when the gateway starts."""

    host: str = setting("127.0.0.1", "The address to listen on.")
    port: int = setting(8080, "The port to listen on; 0 takes a free one.")
    locale: Literal["zh", "en"] = setting(
        "zh", "The language of messages to nodes that do not ask for one."
    )
    secret: list[str] = setting(
        [],
        "The fleet secret node tokens are made with; several, comma separated, for rotation: "
        "the first signs, all are accepted. Without one no token is issued or checked.",
        secret=True,
    )
    require_node_token: bool = setting(False, "A known node id is refused without its token.")
    join_tokens: list[str] = setting(
        [],
        "If given, a node must show one of these, comma separated, to connect.",
        secret=True,
    )
    node_origins: list[str] = setting(
        [],
        "Origins, comma separated, whose web pages may open node sockets: https://fleet.example, "
        "or null for pages that are files. If not given: none; programs send no Origin.",
    )
    allow_simulated: bool | None = setting(
        None,
        "Whether nodes whose GPUs are simulated are let in; they say so by the label "
        "simulated=true. If not given: only while the gateway listens on a loopback address.",
    )
    api_tokens: list[str] = setting(
        [],
        f"Who may use /v1, comma separated: {FORM}, as `muster token new` prints it.",
        secret=True,
    )
    api_tokens_file: str | None = setting(
        None, "A file of the same, an entry a line; it is read again when it changes."
    )
    open_api: bool = setting(
        False, "Everybody who reaches this gateway may do everything: no token is asked for."
    )
    api_rate_per_s: float = setting(
        1000.0, "Requests to /v1 lastingly, per second, token and address."
    )
    api_burst: int = setting(2000, "Requests to /v1 at once, per token and address.")
    api_body_bytes: int = setting(65_536, "The largest body of a request to /v1.")
    api_timeout_s: float = setting(
        10.0, "How long a request to /v1 may take before it is answered 503."
    )
    api_requests_most: int = setting(
        1000, "Requests to /v1 answered at a time, streams of events included; more get 503."
    )
    head_timeout_s: float = setting(
        10.0,
        "How long the head of a request may take to come before it is answered 408, and a TLS "
        "handshake before it is hung up.",
    )
    sockets_most: int | None = setting(
        None,
        "Node sockets this gateway takes; more are answered 503. If not given: as many as it may "
        "have descriptors, less a tenth (64 to 1000) for the API.",
    )
    sockets_per_address: int | None = setting(
        None,
        "Node sockets of one address (IPv6: /64). If not given there is no limit, as a whole site "
        "may come from one.",
    )
    sockets_unregistered: int | None = setting(
        None,
        "Node sockets that have not registered yet. If not given: as many as there may be "
        "sockets, as a whole fleet may come back at once.",
    )
    sockets_chance_s: float = setting(
        10.0,
        "How long a socket has to register before its place is given to a newcomer for whom there "
        "is no other; it is closed 4429.",
    )
    select_max_cpu_percent: float | None = setting(
        None, "The busiest CPU a machine may report to be selected, unless a request says so."
    )
    select_max_gpu_percent: float | None = setting(None, "The same for its GPUs.")
    select_max_mem_percent: float | None = setting(None, "The same for its memory.")
    select_max_gpu_queue_length: float | None = setting(
        None, "The same for the number of jobs that wait for its GPUs."
    )
    trusted_proxies: list[str] = setting(
        [],
        "Addresses or networks, comma separated, whose X-Forwarded-For and X-Forwarded-Proto are "
        "believed; nobody's if not given.",
    )
    watch_poll_s: float = setting(
        0.1, "How often the store is asked for new events while anybody watches."
    )
    watch_keepalive_s: float = setting(
        15.0, "How long a stream of events may be silent before a comment is sent; at most 20."
    )
    watch_patience_s: float = setting(
        30.0, "How long a reader of events may take nothing before its connection is cut."
    )
    watch_buffer_bytes: int = setting(
        33_554_432,
        "Recent events kept in memory for all readers; one that falls further behind is cut off.",
    )
    tls_cert_file: str | None = setting(
        None,
        "The certificate chain (PEM) for https and wss; it is read again when it changes.",
    )
    tls_key_file: str | None = setting(None, "Its key (PEM), without a passphrase.")
    tls_client_ca_file: str | None = setting(
        None,
        "The authority (PEM) of nodes' certificates. If given, a node must show one to connect; "
        "programs and probes need none.",
    )
    max_message_bytes: int = setting(8_388_608, "The largest frame; a larger one closes 1009.")
    max_report_bytes: int = setting(262_144, "The largest registration or heartbeat.")
    buffer_limit_bytes: int = setting(
        268_435_456, "What all sockets together may have buffered before some are closed 4429."
    )
    register_timeout_s: float = setting(
        60.0, "A socket without a registration for this long is closed 4408."
    )
    messages_burst: int = setting(60, "Messages a socket may send at once.")
    messages_per_s: float = setting(6.0, "Messages a socket may send lastingly, per second.")
    registrations_burst: int = setting(5, "Registrations a socket may send at once.")
    registrations_per_s: float = setting(
        0.2, "Registrations a socket may send lastingly, per second."
    )
    unreadable_per_minute: int = setting(
        20, "Unreadable messages within a minute after which a socket is closed 1008."
    )
    short_way: bool = setting(
        True,
        "Whether a heartbeat that reports nothing new is handled as it comes, without waiting its "
        "turn in a queue. Off, all messages go one way: slower, for comparison.",
    )
    batch_window_s: float = setting(
        0.005,
        "How long beats are gathered before one call; 0 sends at once. Beats of healthy ready "
        "nodes wait four times as long, unless another goes before.",
    )
    batch_max: int = setting(512, "The most beats in one call.")
    alive_question_s: float = setting(
        2.0, "How long the holder of an id has to show life when another claims it."
    )
    takeover_limit: int = setting(
        3, "More takeovers of one id than this within the window are a duplicate identity."
    )
    takeover_window_s: float = setting(60.0, "The window in which takeovers are counted.")
    reap_factor: float = setting(
        2.0, "A socket silent for this many heartbeat time-outs is closed 4410."
    )
    drain_rate_per_s: float = setting(
        200.0, "Sockets told to reconnect per second when the gateway is stopped."
    )
    drain_window_s: float = setting(25.0, "The longest a stopping gateway takes over that.")
    public_url: str | None = setting(
        None, "The URL nodes and people reach this gateway by, if it differs from host and port."
    )
    beats_pending_per_node: int = setting(
        4, "Beats kept for each node while the store is away; the oldest go first."
    )
    log_format: Literal["auto", "json", "text"] = setting(
        "auto", "Lines for people (text) or programs (json); auto: text on a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least severe record that is written."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("port", self.port <= 65535, "a port, 0 to 65535")
        self.require(
            "watch_buffer_bytes",
            self.watch_buffer_bytes >= 1_048_576,
            "at least 1048576, as what is read at once must not push itself out",
        )
        self.require(
            "watch_keepalive_s",
            0 < self.watch_keepalive_s <= 20,
            "more than 0, at most 20, as pages take 46 s of silence for a dead connection",
        )
        try:
            entries(self.api_tokens, "entry")
        except EntryError as error:
            raise SettingsError("MUSTER_API_TOKENS", FORM, str(error)) from None
        self.require(
            "open_api",
            not (self.open_api and (self.api_tokens or self.api_tokens_file)),
            "false while there are API tokens, which are always asked for",
        )
        for name, other in (
            ("tls_cert_file", self.tls_key_file),
            ("tls_key_file", self.tls_cert_file),
        ):
            self.require(
                name,
                bool(getattr(self, name)) or not other,
                "a file, as certificate and key go together",
            )
        self.require(
            "tls_client_ca_file",
            not self.tls_client_ca_file or bool(self.tls_cert_file),
            "given together with tls_cert_file, as who shows a certificate is asked by TLS",
        )
        for text in self.trusted_proxies:
            self.require("trusted_proxies", _is_network(text), "addresses or networks: 10.0.0.0/8")
        self.require("reap_factor", self.reap_factor >= 1, "at least 1")
        self.require(
            "max_report_bytes",
            self.max_report_bytes <= self.max_message_bytes,
            f"at most the largest message ({self.max_message_bytes})",
        )

    @property
    def lets_simulated_in(self) -> bool:
        """Whether a node may pretend its GPUs."""
        return self.on_loopback if self.allow_simulated is None else self.allow_simulated

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return is_loopback(self.host)

    @property
    def own_url(self) -> str:
        """Where the gateway listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert_file else 'http'}://{host}:{self.port}"

    def may_be_zero(self) -> tuple[str, ...]:
        return (
            *super().may_be_zero(),
            "port",
            "batch_window_s",
            "drain_window_s",
            "select_max_cpu_percent",
            "select_max_gpu_percent",
            "select_max_mem_percent",
            "select_max_gpu_queue_length",
        )


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
