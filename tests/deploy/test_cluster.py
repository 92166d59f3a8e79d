"""A release's life by real Helm and kubectl, against a stand-in for a cluster."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.chart import CHART
from tests.deploy.cluster import Cluster, cluster

# Helm waits a little after each thing it does.
pytestmark = pytest.mark.timeout(300)

DEV = ("-n", "gpus", "-f", str(CHART / "examples" / "dev.yaml"))
SECRETS = {("Secret", "muster-secrets"), ("Secret", "muster-store")}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path) as made:
        yield made


def helm(empty: Cluster, *arguments: str) -> str:
    """What Helm prints; it must succeed."""
    done = empty.helm(*arguments)
    assert done.returncode == 0, done.stderr + "\n".join(empty.refused)
    return done.stdout


def both(empty: Cluster) -> tuple[dict[str, str], dict[str, str]]:
    """What the two secrets of the chart hold."""
    return empty.secret("muster-secrets"), empty.secret("muster-store")


def template(empty: Cluster) -> str:
    """The gateways' pods as the cluster has them."""
    what = ("get", "deployment", "muster-gateway", "-o", "jsonpath={.spec.template}")
    return empty.kubectl("-n", "gpus", *what)


def test_what_is_made_once_outlives_upgrades_rollbacks_and_the_release(empty: Cluster) -> None:
    helm(empty, "upgrade", "--install", "muster", str(CHART), "--create-namespace", *DEV)
    made = both(empty)
    everything = empty.there()
    assert everything > SECRETS

    helm(empty, "upgrade", "muster", str(CHART), *DEV, "--set", "secrets.requireJoinToken=true")
    assert both(empty) == made
    helm(empty, "rollback", "muster", "1", "-n", "gpus")
    assert both(empty) == made
    assert "Rollback to 1" in helm(empty, "history", "muster", "-n", "gpus")

    helm(empty, "uninstall", "muster", "-n", "gpus")
    assert empty.there() == SECRETS | {("Namespace", "gpus")}
    assert both(empty) == made
    helm(empty, "install", "muster", str(CHART), *DEV)
    assert both(empty) == made
    assert empty.there() == everything
    assert empty.refused == []


def test_two_installations_have_nothing_in_common(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with cluster(tmp_path / name) as each:
            helm(each, "install", "muster", str(CHART), "--create-namespace", *DEV)
            made += [value for secret in both(each) for value in secret.values()]
    assert len(set(made)) == len(made) - 2, "join-token is also the only one of join-tokens"


def test_given_secrets_replace_those_that_were_made(empty: Cluster) -> None:
    helm(empty, "install", "muster", str(CHART), "--create-namespace", *DEV)
    before = template(empty)
    given = (
        "--set",
        "secrets.fleetSecret=a-new-secret-of-fleet,secrets.joinTokens={first-one,second-one}",
    )
    helm(empty, "upgrade", "muster", str(CHART), *DEV, *given)
    now = empty.secret("muster-secrets")
    assert now["fleet-secret"] == "a-new-secret-of-fleet"
    assert (now["join-tokens"], now["join-token"]) == ("first-one,second-one", "first-one")
    assert before != template(empty), "gateways read them once, so they must be started anew"


def test_the_token_is_where_the_notes_say(empty: Cluster) -> None:
    notes = helm(empty, "install", "muster", str(CHART), "--create-namespace", *DEV)
    told = next(line for line in notes.splitlines() if "admin-token" in line)
    command = told.split("|")[0].replace("'", "").split()
    assert command[0] == "kubectl"
    token = base64.b64decode(empty.kubectl(*command[1:])).decode()
    assert token == empty.secret("muster-secrets")["admin-token"]


def test_the_stand_in_refuses_what_a_cluster_would(empty: Cluster) -> None:
    extra = "extraObjects[0].apiVersion=v1,extraObjects[0].kind=ConfigMap"
    wrong = f"{extra},extraObjects[0].metadata.name=x,extraObjects[0].dta.a=b"
    done = empty.helm("install", "muster", str(CHART), "--create-namespace", *DEV, "--set", wrong)
    assert done.returncode != 0
    assert any("dta" in problem for problem in empty.refused)
