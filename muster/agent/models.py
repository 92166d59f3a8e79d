"""The models and features of this machine, read from files, and watched for changes.

Two places, either or both: a folder with one folder a model and a `model.json` in each, and a
`models.toml`:

    advanced_features = ["batched_inference"]

    [features]
    emotion_detection = true

    [[models]]
    model_id = "mdl-nmt-zh-en-base-v1"
    kind = "nmt"
    version = "1.0.0"
    src_lang = "zh"
    tgt_lang = "en"

A `model.json` is one such entry, and may have `features` of its own. What is wrong is named by file
and field; what is right is reported all the same.

Files are read in a thread of their own: a network drive that hangs must not hold up a heartbeat.
"""

from __future__ import annotations

import asyncio
import json
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from muster.wire import parts
from muster.wire.fields import Fields, Warnings
from muster.wire.invalid import InvalidMessage
from muster.wire.kinds import ARRAY, BOOLEAN, OBJECT, STRING, said
from muster.wire.messages import Model
from muster.wire.registering import KINDS

MODEL_FILE = "model.json"
STATUSES = ("ready", "downloading", "not_installed", "error")
FILE_MOST_BYTES = 1_048_576
POLL_MOST_S = 1.0
POLL_LEAST_S = 0.05


class ModelProblem(Struct, frozen=True):
    """Something wrong in a file: where, what was expected there, and what it was instead.

    `left_out`: the entry is not reported. `field` is empty where the file as a whole is meant.
    """

    file: str
    field: str
    expected: str
    got: str
    left_out: bool = True


class ModelScan(Struct, frozen=True):
    """What the files say."""

    models: tuple[Model, ...] = ()
    features: dict[str, bool | None] = {}
    advanced_features: tuple[str, ...] = ()
    problems: tuple[ModelProblem, ...] = ()


class _Unfit(Exception):  # noqa: N818 (never leaves this file)
    def __init__(self, field: str, expected: str, got: str) -> None:
        super().__init__(field)
        self.field = field
        self.expected = expected
        self.got = got


class _Reader:
    """One pass over the files."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[Model, str]] = {}
        self._features: dict[str, bool | None] = {}
        self._advanced: list[str] = []
        self._problems: list[ModelProblem] = []

    def result(self) -> ModelScan:
        return ModelScan(
            models=tuple(model for model, _ in self._models.values()),
            features=self._features,
            advanced_features=tuple(dict.fromkeys(self._advanced)),
            problems=tuple(self._problems),
        )

    def directory(self, directory: Path) -> None:
        try:
            folders = sorted(entry for entry in directory.iterdir() if entry.is_dir())
        except OSError as error:
            self._problem(directory, "", "a folder that can be read", _reason(error))
            return
        for folder in folders:
            if folder.name.startswith("."):
                continue
            path = folder / MODEL_FILE
            entry = self._object(path, json.loads, "a JSON object")
            if entry is not None:
                self._model(path, "", entry)
                self._some_features(path, entry)

    def file(self, path: Path) -> None:
        document = self._object(path, tomllib.loads, "TOML")
        if document is None:
            return
        self._some_features(path, document)
        self._advanced_features(path, document)
        entries = document.get("models", [])
        if not isinstance(entries, list):
            self._problem(path, "models", ARRAY.expected, said(entries))
            return
        for at, entry in enumerate(entries):
            if isinstance(entry, dict):
                self._model(path, f"models[{at}]", entry)
            else:
                self._problem(path, f"models[{at}]", OBJECT.expected, said(entry))

    def _object(
        self, path: Path, parse: Callable[[str], Any], expected: str
    ) -> dict[str, Any] | None:
        try:
            if path.stat().st_size > FILE_MOST_BYTES:
                self._problem(path, "", f"at most {FILE_MOST_BYTES} bytes", "more")
                return None
            value = parse(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            self._problem(path, "", "a file that can be read", _reason(error))
            return None
        except (ValueError, RecursionError) as error:
            self._problem(path, "", expected, str(error) or "nested too deeply")
            return None
        if not isinstance(value, dict):
            self._problem(path, "", expected, said(value))
            return None
        return value

    def _model(self, path: Path, where: str, entry: dict[str, Any]) -> None:
        fields = Fields(entry, Warnings(), lenient=False, path=where)
        try:
            model = parts.model(fields)
            for key in ("model_id", "version"):
                if not getattr(model, key).strip():
                    raise _Unfit(fields.at(key), "a text that is not empty", '""')
            if model.kind not in KINDS:
                raise _Unfit(fields.at("kind"), "one of " + " ".join(KINDS), repr(model.kind))
            if model.status not in STATUSES:
                raise _Unfit(fields.at("status"), "one of " + " ".join(STATUSES), model.status)
            if model.model_id in self._models:
                given = f"{model.model_id!r}, given in {self._models[model.model_id][1]} too"
                raise _Unfit(fields.at("model_id"), "an id given once", given)
        except InvalidMessage as error:
            self._problem(path, error.path or "", error.expected, error.got or "something else")
            return
        except _Unfit as error:
            self._problem(path, error.field, error.expected, error.got)
            return
        self._models[model.model_id] = (model, str(path))
        for language in parts.NEEDED_LANGUAGES.get(model.kind, ()):
            if not getattr(model, language):
                self._problem(
                    path,
                    fields.at(language),
                    f"a language, as {model.kind} needs it",
                    "nothing",
                    left_out=False,
                )

    def _some_features(self, path: Path, document: dict[str, Any]) -> None:
        features = document.get("features")
        if features is None:
            return
        if not isinstance(features, dict):
            self._problem(path, "features", OBJECT.expected, said(features))
            return
        for name, value in features.items():
            if value is not None and not isinstance(value, bool):
                self._problem(path, f"features.{name}", BOOLEAN.expected, said(value))
            elif not self._features.get(name):  # one model that can is enough
                self._features[name] = value

    def _advanced_features(self, path: Path, document: dict[str, Any]) -> None:
        names = document.get("advanced_features", [])
        if not isinstance(names, list):
            self._problem(path, "advanced_features", ARRAY.expected, said(names))
            return
        for at, name in enumerate(names):
            if isinstance(name, str):
                self._advanced.append(name)
            else:
                self._problem(path, f"advanced_features[{at}]", STRING.expected, said(name))

    def _problem(
        self, path: Path, field: str, expected: str, got: str, *, left_out: bool = True
    ) -> None:
        self._problems.append(ModelProblem(str(path), field, expected, got, left_out))


class ModelSource:
    """Where an owner keeps models; both places may be missing."""

    def __init__(self, models_dir: Path | None = None, models_file: Path | None = None) -> None:
        self._directory = models_dir
        self._file = models_file

    def scan(self) -> ModelScan:
        """Reads everything now; blocks as long as the files do."""
        reader = _Reader()
        if self._file is not None:
            reader.file(self._file)
        if self._directory is not None:
            reader.directory(self._directory)
        return reader.result()

    async def watch(self, on_change: Callable[[ModelScan], None], debounce_s: float = 2.0) -> None:
        """Reports what there is, and after each change that has settled, until cancelled.

        Settled: nothing changed for `debounce_s`, so that a model being copied is read once.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        stopping = threading.Event()

        def report(scan: ModelScan) -> None:
            loop.call_soon_threadsafe(on_change, scan)

        def work() -> None:
            try:
                self._follow(report, debounce_s, stopping)
            except BaseException as error:  # noqa: BLE001 - our bug, told to who awaits us
                if not stopping.is_set():
                    loop.call_soon_threadsafe(ended.set_exception, error)

        # A daemon: where the drive hangs for good, the program must still be able to end.
        threading.Thread(target=work, name="muster-models", daemon=True).start()
        try:
            await ended
        finally:
            stopping.set()

    def _follow(
        self, report: Callable[[ModelScan], None], debounce_s: float, stopping: threading.Event
    ) -> None:
        poll_s = max(POLL_LEAST_S, min(POLL_MOST_S, debounce_s / 2))
        seen = self._signature()
        told = self.scan()
        report(told)
        while not stopping.wait(poll_s):
            now = self._signature()
            if now == seen:
                continue
            while now != seen:
                seen = now
                if stopping.wait(debounce_s):
                    return
                now = self._signature()
            scan = self.scan()
            if scan != told and not stopping.is_set():
                told = scan
                report(scan)

    def _signature(self) -> tuple[tuple[str, int, int, int], ...]:
        """Differs once any file of ours does; reads no contents."""
        return tuple(self._stats())

    def _stats(self) -> Iterator[tuple[str, int, int, int]]:
        if self._file is not None:
            yield _stat(self._file)
        if self._directory is None:
            return
        yield _stat(self._directory)
        try:
            folders = sorted(self._directory.iterdir())
        except OSError:
            return
        for folder in folders:
            yield _stat(folder / MODEL_FILE)


def _stat(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (str(path), -1, -1, -1)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
