"""What the schema of Compose files can't see: whether a composition's services fit each other.

Each check takes what Compose resolved and returns a sentence for everything that does not hold.
Tests run them on the composition, and on one broken on purpose.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from gateway.settings import GatewaySettings
from muster.agent.config import AgentConfig, ConfigError
from muster.agent.config import variable_of as agent_variable
from muster.agent.simulated import SimulateError, simulated
from registry.settings import SettingsError, load, unknown_variables
from sweeper.settings import SweeperSettings
from tests.deploy.composition import (
    ROOT,
    Document,
    command,
    environment,
    mounts,
    part,
    seconds,
    service_image,
)

Problems = Iterator[str]
_Settings = GatewaySettings | SweeperSettings
_CLASSES: dict[str, type[_Settings]] = {"gateway": GatewaySettings, "sweeper": SweeperSettings}
_USERS = {"gateway": "muster-gateway", "sweeper": "muster-sweeper"}
_ANSWERS_S = 5.0
"""What uvicorn gives to answers under way when it stops."""
_DATA = {"valkey": "/data", "prometheus": "/prometheus", "grafana": "/var/lib/grafana"}
_HAPROXY = "/usr/local/etc/haproxy/haproxy.cfg"
_NAMED_PATH = re.compile(r"(?<![\w./:-])(?:/[\w.-]+){2,}(?![\w./-])")


def _services(document: Document) -> dict[str, Document]:
    found: dict[str, Document] = document["services"]
    return found


def _of(document: Document, *parts: str) -> dict[str, Document]:
    return {n: s for n, s in _services(document).items() if part(s) in parts}


def _text(document: Document, service: str, target: str) -> str:
    """What the service reads there; nothing if nothing is there."""
    path = mounts(_services(document)[service], document).get(target)
    return Path(path).read_text("utf-8") if path and Path(path).is_file() else ""


def listens(service: Document) -> int:
    """The port a service of ours, or one of the others, serves on."""
    own = environment(service)
    ports = {"haproxy": 8088, "valkey": 6379, "prometheus": 9090, "grafana": 3000}
    if part(service) == "gateway":
        return int(own.get("MUSTER_PORT") or GatewaySettings().port)
    if part(service) == "sweeper":
        return int(own.get("MUSTER_SWEEPER_PORT") or SweeperSettings().sweeper_port)
    return ports[part(service)]


def parts(document: Document) -> Problems:
    """All that was promised is there, and as many."""
    found = [part(service) for service in _services(document).values()]
    wanted = {"valkey": 1, "gateway": 2, "haproxy": 1, "sweeper": 2, "agent": 3}
    wanted |= {"prometheus": 1, "grafana": 1}
    for name, count in wanted.items():
        if found.count(name) != count:
            yield f"there are {found.count(name)} {name}, not {count}"


def settings(document: Document) -> Problems:
    """Processes know every variable they are given, and start with what it says."""
    for name, service in _of(document, "gateway", "sweeper").items():
        own, cls = environment(service), _CLASSES[part(service)]
        yield from (f"{name}: {warning}" for warning in unknown_variables(cls, own))
        try:
            read = load(cls, own)
        except SettingsError as error:
            yield f"{name} does not start: {error}"
            continue
        url = urlsplit(read.redis_url)
        if url.username != _USERS[part(service)]:
            yield f"{name} is {url.username} at the store"
        if ipaddress.ip_address(read.host).is_loopback:
            yield f"{name} listens on {read.host}, where nobody reaches it"
    known = {agent_variable(field) for field in AgentConfig.__dataclass_fields__}
    for name, service in _of(document, "agent").items():
        own = environment(service)
        for variable in own:
            if variable.startswith("MUSTER_") and variable not in known:
                yield f"{name}: {variable} is not a setting"
        try:
            AgentConfig.load(own)
        except ConfigError as error:
            yield f"{name} does not start: {error}"


def letting_in(document: Document) -> Problems:
    """Gateways take the machines there are: simulated, and with the token these show."""
    for name, service in _of(document, "gateway").items():
        read = load(GatewaySettings, environment(service))
        if not read.allow_simulated:
            yield f"{name} lets no simulated machine in"
        for node, own in _of(document, "agent").items():
            shown = environment(own).get("MUSTER_AGENT_JOIN_TOKEN", "")
            if shown not in read.join_tokens:
                yield f"{node} shows a join token that {name} does not know"
    for node, own in _of(document, "agent").items():
        given = environment(own)
        if not given.get("MUSTER_AGENT_SIMULATE"):
            yield f"{node} is not simulated, and there may be no GPU"
            continue
        try:
            simulated(given["MUSTER_AGENT_SIMULATE"])
        except SimulateError as error:
            yield f"{node}: {error}"
        file = given.get("MUSTER_AGENT_MODELS_FILE", "")
        if not tomllib.loads(_text(document, node, file)).get("models"):
            yield f"{node} has no models, so nobody asks for it"


def agreeing(document: Document) -> Problems:
    """What gateways and sweepers must have in common they have."""
    shared = {f.name for f in GatewaySettings.__dataclass_fields__.values()}
    shared &= {f.name for f in SweeperSettings.__dataclass_fields__.values()}
    values: dict[str, set[str]] = {}
    for service in _of(document, "gateway", "sweeper").values():
        read = load(_CLASSES[part(service)], environment(service))
        for name in shared - {"redis_url"}:
            values.setdefault(name, set()).add(repr(getattr(read, name)))
        url = urlsplit(read.redis_url)
        values.setdefault("the store", set()).add(f"{url.hostname}:{url.port}{url.path}")
    for service in _of(document, "gateway").values():
        own = load(GatewaySettings, environment(service))
        values.setdefault("secret", set()).add(repr(own.secret))
        values.setdefault("API tokens", set()).add(repr(own.api_tokens))
    for what, found in values.items():
        if len(found) != 1:
            yield f"gateways and sweepers do not agree on {what}: {len(found)} values"


def secrets(document: Document) -> Problems:
    """Every secret is there, long, and another one; the store knows the users' passwords."""
    seen: dict[str, str] = {}
    for name, service in _of(document, "gateway", "sweeper").items():
        url = urlsplit(environment(service)["MUSTER_REDIS_URL"])
        seen[f"the password of {url.username}"] = url.password or ""
        if part(service) == "gateway":
            read = load(GatewaySettings, environment(service))
            seen |= {"MUSTER_SECRET": ",".join(read.secret)}
            seen |= {"MUSTER_JOIN_TOKENS": ",".join(read.join_tokens)}
            if not read.api_tokens:
                yield f"{name}: nobody may use /v1"
    for service in _of(document, "grafana").values():
        seen["Grafana's password"] = environment(service).get("GF_SECURITY_ADMIN_PASSWORD", "")
    for what, value in seen.items():
        if len(value) < 32:
            yield f"{what} could be guessed"
    if len(set(seen.values())) != len(seen):
        yield "two secrets are the same"


def health(document: Document, routes: Mapping[str, set[str]]) -> Problems:
    """Whoever goes on running can be asked how it is, where it listens, at a path that it serves.

    `routes`: by process, the paths that are served.
    """
    for name, service in _services(document).items():
        test = service.get("healthcheck", {}).get("test")
        if part(service) == "doctor":
            continue
        if not test or test == ["NONE"]:
            yield f"{name} has no health check"
            continue
        words = " ".join(test[1:])
        if part(service) in ("gateway", "sweeper"):
            if test[:3] != ["CMD", "python", "/opt/muster/health.py"]:
                yield f"{name}: another health check than the image has"
            elif test[3] not in routes[part(service)]:
                yield f"{name} does not serve {test[3]}"
        elif part(service) == "agent":
            if test[1:] != ["muster", "agent", "status"]:
                yield f"{name} is not asked for its status"
            if not environment(service).get("MUSTER_AGENT_STATUS_PORT"):
                yield f"{name} has no port to ask its status at"
        elif url := re.search(r"http://127\.0\.0\.1:(\d+)(/\S*)", words):
            if int(url[1]) != listens(service):
                yield f"{name} is asked at {url[1]} and listens on {listens(service)}"
            if part(service) == "haproxy" and url[2] not in routes["gateway"]:
                yield f"{name} is asked for {url[2]}, which no gateway serves"


def waiting(document: Document) -> Problems:
    """Who needs another waits for it, and only for what tells that it is well."""
    wanted = {
        "gateway": {"valkey"},
        "sweeper": {"valkey"},
        "haproxy": {"gateway"},
        "agent": {"haproxy", "sweeper"},
        "grafana": {"prometheus"},
    }
    services = _services(document)
    for name, service in services.items():
        awaited = {}
        for other, how in (service.get("depends_on") or {}).items():
            awaited[other] = how["condition"]
            if how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                yield f"{name} waits for the health of {other}, which has no check"
            profiles = set(services[other].get("profiles") or [])
            if profiles - set(service.get("profiles") or []):
                yield f"{name} waits for {other}, which may not be chosen"
        for needed in _of(document, *wanted.get(part(service), ())):
            if awaited.get(needed) != "service_healthy":
                yield f"{name} does not wait until {needed} is healthy"


def ports(document: Document) -> Problems:
    """Every address somebody is given is one where its owner listens."""
    services = _services(document)
    everybody = {
        f"{n}:{listens(s)}" for n, s in services.items() if part(s) not in ("agent", "doctor")
    }
    gateways = {f"{n}:{listens(s)}" for n, s in _of(document, "gateway").items()}
    sweepers = {f"{n}:{listens(s)}" for n, s in _of(document, "sweeper").items()}
    for name, service in _of(document, "haproxy").items():
        text = _text(document, name, _HAPROXY)
        if f"bind :{listens(service)}\n" not in text:
            yield f"{name} does not listen on {listens(service)}"
        given = environment(service)
        for backend in text.split("\nbackend ")[1:]:
            named = re.findall(r'server \S+ "\$\{(\w+)-', backend)
            if {given.get(variable, variable) for variable in named} != gateways:
                yield f"{name}: the servers of {backend.split()[0]} are not the gateways"
    for name in _of(document, "prometheus"):
        config = yaml.safe_load(_text(document, name, "/etc/prometheus/prometheus.yml"))
        scraped = {
            job["job_name"]: set(job["static_configs"][0]["targets"])
            for job in config["scrape_configs"]
        }
        if scraped != {"muster-gateway": gateways, "muster-sweeper": sweepers}:
            yield f"{name} scrapes {scraped}"
        for rules in config["rule_files"]:
            if not _text(document, name, f"/etc/prometheus/{rules}"):
                yield f"{name} has no {rules}"
    for name, service in services.items():
        for variable, value in environment(service).items():
            url = urlsplit(value)
            # What is listened on is not where somebody is spoken to.
            if url.scheme in ("ws", "http", "redis") and url.netloc.split("@")[-1] not in everybody:
                yield f"{name}: nobody listens at {variable}"
        for port in service.get("ports") or []:
            if port["target"] != listens(service):
                yield f"{name} publishes {port['target']} and listens on {listens(service)}"
            if port.get("host_ip") != "127.0.0.1":
                yield f"{name} is published beyond this machine"
    for name in _of(document, "grafana"):
        found = yaml.safe_load(_text(document, name, _DATASOURCES))["datasources"]
        for source in found:
            if urlsplit(source["url"]).netloc not in everybody:
                yield f"{name}: nobody listens at {source['url']}"


_DATASOURCES = "/etc/grafana/provisioning/datasources/muster.yaml"
_PROVIDERS = "/etc/grafana/provisioning/dashboards/muster.yaml"


def reaching(document: Document) -> Problems:
    """Who talks to whom shares a network with them, and machines share none with the store."""
    services = _services(document)
    talks = [
        ("gateway", "valkey"),
        ("sweeper", "valkey"),
        ("haproxy", "gateway"),
        ("agent", "haproxy"),
        ("doctor", "haproxy"),
        ("doctor", "gateway"),
        ("prometheus", "gateway"),
        ("prometheus", "sweeper"),
        ("grafana", "prometheus"),
    ]
    never = [("agent", "valkey"), ("agent", "gateway"), ("agent", "prometheus")]
    never += [("grafana", "valkey"), ("grafana", "gateway")]
    for name, service in services.items():
        for other, its in services.items():
            pair = (part(service), part(its))
            common = set(service["networks"]) & set(its["networks"])
            if pair in talks and not common:
                yield f"{name} does not reach {other}"
            if pair in never and common:
                yield f"{name} reaches {other}"
        inner = {n for n in service["networks"] if document["networks"][n].get("internal")}
        if service.get("ports") and not set(service["networks"]) - inner:
            yield f"{name} publishes a port and is on an internal network alone"
        if part(service) in ("valkey", "gateway", "sweeper") and set(service["networks"]) != inner:
            yield f"{name} reaches the outside"
    for name, service in _of(document, "gateway").items():
        trusted = {str(n) for n in load(GatewaySettings, environment(service)).trusted_proxies}
        subnets = {
            config["subnet"]
            for network in service["networks"]
            for config in document["networks"][network].get("ipam", {}).get("config", [])
        }
        if not trusted or trusted != subnets:
            yield f"{name} believes {trusted}, and HAProxy comes from {subnets}"


def mounted(document: Document) -> Problems:
    """What is lent exists; paths a service is told of are lent to it; what must last is kept."""
    for name, service in _services(document).items():
        lent = mounts(service, document)
        for source in lent.values():
            if source.startswith("/"):
                if not Path(source).exists():
                    yield f"{name}: {source} is not there"
            elif source not in document["volumes"]:
                yield f"{name}: there is no volume {source}"
        told = [*command(service), *(service.get("environment") or {}).values()]
        for path in {p for word in told for p in _NAMED_PATH.findall(str(word))}:
            below = [t for t in lent if path == t or path.startswith(t + "/")]
            if not below:
                yield f"{name} is told of {path}, which nobody lends it"
            elif not (Path(lent[below[0]]) / path[len(below[0]) :].lstrip("/")).exists():
                yield f"{name} is told of {path}, which is not there"
        kept = service_image(service).get("volume") or _DATA.get(part(service))
        if part(service) != "doctor" and kept and lent.get(kept) not in document["volumes"]:
            yield f"{name} keeps nothing of {kept}"
    for name in _of(document, "grafana"):
        lent = mounts(_services(document)[name], document)
        for provider in yaml.safe_load(_text(document, name, _PROVIDERS))["providers"]:
            path = lent.get(provider["options"]["path"])
            if not path or not list(Path(path).glob("*.json")):
                yield f"{name}: there are no dashboards at {provider['options']['path']}"
    volumes = [v["source"] for s in _services(document).values() for v in s.get("volumes") or []]
    for volume in set(document["volumes"]) ^ {v for v in volumes if not v.startswith("/")}:
        yield f"the volume {volume} is not there, or nobody's"
    for volume in {v for v in volumes if volumes.count(v) > 1}:
        yield f"two services write to {volume}"


def grace(document: Document) -> Problems:
    """Who is told to stop has the time it was promised."""
    for name, service in _services(document).items():
        given = seconds(service.get("stop_grace_period", "10s"))
        if part(service) == "gateway":
            drains = load(GatewaySettings, environment(service)).drain_window_s
            if given < drains + _ANSWERS_S:
                yield f"{name}: {drains:g} s of draining and {_ANSWERS_S:g} s > {given:g} s"
        elif part(service) == "agent":
            jobs = AgentConfig.load(environment(service)).drain_timeout_s
            if given < jobs + _ANSWERS_S:
                yield f"{name}: jobs may take {jobs:g} s, it is killed after {given:g} s"
        elif part(service) == "haproxy" and service.get("stop_signal") != "SIGTERM":
            yield f"{name} waits for sockets that never end"


def hardening(document: Document) -> Problems:
    """Nobody runs as root, writes to the root, or gains anything; what dies is started again."""
    for name, service in _services(document).items():
        user = str(service.get("user") or service_image(service).get("user", "")).split(":")[0]
        if not user.isdigit() or user == "0":
            yield f"{name} runs as {user or 'whom its image says'}"
        if not service.get("read_only") or "/tmp" not in service.get("tmpfs", []):
            yield f"{name}: its root may be written to, or /tmp may not"
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
            yield f"{name} has capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name} may gain privileges"
        if service.get("privileged") or service.get("pid") or service.get("network_mode"):
            yield f"{name} is not contained"
        if service.get("restart") != ("no" if part(service) == "doctor" else "unless-stopped"):
            yield f"{name} is not started again"
        if service.get("logging", {}).get("options", {}).keys() < {"max-size", "max-file"}:
            yield f"{name}: its log may fill the disk"
    for name, service in _of(document, "gateway", "haproxy").items():
        if service.get("ulimits", {}).get("nofile", {}).get("soft", 1024) < 10_000:
            yield f"{name} may open few sockets"


def tags(document: Document) -> Problems:
    """Images have a version; ours is the project's."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    for name, service in _services(document).items():
        tag = str(service["image"]).rpartition("/")[2].partition(":")[2]
        if not re.match(r"v?\d+\.\d+\.\d+", tag):
            yield f"{name}: {service['image']} may be another tomorrow"
        if service.get("build") and tag != version:
            yield f"{name} is {tag}, and the project {version}"
