"""Models and features from files: the good ones go, the bad ones are named by file and field."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from muster.agent.models import FILE_MOST_BYTES, ModelProblem, ModelScan, ModelSource
from muster.wire.messages import Model

NMT = {
    "model_id": "mdl-nmt-zh-en",
    "kind": "nmt",
    "version": "1.0.0",
    "src_lang": "zh",
    "tgt_lang": "en",
}
DEBOUNCE_S = 0.1


def put(folder: Path, name: str, entry: Any) -> Path:
    path = folder / name / "model.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(entry if isinstance(entry, str) else json.dumps(entry), encoding="utf-8")
    return path


def toml(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


def ids(scan: ModelScan) -> list[str]:
    return [model.model_id for model in scan.models]


def only_problem(scan: ModelScan) -> ModelProblem:
    assert len(scan.problems) == 1, scan.problems
    return scan.problems[0]


def test_nowhere_to_look_means_no_models_and_no_problems() -> None:
    assert ModelSource().scan() == ModelScan()


def test_a_folder_of_models_is_read_one_folder_a_model(tmp_path: Path) -> None:
    put(tmp_path, "b", NMT)
    put(tmp_path, "a", {"model_id": "asr", "kind": "asr", "version": "2", "src_lang": "zh"})
    scan = ModelSource(models_dir=tmp_path).scan()
    assert scan.models == (
        Model(model_id="asr", kind="asr", version="2", src_lang="zh"),
        Model(model_id="mdl-nmt-zh-en", kind="nmt", version="1.0.0", src_lang="zh", tgt_lang="en"),
    )
    assert scan.problems == ()


def test_a_models_toml_lists_models_and_features(tmp_path: Path) -> None:
    path = toml(
        tmp_path,
        """
        advanced_features = ["batched_inference"]
        [features]
        emotion_detection = true
        voice_style_detection = false
        [[models]]
        model_id = "tts"
        kind = "tts"
        version = "1"
        tgt_lang = "zh"
        dialect = "粤语"
        enabled = false
        status = "downloading"
        """,
    )
    scan = ModelSource(models_file=path).scan()
    assert scan == ModelScan(
        models=(
            Model(
                model_id="tts",
                kind="tts",
                version="1",
                tgt_lang="zh",
                dialect="粤语",
                enabled=False,
                status="downloading",
            ),
        ),
        features={"emotion_detection": True, "voice_style_detection": False},
        advanced_features=("batched_inference",),
    )


def test_both_places_add_up_and_one_model_that_can_is_enough(tmp_path: Path) -> None:
    path = toml(tmp_path, "[features]\nemotion_detection = false\nspeech_rate_control = true\n")
    put(tmp_path / "m", "a", NMT | {"features": {"emotion_detection": True}})
    put(
        tmp_path / "m",
        "b",
        NMT | {"model_id": "other", "features": {"speech_rate_control": False, "x": None}},
    )
    scan = ModelSource(tmp_path / "m", path).scan()
    assert ids(scan) == ["mdl-nmt-zh-en", "other"]
    assert scan.features == {"emotion_detection": True, "speech_rate_control": True, "x": None}


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"model_id": None}, "model_id", "string"),
        ({"model_id": 7}, "model_id", "string"),
        ({"model_id": " "}, "model_id", "a text that is not empty"),
        ({"version": None}, "version", "string"),
        ({"version": 1.0}, "version", "string"),
        ({"kind": "llm"}, "kind", "one of asr nmt tts vad emotion other"),
        ({"src_lang": ["zh"]}, "src_lang", "string"),
        ({"enabled": "yes"}, "enabled", "boolean"),
        (
            {"status": "installed"},
            "status",
            "one of ready downloading not_installed error",
        ),
    ],
)
def test_a_bad_entry_is_named_by_file_and_field_and_the_good_ones_go(
    tmp_path: Path, change: dict[str, Any], field: str, expected: str
) -> None:
    put(tmp_path, "good", NMT)
    bad = put(tmp_path, "bad", NMT | {"model_id": "bad"} | change)
    scan = ModelSource(models_dir=tmp_path).scan()
    assert ids(scan) == ["mdl-nmt-zh-en"]
    problem = only_problem(scan)
    assert (problem.file, problem.field, problem.expected) == (str(bad), field, expected)
    assert problem.left_out


def test_in_a_list_the_field_says_which_entry_is_meant(tmp_path: Path) -> None:
    path = toml(tmp_path, '[[models]]\nmodel_id="a"\nkind="vad"\nversion="1"\n[[models]]\nkind=1\n')
    scan = ModelSource(models_file=path).scan()
    assert ids(scan) == ["a"]
    assert only_problem(scan).field == "models[1].model_id"


def test_a_language_its_kind_needs_is_missed_but_the_model_is_reported(tmp_path: Path) -> None:
    put(tmp_path, "a", {"model_id": "m", "kind": "nmt", "version": "1", "src_lang": "zh"})
    scan = ModelSource(models_dir=tmp_path).scan()
    assert ids(scan) == ["m"]
    problem = only_problem(scan)
    assert (problem.field, problem.left_out) == ("tgt_lang", False)


def test_asr_without_its_language_is_named_but_reported(tmp_path: Path) -> None:
    put(tmp_path, "a", {"model_id": "m", "kind": "asr", "version": "1"})
    scan = ModelSource(models_dir=tmp_path).scan()
    assert ids(scan) == ["m"]
    problem = only_problem(scan)
    assert (problem.field, problem.left_out) == ("src_lang", False)


def test_a_misspelt_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    put(tmp_path, "a", NMT | {"enabeld": False, "license": "MIT", "features": {"x": True}})
    path = toml(tmp_path, '[[model]]\nmodel_id = "x"\n')
    scan = ModelSource(tmp_path, path).scan()
    assert [(p.field, p.expected, p.left_out) for p in scan.problems] == [
        ("model", "the key models", True),
        ("enabeld", "the key enabled", False),
    ]
    toml(tmp_path, '[[models]]\nmodel_id = "x"\nkind = "asr"\nversion = "1"\nlang = "zh"\n')
    fields = [(p.field, p.expected) for p in ModelSource(models_file=path).scan().problems]
    assert ("models[0].lang", "the key src_lang or tgt_lang") in fields


GOOD = '[[models]]\nmodel_id = "t"\nkind = "vad"\nversion = "1"\n'


@pytest.mark.parametrize(
    "broken", ["[[models", "models = 1", "\0" * 8, "#" * (FILE_MOST_BYTES + 1)]
)
def test_a_file_that_becomes_unreadable_keeps_what_it_said(tmp_path: Path, broken: str) -> None:
    path = toml(tmp_path, GOOD)
    source = ModelSource(models_file=path)
    assert ids(source.scan()) == ["t"]
    toml(tmp_path, broken)
    for _ in range(2):
        scan = source.scan()
        assert ids(scan) == ["t"]
        problem = only_problem(scan)
        assert (problem.file, problem.kept, problem.left_out) == (str(path), True, False)
    toml(tmp_path, "")
    assert source.scan() == ModelScan()


def test_so_does_a_models_own_file_until_it_is_gone(tmp_path: Path) -> None:
    path = put(tmp_path, "a", NMT)
    source = ModelSource(models_dir=tmp_path)
    source.scan()
    path.write_text("{")
    assert ids(source.scan()) == ["mdl-nmt-zh-en"]
    path.unlink()
    assert ids(source.scan()) == []


def test_a_drive_that_fails_keeps_the_models_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a", NMT)
    source = ModelSource(models_dir=tmp_path)
    source.scan()

    def fail(_: Path) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "iterdir", fail)
    for _ in range(2):
        scan = source.scan()
        assert ids(scan) == ["mdl-nmt-zh-en"]
        assert only_problem(scan).kept


def test_an_id_given_twice_counts_once_and_both_files_are_named(tmp_path: Path) -> None:
    first = put(tmp_path, "a", NMT)
    second = put(tmp_path, "b", NMT)
    scan = ModelSource(models_dir=tmp_path).scan()
    assert ids(scan) == ["mdl-nmt-zh-en"]
    problem = only_problem(scan)
    assert problem.file == str(second)
    assert str(first) in problem.got


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "a JSON object"),
        ("[]", "a JSON object"),
        ("[" * 100_000, "a JSON object"),
        ("7", "a JSON object"),
        (" " * (FILE_MOST_BYTES + 1), f"at most {FILE_MOST_BYTES} bytes"),
    ],
)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, text: str, expected: str) -> None:
    bad = put(tmp_path, "bad", text)
    problem = only_problem(ModelSource(models_dir=tmp_path).scan())
    assert (problem.file, problem.field, problem.expected) == (str(bad), "", expected)


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    put(tmp_path, "bad", "").write_bytes(b"\xff\xfe{}")
    assert only_problem(ModelSource(models_dir=tmp_path).scan()).expected == "a JSON object"


def test_the_mark_some_editors_put_first_does_no_harm(tmp_path: Path) -> None:
    put(tmp_path, "a", "\ufeff" + json.dumps(NMT))
    assert ids(ModelSource(models_dir=tmp_path).scan()) == ["mdl-nmt-zh-en"]


def test_a_folder_without_its_file_is_named_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README").write_text("not a model")
    problem = only_problem(ModelSource(models_dir=tmp_path).scan())
    assert problem.file == str(tmp_path / "empty" / "model.json")


@pytest.mark.parametrize("which", ["models_dir", "models_file"])
def test_a_place_that_is_not_there_is_named(tmp_path: Path, which: str) -> None:
    missing = tmp_path / "missing"
    problem = only_problem(ModelSource(**{which: missing}).scan())
    assert problem.file == str(missing)


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("[features", "", "TOML"),
        ("features = 1", "features", "object"),
        ("[features]\nx = 1", "features.x", "boolean"),
        ("models = 1", "models", "array"),
        ("models = [1]", "models[0]", "object"),
        ("advanced_features = 1", "advanced_features", "array"),
        ("advanced_features = [1]", "advanced_features[0]", "string"),
    ],
)
def test_what_is_wrong_in_a_models_toml_is_named(
    tmp_path: Path, text: str, field: str, expected: str
) -> None:
    problem = only_problem(ModelSource(models_file=toml(tmp_path, text)).scan())
    assert (problem.field, problem.expected) == (field, expected)


# Watching


@asynccontextmanager
async def watching(source: ModelSource) -> AsyncIterator[asyncio.Queue[ModelScan]]:
    scans: asyncio.Queue[ModelScan] = asyncio.Queue()
    task = asyncio.create_task(source.watch(scans.put_nowait, DEBOUNCE_S))
    try:
        yield scans
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def next_scan(scans: asyncio.Queue[ModelScan]) -> ModelScan:
    return await asyncio.wait_for(scans.get(), 60)


async def test_what_there_is_at_first_is_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, "a", NMT)
    async with watching(ModelSource(models_dir=tmp_path)) as scans:
        assert ids(await next_scan(scans)) == ["mdl-nmt-zh-en"]


async def test_a_model_that_comes_changes_or_goes_is_told(tmp_path: Path) -> None:
    async with watching(ModelSource(models_dir=tmp_path)) as scans:
        assert ids(await next_scan(scans)) == []
        path = put(tmp_path, "a", NMT)
        assert ids(await next_scan(scans)) == ["mdl-nmt-zh-en"]
        put(tmp_path, "a", NMT | {"version": "1.0.1"})
        assert (await next_scan(scans)).models[0].version == "1.0.1"
        path.unlink()
        path.parent.rmdir()
        assert ids(await next_scan(scans)) == []


async def test_a_place_that_appears_later_is_found(tmp_path: Path) -> None:
    async with watching(ModelSource(tmp_path / "m", tmp_path / "models.toml")) as scans:
        assert len((await next_scan(scans)).problems) == 2
        toml(tmp_path, "[features]\nemotion_detection = true\n")
        assert (await next_scan(scans)).features == {"emotion_detection": True}
        put(tmp_path / "m", "a", NMT)
        assert ids(await next_scan(scans)) == ["mdl-nmt-zh-en"]


async def test_a_file_touched_but_not_changed_is_not_told(tmp_path: Path) -> None:
    path = put(tmp_path, "a", NMT)
    async with watching(ModelSource(models_dir=tmp_path)) as scans:
        await next_scan(scans)
        os.utime(path, ns=(1, 1))
        put(tmp_path, "b", NMT | {"model_id": "b"})
        assert ids(await next_scan(scans)) == ["mdl-nmt-zh-en", "b"]
        assert scans.empty()


async def test_while_files_keep_changing_nothing_is_told(tmp_path: Path) -> None:
    """A model being copied is read once, when it has settled."""
    async with watching(ModelSource(models_dir=tmp_path)) as scans:
        await next_scan(scans)
        versions = 50
        for version in range(1, versions + 1):
            put(tmp_path, "a", NMT | {"version": f"{version}"})
            await asyncio.sleep(DEBOUNCE_S / 10)
        told = 1
        while (await next_scan(scans)).models[0].version != f"{versions}":
            told += 1  # only if this machine itself paused for as long as it takes to settle
        assert told < versions / 4


async def test_a_drive_that_hangs_holds_up_neither_the_loop_nor_the_end(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "models.toml")  # opening it waits for a writer that never comes
    source = ModelSource(models_file=tmp_path / "models.toml")
    async with watching(source) as scans:
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert scans.empty()


async def test_a_bug_in_reading_ends_the_watch_with_its_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: ModelSource) -> ModelScan:
        raise RuntimeError("ours")

    monkeypatch.setattr(ModelSource, "scan", broken)
    with pytest.raises(RuntimeError, match="ours"):
        await ModelSource(models_dir=tmp_path).watch(lambda _: None)
