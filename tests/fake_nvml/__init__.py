"""A machine with NVIDIA cards that a test drives: builds `nvml.c`, writes what it reads.

A process that runs in `FakeNvml.environ` finds the library under the name and by the way of the
real one; so does a worker of this process after `FakeNvml.take_over`. What the library answers is
changed by `set`, also while such a process runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.stores import in_ci

SOURCE = Path(__file__).with_name("nvml.c")
LIBRARY = "libnvidia-ml.so.1"

HANG = "hang"


class FakeNvml:
    """One machine. Keys and values are those described in `nvml.c`."""

    def __init__(self, library: Path, control: Path) -> None:
        self._control = control
        self._said: dict[str, object] = {"count": 0, "driver": "570.86.15"}
        self.programs = control.with_name("programs")
        self.programs.mkdir()
        self.loads: dict[str, str] = {
            "LD_LIBRARY_PATH": str(library.parent),
            "FAKE_NVML": str(control),
            "PATH": str(self.programs),  # an nvidia-smi of this machine must not be found
        }
        self.environ: dict[str, str] = {**os.environ, **self.loads}
        self._write()

    def take_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Has the workers that this process starts from now on find the library."""
        for key, value in self.loads.items():
            monkeypatch.setenv(key, value)

    def card(self, name: str = "NVIDIA GeForce RTX 3070", memory_mib: int = 8192) -> int:
        """Adds an idle card and tells its number; its uuid is `GPU-<number>`."""
        number = int(str(self._said["count"]))
        self._said["count"] = number + 1
        self._describe(f"{number}", name, f"GPU-{number}", memory_mib)
        self.set({f"{number}.temperature": 41, f"{number}.slowdown": 93, f"{number}.throttle": 0})
        return number

    def slice(self, card: int, name: str, memory_mib: int) -> None:
        """Cuts a slice from a card; its uuid is `MIG-<card>-<slice>`, its instance slice + 1."""
        at = int(str(self._said.get(f"{card}.mig", 0)))
        self._said[f"{card}.mig"] = at + 1
        self._describe(f"{card}.{at}", name, f"MIG-{card}-{at}", memory_mib)
        self._write()

    def set(self, said: dict[str, object]) -> None:
        """Changes what is answered from now on; None takes a key away."""
        for key, value in said.items():
            if value is None:
                self._said.pop(key, None)
            else:
                self._said[key] = value
        self._write()

    def _describe(self, prefix: str, name: str, uuid: str, memory_mib: int) -> None:
        self._said[f"{prefix}.name"] = name
        self._said[f"{prefix}.uuid"] = uuid
        self._said[f"{prefix}.memory_mib"] = memory_mib

    def _write(self) -> None:
        """At once: a reader finds what was before or what is now."""
        new = self._control.with_suffix(".new")
        new.write_text("".join(f"{key}={value}\n" for key, value in self._said.items()))
        new.replace(self._control)


def build(directory: Path) -> Path:
    """Builds the library there. Raises FileNotFoundError without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("a C compiler is needed: install gcc and libc6-dev")
    library = directory / LIBRARY
    subprocess.run(
        [
            compiler,
            *("-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"),
            *(f"-Wl,-soname,{LIBRARY}", "-o", str(library), str(SOURCE)),
        ],
        check=True,
    )
    return library


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built once; without a C compiler its tests are skipped, in CI they fail."""
    try:
        return build(tmp_path_factory.mktemp("nvml"))
    except FileNotFoundError as error:
        if in_ci():
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def fake_nvml(nvml_library: Path, tmp_path: Path) -> FakeNvml:
    """A machine with NVIDIA's driver and no card yet."""
    return FakeNvml(nvml_library, tmp_path / "nvml.txt")
