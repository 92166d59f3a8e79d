"""The owners' handbook, in both languages: every message is in it, as the agent says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from muster.agent import sentences
from muster.agent.config import AgentConfig, variable_of
from muster.agent.hardware import NoGpuCause
from muster.agent.run import Exit
from muster.agent.trouble import Note, Trouble
from muster.cli import agent as commands
from muster.wire.closing import CloseCode
from muster.wire.errors import ErrorCode, Locale
from registry.model import Reason
from tests.support import handbook

ROOT = Path(__file__).resolve().parents[2]
LOCALES: tuple[Locale, ...] = ("zh", "en")
TEXTS = {locale: path.read_text("utf-8") for locale, path in handbook.DOCUMENTS.items()}
CODES = [
    *(cause.value for cause in NoGpuCause),
    *(code.value for code in ErrorCode),
    *(str(close.code) for close in CloseCode),
    *(trouble.value for trouble in Trouble),
    *(note.value for note in Note),
    *(code for code in sentences.GPU_REASONS if code not in ("xid", "nvml")),
    "xid_…",
    "nvml_…",
    *(code for code in sentences.API),
    *(variable_of(name) for name in AgentConfig.__dataclass_fields__),
]


@pytest.mark.parametrize("locale", LOCALES)
def test_the_tables_are_what_the_agent_says(locale: Locale) -> None:
    assert handbook.written(TEXTS[locale], locale) == TEXTS[locale], "run: make docs"


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_row(code: str, locale: Locale) -> None:
    assert f"\n| `{code}` |" in TEXTS[locale]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_status_has_a_row(reason: Reason, locale: Locale) -> None:
    assert re.search(rf"^\| `(\w+ )?{reason}` \|", TEXTS[locale], re.MULTILINE)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_exit_status_is_explained(locale: Locale) -> None:
    heading = {"zh": "\n## 退出码\n", "en": "\n## Exit statuses\n"}[locale]
    table = TEXTS[locale].partition(heading)[2].partition("\n#")[0]
    statuses = {int(status) for status in Exit} | {commands.NOBODY_ANSWERS, commands.NOT_SO}
    assert {int(row) for row in re.findall(r"^\| (\d) \|", table, re.MULTILINE)} == statuses


@pytest.mark.parametrize("locale", LOCALES)
def test_only_commands_and_options_that_exist_are_shown(locale: Locale) -> None:
    known = typer.main.get_command(commands.app).commands  # type: ignore[attr-defined]
    options = {opt for command in known.values() for each in command.params for opt in each.opts}
    assert set(re.findall(r"muster agent ([a-z][a-z-]*)", TEXTS[locale])) <= set(known)
    foreign = {"--help", "--gpus", "--gpu-reset"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXTS[locale])) - foreign <= options


@pytest.mark.parametrize("locale", LOCALES)
def test_every_link_leads_somewhere(locale: Locale) -> None:
    text = TEXTS[locale]
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert (handbook.DOCS / target).exists(), target
    headings = {
        re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_both_languages_have_the_same_sections_and_commands() -> None:
    def outline(text: str) -> list[str]:
        return [
            line.split(" ")[0] if line.startswith("#") else line
            for line in text.splitlines()
            if line.startswith(("#", "<!--"))
        ]

    assert outline(TEXTS["zh"]) == outline(TEXTS["en"])
    shown = [re.findall(r"`(?:GET|PUT|POST) /\w*`", TEXTS[locale]) for locale in LOCALES]
    assert shown[0] == shown[1]


def test_the_deployed_files_set_only_what_there_is() -> None:
    known = {variable_of(name) for name in AgentConfig.__dataclass_fields__}
    for path in (ROOT / "deploy" / "agent").iterdir():
        assert set(re.findall(r"MUSTER_AGENT_\w+", path.read_text("utf-8"))) <= known, path.name
