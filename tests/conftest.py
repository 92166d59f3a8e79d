"""What all tests share, and the count of what each store passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_nvml import fake_nvml, nvml_library
from tests.support.clusters import replicated_cluster
from tests.support.floors import below_floor
from tests.support.processes import log_tails, processes
from tests.support.sentinels import sentinel_store
from tests.support.stores import BACKENDS, backend, in_ci, store, stores, valkey

__all__ = [
    "backend",
    "fake_nvml",
    "nvml_library",
    "processes",
    "replicated_cluster",
    "sentinel_store",
    "store",
    "stores",
    "valkey",
]

# How long one example takes is the machine's affair, and on a busy one no reason to fail.
settings.register_profile("muster", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("muster")

_PASSED = pytest.StashKey[Counter[str]]()
_SKIPPED = pytest.StashKey[Counter[str]]()
_SHORT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_PASSED] = Counter()
    config.stash[_SKIPPED] = Counter()
    if not hasattr(config, "workerinput"):  # workers' reports reach the controller, which counts
        config.pluginmanager.register(_Counting(config), "muster-store-counts")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(log_tails(item))
    return report


class _Counting:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for key, value in report.user_properties:
            if key != "store":
                continue
            if report.when == "call" and report.passed:
                self._config.stash[_PASSED][str(value)] += 1
            elif report.skipped:
                self._config.stash[_SKIPPED][str(value)] += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        config = self._config
        if exitstatus != pytest.ExitCode.OK or not _whole_suite(config):
            return
        skipped = config.stash[_SKIPPED]
        excused = set() if in_ci() else {name for name in BACKENDS if skipped[name]}
        passed: Counter[str] = config.stash[_PASSED]
        short = below_floor(passed, excused)
        config.stash[_SHORT] = short
        if short:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        passed, skipped = self._config.stash[_PASSED], self._config.stash[_SKIPPED]
        if passed or skipped:
            terminalreporter.section("stores")
        for name in BACKENDS:
            if passed[name] or skipped[name]:
                note = f", {skipped[name]} skipped" if skipped[name] else ""
                terminalreporter.write_line(f"{name}: {passed[name]} passed{note}")
        for sentence in self._config.stash.get(_SHORT, []):
            terminalreporter.write_line(f"FAILED {sentence}", red=True)


def _whole_suite(config: pytest.Config) -> bool:
    """Whether nothing was selected by name, mark or path."""
    option = config.option
    chosen = (
        option.keyword,
        option.markexpr,
        option.collectonly,
        getattr(option, "lf", False),
        getattr(option, "deselect", None),
        getattr(option, "ignore", None),
        getattr(option, "ignore_glob", None),
    )
    whole = {config.rootpath, config.rootpath / "tests"}
    paths = {(config.invocation_params.dir / Path(argument)).resolve() for argument in config.args}
    return not any(chosen) and paths <= whole
