"""deploy/compose.yaml: held to the official schema, to what it promises, and started for real."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gateway.app import make_app
from gateway.settings import GatewaySettings
from muster.wire.bearer import hash_token
from tests.deploy import fitting
from tests.deploy.composition import (
    DEPLOY,
    ROOT,
    Document,
    asked,
    copied,
    resolved,
    secrets_made,
    shared,
)
from tests.deploy.fitting import Problems
from tests.deploy.standing import Standing
from tests.support.fleet import until

ROUTES = {
    "gateway": {str(getattr(route, "path", "")) for route in make_app(GatewaySettings()).routes},
    "sweeper": {"/healthz", "/readyz", "/metrics"},
}
CHECKS: dict[str, Callable[[Document], Problems]] = {
    "parts": fitting.parts,
    "settings": fitting.settings,
    "letting_in": fitting.letting_in,
    "agreeing": fitting.agreeing,
    "secrets": fitting.secrets,
    "health": partial(fitting.health, routes=ROUTES),
    "waiting": fitting.waiting,
    "ports": fitting.ports,
    "reaching": fitting.reaching,
    "mounted": fitting.mounted,
    "grace": fitting.grace,
    "hardening": fitting.hardening,
    "tags": fitting.tags,
}


def composition() -> Document:
    """What Compose resolved, to be broken as one likes."""
    document: Document = json.loads(shared()[1])
    return document


def env_file(path: Path) -> dict[str, str]:
    """The variables of a file like .env."""
    lines = path.read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))


@pytest.mark.parametrize("check", CHECKS)
def test_the_services_fit_each_other(check: str) -> None:
    assert list(CHECKS[check](composition())) == []


Break = Callable[[Document, Path], object]
"""Does a composition harm; what it writes goes into the folder."""


def _set(service: str, *path: str | int, to: Any) -> Break:
    def broken(document: Document, _: Path) -> None:
        inner = document["services"][service]
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = to

    return broken


def _without(service: str, *path: str) -> Break:
    def broken(document: Document, _: Path) -> None:
        inner = document["services"][service]
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]

    return broken


def _gone(service: str) -> Break:
    return lambda document, _: document["services"].pop(service)


def _network(**change: Any) -> Break:
    return lambda document, _: document["networks"]["back"].update(change)


def _config(name: str, old: str, new: str) -> Break:
    def broken(document: Document, directory: Path) -> None:
        text = Path(document["configs"][name]["file"]).read_text("utf-8")
        assert old in text
        (directory / name).write_text(text.replace(old, new))
        document["configs"][name]["file"] = str(directory / name)

    return broken


_STORE = "redis://muster-gateway:" + "x" * 64 + "@stor:6379/0"
BROKEN: list[tuple[str, str, Break]] = [
    ("parts", "there are 1 sweeper", _gone("sweeper-2")),
    ("settings", "MUSTER_SECRETS", _set("gateway-1", "environment", "MUSTER_SECRETS", to="x")),
    ("settings", "does not start", _set("gateway-1", "environment", "MUSTER_PORT", to="x")),
    ("settings", "not a setting", _set("node-1", "environment", "MUSTER_AGENT_SIM", to="x")),
    (
        "settings",
        "does not start",
        _set("node-1", "environment", "MUSTER_AGENT_DRAIN_TIMEOUT_S", to="soon"),
    ),
    ("settings", "listens on", _set("sweeper-1", "environment", "MUSTER_HOST", to="127.0.0.1")),
    ("settings", "at the store", _set("sweeper-1", "environment", "MUSTER_REDIS_URL", to=_STORE)),
    (
        "letting_in",
        "no simulated machine",
        _set("gateway-2", "environment", "MUSTER_ALLOW_SIMULATED", to="false"),
    ),
    ("letting_in", "a join token", _without("node-3", "environment", "MUSTER_AGENT_JOIN_TOKEN")),
    ("letting_in", "is not simulated", _without("node-2", "environment", "MUSTER_AGENT_SIMULATE")),
    (
        "letting_in",
        "expected a name",
        _set("node-1", "environment", "MUSTER_AGENT_SIMULATE", to="RTX"),
    ),
    ("letting_in", "no models", _config("models", "[[models]]", "[other]")),
    ("agreeing", "on secret", _set("gateway-2", "environment", "MUSTER_SECRET", to="other")),
    (
        "agreeing",
        "on retention_s",
        _set("sweeper-1", "environment", "MUSTER_RETENTION_S", to="100"),
    ),
    ("agreeing", "on the store", _set("gateway-1", "environment", "MUSTER_REDIS_URL", to=_STORE)),
    (
        "secrets",
        "could be guessed",
        _set("grafana", "environment", "GF_SECURITY_ADMIN_PASSWORD", to="admin"),
    ),
    ("secrets", "nobody may use /v1", _without("gateway-1", "environment", "MUSTER_API_TOKENS")),
    ("health", "has no health check", _without("sweeper-2", "healthcheck")),
    ("health", "does not serve", _set("gateway-1", "healthcheck", "test", 3, to="/ready")),
    (
        "health",
        "no gateway serves",
        _set("haproxy", "healthcheck", "test", 5, to="http://127.0.0.1:8088/health"),
    ),
    (
        "health",
        "is asked at 9091",
        _set("prometheus", "healthcheck", "test", 5, to="http://127.0.0.1:9091/-/ready"),
    ),
    ("health", "no port to ask", _without("node-1", "environment", "MUSTER_AGENT_STATUS_PORT")),
    ("waiting", "does not wait", _without("gateway-2", "depends_on", "store")),
    (
        "waiting",
        "does not wait",
        _set("node-1", "depends_on", "haproxy", "condition", to="service_started"),
    ),
    ("waiting", "has no check", _without("store", "healthcheck")),
    ("waiting", "may not be chosen", _set("gateway-1", "profiles", to=["some"])),
    ("ports", "are not the gateways", _set("gateway-2", "environment", "MUSTER_PORT", to="8081")),
    (
        "ports",
        "are not the gateways",
        _set("haproxy", "environment", "GATEWAY_2", to="gateway-1:8080"),
    ),
    ("ports", "does not listen", _config("haproxy", "bind :8088", "bind :8089")),
    ("ports", "scrapes", _config("prometheus", '"sweeper-2:9090"', '"sweeper-2:9091"')),
    ("ports", "has no rules.yml", _config("prometheus", "rules.yaml", "rules.yml")),
    (
        "ports",
        "nobody listens at MUSTER_AGENT_SERVERS",
        _set("node-2", "environment", "MUSTER_AGENT_SERVERS", to="ws://haproxy:8080"),
    ),
    ("ports", "nobody listens at http", _config("datasources", "prometheus:9090", "prom:9090")),
    ("ports", "publishes 8080", _set("haproxy", "ports", 0, "target", to=8080)),
    ("ports", "beyond this machine", _set("grafana", "ports", 0, "host_ip", to="0.0.0.0")),
    ("reaching", "does not reach", _set("haproxy", "networks", to={"front": None})),
    ("reaching", "node-1 reaches store", _set("node-1", "networks", to={"back": None})),
    ("reaching", "internal network alone", _set("prometheus", "networks", to={"back": None})),
    ("reaching", "reaches the outside", _network(internal=False)),
    (
        "reaching",
        "believes",
        _set("gateway-1", "environment", "MUSTER_TRUSTED_PROXIES", to="0.0.0.0/0"),
    ),
    ("mounted", "is not there", lambda d, _: d["configs"]["rules"].update(file="/nowhere/rules")),
    ("mounted", "there is no volume", lambda d, _: d["volumes"].pop("store")),
    ("mounted", "keeps nothing", _set("node-1", "volumes", to=[])),
    ("mounted", "keeps nothing", _set("store", "volumes", to=[])),
    ("mounted", "nobody lends it", _set("store", "configs", to=[])),
    (
        "mounted",
        "which is not there",
        _set(
            "grafana",
            "environment",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH",
            to="/etc/grafana/dashboards/muster.json",
        ),
    ),
    ("mounted", "no dashboards", _config("dashboards", "/etc/grafana/dash", "/etc/grafana/cash")),
    ("mounted", "two services write", _set("node-2", "volumes", 0, "source", to="node-1")),
    ("grace", "of draining", _set("gateway-1", "stop_grace_period", to="25s")),
    ("grace", "jobs may take", _without("node-1", "environment", "MUSTER_AGENT_DRAIN_TIMEOUT_S")),
    ("grace", "never end", _without("haproxy", "stop_signal")),
    ("hardening", "runs as 0", _set("store", "user", to="0")),
    ("hardening", "runs as whom", _without("grafana", "user")),
    ("hardening", "may be written to", _without("gateway-1", "read_only")),
    ("hardening", "has capabilities", _set("haproxy", "cap_add", to=["NET_BIND_SERVICE"])),
    ("hardening", "may gain", _without("node-1", "security_opt")),
    ("hardening", "not contained", _set("node-1", "network_mode", to="host")),
    ("hardening", "not started again", _set("sweeper-1", "restart", to="no")),
    ("hardening", "fill the disk", _without("store", "logging", "options", "max-size")),
    ("hardening", "few sockets", _without("haproxy", "ulimits")),
    ("tags", "another tomorrow", _set("store", "image", to="docker.io/valkey/valkey:latest")),
    ("tags", "and the project", _set("node-1", "image", to="localhost/muster-agent:0.0.9")),
]


@pytest.mark.parametrize(
    ("check", "says", "breaks"), BROKEN, ids=[f"{c}: {s}" for c, s, _ in BROKEN]
)
def test_a_check_finds_what_it_is_for(check: str, says: str, breaks: Break, tmp_path: Path) -> None:
    document = copy.deepcopy(composition())
    breaks(document, tmp_path)
    found = list(CHECKS[check](document))
    assert any(says in sentence for sentence in found), found


def test_every_check_is_seen_to_find_something() -> None:
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_without_secrets_nothing_starts_and_the_script_is_named(tmp_path: Path) -> None:
    deploy = copied(tmp_path / "deploy")
    done = asked(deploy, "config", "-q")
    assert done.returncode != 0
    assert "run deploy/compose/secrets.sh first" in done.stderr


def test_the_schema_is_strict(tmp_path: Path) -> None:
    deploy = copied(tmp_path / "deploy")
    secrets_made(deploy)
    file = deploy / "compose.yaml"
    file.write_text(file.read_text().replace("stop_grace_period: 10s", "stop_grace: 10s"))
    done = asked(deploy, "config", "-q")
    assert done.returncode != 0
    assert "stop_grace" in done.stderr


def test_every_variable_is_explained_and_every_explained_one_is_used() -> None:
    asked_for = set(re.findall(r"\$\{([A-Z_]+)", (DEPLOY / "compose.yaml").read_text("utf-8")))
    explained = set(env_file(DEPLOY / ".env.example"))
    # Compose itself reads the first; the other is for who looks into the store.
    assert explained - asked_for == {"COMPOSE_PROFILES", "MUSTER_STORE_ADMIN_PASSWORD"}
    assert asked_for <= explained


def test_no_secret_stands_in_a_file_of_the_project() -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    secret = {n for n, value in env_file(DEPLOY / ".env.example").items() if not value}
    assert len(secret) == 9
    for name in secret - {"MUSTER_STORE_ADMIN_PASSWORD"}:
        uses = re.findall(rf"\$\{{{name}(.{{2}})", text)
        assert uses and set(uses) == {":?"}, name
    ignored = (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert {"/deploy/.env", "/deploy/muster.env", "/deploy/compose/users.acl"} <= set(ignored)


def test_the_script_keeps_what_is_set_and_adds_what_came_new(tmp_path: Path) -> None:
    deploy = copied(tmp_path / "deploy")
    secrets_made(deploy)
    env, users = deploy / ".env", deploy / "compose" / "users.acl"
    assert env.stat().st_mode & 0o777 == 0o600
    assert users.stat().st_mode & 0o777 == 0o644
    first, made = env_file(env), users.read_text()
    assert all(first[name] for name in first)
    assert first["MUSTER_API_TOKENS"].endswith(hash_token(first["MUSTER_TOKEN"]))
    assert "SHA256" not in made
    assert not any(value in made for value in first.values() if len(value) > 32)

    env.write_text(env.read_text().replace(f"MUSTER_SECRET={first['MUSTER_SECRET']}\n", ""))
    env.write_text(env.read_text().replace("MUSTER_HTTP_PORT=8088", "MUSTER_HTTP_PORT=80").rstrip())
    secrets_made(deploy)
    second = env_file(env)
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"MUSTER_SECRET", "MUSTER_HTTP_PORT"}
    assert second["MUSTER_HTTP_PORT"] == "80"
    assert users.read_text() == made


def test_prometheus_is_told_the_same_as_without_containers() -> None:
    here, there = (
        yaml.safe_load((DEPLOY / path / "prometheus.yml").read_text("utf-8"))
        for path in ("compose", "prometheus")
    )
    for config in (here, there):
        for job in config["scrape_configs"]:
            del job["static_configs"]
    assert here == there


GRAFANA = {
    "datasources": {
        *("name", "type", "access", "orgId", "uid", "url", "user", "database", "basicAuth"),
        *("basicAuthUser", "withCredentials", "isDefault", "jsonData", "secureJsonData"),
        *("version", "editable"),
    },
    "providers": {
        *("name", "orgId", "folder", "folderUid", "type", "disableDeletion", "editable"),
        *("updateIntervalSeconds", "allowUiUpdates", "options"),
    },
}
"""What Grafana's manual names in a provisioning file: others it passes over without a word."""


def strange(document: Document) -> list[str]:
    """Keys of a provisioning file that Grafana would not read."""
    (section,) = document.keys() - {"apiVersion", "deleteDatasources", "prune"}
    return [key for entry in document[section] for key in entry if key not in GRAFANA[section]]


def test_grafana_is_told_in_words_it_knows_and_finds_the_source_its_dashboards_ask_for() -> None:
    sources, providers = (
        yaml.safe_load((DEPLOY / "compose" / file).read_text("utf-8"))
        for file in ("datasources.yaml", "dashboards.yaml")
    )
    for document in (sources, providers):
        assert document["apiVersion"] == 1
        assert strange(document) == []
    sources["datasources"][0]["default"] = True
    assert strange(sources) == ["default"]
    (source,) = sources["datasources"]
    scraped = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]
    assert source["isDefault"] is True
    for path in (DEPLOY / "grafana").glob("*.json"):
        chosen = json.loads(path.read_text("utf-8"))["templating"]["list"][0]
        assert (chosen["type"], chosen["query"]) == ("datasource", source["type"]), path.name


def document_commands(language: str) -> list[str]:
    """The blocks of a language in docs/compose.md."""
    text = (ROOT / "docs" / "compose.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_document_names_services_variables_and_pages_that_exist() -> None:
    text = (ROOT / "docs" / "compose.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("http") or (ROOT / "docs" / target).exists(), target
    assert set(re.findall(r"MUSTER_[A-Z_]+", text)) <= set(env_file(DEPLOY / ".env.example"))
    services = set(composition()["services"])
    first, *_ = text.split("\n## ")
    assert set(re.findall(r"`([\w-]+)`", first)) - {"muster", "simulated", "monitoring"} == services
    (updated,) = re.findall(r"^for one in (.*); do", text, re.MULTILINE)
    parts_updated = {
        n for n, s in composition()["services"].items() if "gateway" in n or "sweep" in n
    }
    assert set(updated.split()) == parts_updated


def test_the_override_of_the_document_brings_tls(tmp_path: Path) -> None:
    deploy = copied(tmp_path / "deploy")
    secrets_made(deploy)
    (override,) = document_commands("yaml")
    (deploy / "compose.override.yaml").write_text(override)
    for command in "".join(document_commands("sh")).splitlines():
        if command.startswith("sed 's/# bind"):
            subprocess.run(["sh", "-c", command], cwd=deploy, check=True)
    document = resolved(deploy, "compose.yaml", "compose.override.yaml")
    haproxy = document["services"]["haproxy"]
    (config,) = haproxy["configs"]
    text = Path(document["configs"][config["source"]]["file"]).read_text("utf-8")
    (tls,) = re.findall(r"^    bind :(\d+) ssl crt (\S+)", text, re.MULTILINE)
    assert int(tls[0]) in {port["target"] for port in haproxy["ports"]}
    assert tls[1] in {volume["target"] for volume in haproxy["volumes"]}
    plain = [port for port in haproxy["ports"] if port["target"] == 8088]
    assert [port["host_ip"] for port in plain] == ["127.0.0.1"]


QUICK = """\
MUSTER_HEARTBEAT_INTERVAL_S=0.5
MUSTER_HEARTBEAT_TIMEOUT_S=30
MUSTER_DRAIN_RATE_PER_S=200
"""


@pytest.mark.timeout(240)
async def test_the_composition_stands_serves_and_is_updated_without_losing_a_machine(
    tmp_path: Path,
) -> None:
    deploy = copied(tmp_path / "deploy")
    secrets_made(deploy)
    (deploy / "muster.env").write_text(QUICK)
    standing = Standing(resolved(deploy), tmp_path)
    token = env_file(deploy / ".env")["MUSTER_TOKEN"]
    bearer = {"Authorization": f"Bearer {token}"}
    front = httpx.AsyncClient(
        base_url=standing.url("haproxy"), headers=bearer, trust_env=False, timeout=10
    )
    watch = httpx.AsyncClient(base_url=standing.url("prometheus"), trust_env=False)
    try:
        await standing.up()

        async def statuses() -> list[str]:
            nodes = (await front.get("/v1/nodes")).json()["nodes"]
            return [node["status"] for node in nodes]

        async def three_are_ready() -> bool:
            return await statuses() == ["ready"] * 3

        await until(three_are_ready, "three machines are ready through HAProxy")
        assert (await front.get("/v1/nodes", headers={"Authorization": ""})).status_code == 401
        assert (await front.get("/metrics")).status_code == 404

        async def all_are_scraped() -> bool:
            targets = (await watch.get("/api/v1/targets")).json()["data"]["activeTargets"]
            return sorted((t["labels"]["job"], t["health"]) for t in targets) == [
                ("muster-gateway", "up"),
                ("muster-gateway", "up"),
                ("muster-sweeper", "up"),
                ("muster-sweeper", "up"),
            ]

        await until(all_are_scraped, "Prometheus scrapes all of them")
        groups = (await watch.get("/api/v1/rules")).json()["data"]["groups"]
        loaded = [rule["name"] for group in groups for rule in group["rules"]]
        alerts = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text("utf-8"))
        assert loaded == [rule["alert"] for group in alerts["groups"] for rule in group["rules"]]

        async def haproxy_sees_both() -> bool:
            said = re.findall(r"^Server nodes/(\S+) is (UP|DOWN)", standing.log("haproxy"), re.M)
            return set(dict(said).values()) == {"UP"}

        # As docs/compose.md says to update: one after the other.
        for name in ("gateway-1", "gateway-2", "sweeper-1", "sweeper-2"):
            assert await standing.stop(name) == 0, standing.log(name)
            standing.start(name)
            await standing.healthy([name])
            await until(haproxy_sees_both, "HAProxy sends machines to both")
        await until(three_are_ready, "three machines are ready after the update")
        said = await asyncio.to_thread(standing.run, "cli", "nodes")
        assert said.returncode == 0, said.stdout + said.stderr

        async def doctor_is_content() -> bool:  # a sweeper just started may have been late once
            return (await asyncio.to_thread(standing.run, "cli", "doctor")).returncode == 0

        await until(doctor_is_content, "the doctor finds nothing", 60)
        events = await front.get("/v1/events", params={"since": 0, "until": "now"})
        assert events.text.count('"to":"ready"') >= 3
        assert '"to":"offline"' not in events.text

        ended = await standing.down()
        assert {n: s for n, s in ended.items() if s and n not in ("haproxy", "prometheus")} == {}
    finally:
        standing.kill()
        await front.aclose()
        await watch.aclose()
