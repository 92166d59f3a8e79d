"""`muster agent …`: what a machine's owner types.

What is needed is imported by each command: an agent that idles for months should not carry the
parts of the others.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from muster.agent.config import (
    PREFIX,
    AgentConfig,
    ConfigError,
    read_labels,
    shown_url,
    variable_of,
)
from muster.agent.language import pick
from muster.cli import agent_help as explain
from muster.wire.errors import Locale

if TYPE_CHECKING:
    from muster.agent.hardware import Hardware, NoGpuError
    from muster.agent.models import ModelScan
    from muster.agent.texts import Advice

USAGE = 2
NO_GPU = 3
NOBODY_ANSWERS = 5
NOT_SO = 6

app = typer.Typer(
    name="agent",
    help=explain.command("agent"),
    epilog=explain.examples("agent"),
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Language = Annotated[
    Literal["zh", "en"] | None, typer.Option("--locale", help=explain.flag("locale"))
]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help=explain.flag("state_dir"))
]
ModelsDir = Annotated[
    Path | None, typer.Option("--models-dir", metavar="DIR", help=explain.flag("models_dir"))
]
ModelsFile = Annotated[
    Path | None, typer.Option("--models-file", metavar="FILE", help=explain.flag("models_file"))
]
Port = Annotated[int | None, typer.Option("--port", metavar="PORT", help=explain.option("port"))]
AsJson = Annotated[bool, typer.Option("--json", help=explain.option("json"))]


@app.callback()
def _prepare() -> None:
    """Sentences reach whatever stands at the other end, a pipe of another encoding included."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Programs on Windows read UTF-8 from each other, whatever its consoles speak.
            to_program = sys.platform == "win32" and not stream.isatty()
            stream.reconfigure(
                encoding="utf-8" if to_program else stream.encoding, errors="backslashreplace"
            )


@app.command(
    help=explain.command("probe"),
    short_help=explain.short("probe"),
    epilog=explain.examples("probe"),
)
def probe(as_json: AsJson = False, locale: Language = None) -> None:
    _need_parts(locale)
    from muster.agent.hardware import NoGpuError
    from muster.agent.probe import probe as look

    config = _config(locale)
    try:
        hardware = asyncio.run(look(config.probe_deadline_s))
    except NoGpuError as error:
        _end_without_gpu(error, pick(locale), as_json=as_json)
    if as_json:
        _print_json(hardware.as_message())
    else:
        typer.echo(_described(hardware, pick(locale)))


@app.command(
    help=explain.command("run"), short_help=explain.short("run"), epilog=explain.examples("run")
)
def run(
    server: Annotated[
        list[str] | None, typer.Option("--server", metavar="URL", help=explain.flag("servers"))
    ] = None,
    models_dir: ModelsDir = None,
    models_file: ModelsFile = None,
    join_token_file: Annotated[
        Path | None,
        typer.Option("--join-token-file", metavar="FILE", help=explain.option("join_token_file")),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME=VALUE", help=explain.flag("labels"))
    ] = None,
    accept_public_jobs: Annotated[
        bool | None,
        typer.Option(
            "--accept-public-jobs/--no-accept-public-jobs",
            help=explain.flag("accept_public_jobs"),
        ),
    ] = None,
    max_concurrent_jobs: Annotated[
        int | None,
        typer.Option(
            "--max-concurrent-jobs", metavar="N", help=explain.flag("max_concurrent_jobs")
        ),
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option("--drain-timeout", metavar="SECONDS", help=explain.flag("drain_timeout_s")),
    ] = None,
    status_port: Annotated[
        int | None, typer.Option("--status-port", metavar="PORT", help=explain.flag("status_port"))
    ] = None,
    simulate: Annotated[
        str | None, typer.Option("--simulate", metavar="CARDS", help=explain.flag("simulate"))
    ] = None,
    state_dir: StateDir = None,
    log_format: Annotated[
        Literal["auto", "text", "json"] | None,
        typer.Option("--log-format", help=explain.flag("log_format")),
    ] = None,
    locale: Language = None,
) -> None:
    _need_parts(locale)
    config = _config(
        locale,
        servers=tuple(server) if server else None,
        models_dir=models_dir,
        models_file=models_file,
        join_token=_token(join_token_file, locale),
        labels=label or None,
        accept_public_jobs=accept_public_jobs,
        max_concurrent_jobs=max_concurrent_jobs,
        drain_timeout_s=drain_timeout,
        status_port=status_port,
        simulate=simulate,
        state_dir=state_dir,
        log_format=log_format,
    )
    if config.status_port is not None and find_spec("uvicorn") is None:
        _end(USAGE, _missing_parts(pick(locale)))
    from muster.agent.run import run as run_agent

    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    raise typer.Exit(run_agent(config, pick(locale), terminal=terminal))


@app.command(
    help=explain.command("models"),
    short_help=explain.short("models"),
    epilog=explain.examples("models"),
)
def models(
    models_dir: ModelsDir = None,
    models_file: ModelsFile = None,
    as_json: AsJson = False,
    locale: Language = None,
) -> None:
    from muster.agent.models import ModelSource

    config = _config(locale, models_dir=models_dir, models_file=models_file)
    if config.models_dir is None and config.models_file is None:
        _end_for_setting("--models-dir, --models-file", "one of them", "none", pick(locale))
    scan = ModelSource(config.models_dir, config.models_file).scan()
    if as_json:
        _print_json(_scan_as_json(scan))
    else:
        _print_scan(scan, pick(locale))
    if scan.problems:
        raise typer.Exit(USAGE)


@app.command(
    help=explain.command("status"),
    short_help=explain.short("status"),
    epilog=explain.examples("status"),
)
def status(
    as_json: AsJson = False, port: Port = None, state_dir: StateDir = None, locale: Language = None
) -> None:
    language = pick(locale)
    state = _ask(language, port, state_dir, f"/status?locale={language}")
    if as_json:
        _print_json(state)
    else:
        from rich.console import Console

        from muster.agent import panel

        console = Console()
        ascii_only = console.options.ascii_only
        console.print(panel.render(state, language, running=False, ascii_only=ascii_only))
    if not state["online"]:
        raise typer.Exit(NOT_SO)


@app.command(
    help=explain.command("drain"),
    short_help=explain.short("drain"),
    epilog=explain.examples("drain"),
)
def drain(
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help=explain.option("reason"))
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0, help=explain.option("timeout")),
    ] = None,
    as_json: AsJson = False,
    port: Port = None,
    state_dir: StateDir = None,
    locale: Language = None,
) -> None:
    language = pick(locale)
    body = {"reason": reason, "timeout_s": timeout}
    answer = _ask(language, port, state_dir, "/drain", body)
    if as_json:
        _print_json(answer)
    else:
        from muster.agent import texts

        typer.echo(texts.word("drain_begun", language))


@app.command(
    "reset-identity",
    help=explain.command("reset-identity"),
    short_help=explain.short("reset-identity"),
    epilog=explain.examples("reset-identity"),
)
def reset_identity(
    yes: Annotated[bool, typer.Option("--yes", help=explain.option("yes"))] = False,
    state_dir: StateDir = None,
    locale: Language = None,
) -> None:
    from muster.agent import texts
    from muster.agent.identity import IdentityFile, StateInUse

    language = pick(locale)
    identity = IdentityFile(_config(locale, state_dir=state_dir).state_path)
    if not identity.path.exists():
        typer.echo(texts.word("nothing_saved", language, path=identity.path))
        return
    try:
        identity.lock()
        if not yes and not typer.confirm(texts.word("forget", language, path=identity.path)):
            raise typer.Exit(USAGE)
        identity.clear()
    except typer.Abort:  # nobody there to be asked
        raise typer.Exit(USAGE) from None
    except StateInUse:
        _end(USAGE, texts.state_in_use(str(identity.directory), language))
    except OSError as error:
        _end_for_setting("--state-dir", "a directory that can be written", str(error), language)
    finally:
        identity.unlock()
    typer.echo(texts.word("forgotten", language))


@app.command(
    help=explain.command("settings"),
    short_help=explain.short("settings"),
    epilog=explain.examples("settings"),
)
def settings(as_json: AsJson = False, locale: Language = None) -> None:
    config = _config(locale)
    rows = [_setting_row(config, field, pick(locale)) for field in dataclasses.fields(config)]
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['env']}={row['value']}  [{row['source']}]\n    {row['help']}")


def _config(locale: Locale | None, **given: Any) -> AgentConfig:
    """The settings; what can't be used ends the command."""
    try:
        if given.get("labels"):
            given["labels"] = read_labels(given["labels"])
        return AgentConfig.load(locale=locale, **given)
    except ConfigError as error:
        _end_for_setting(_as_given(error.name), error.expected, error.got, pick(locale))


def _as_given(name: str) -> str:
    """A setting as its owner gave it: the option, or the variable where there is no option."""
    options = {"servers": "--server", "labels": "--label", "drain_timeout_s": "--drain-timeout"}
    if name in options or name.startswith(PREFIX):
        return options.get(name, name)
    return variable_of(name) if name.endswith("_s") else "--" + name.replace("_", "-")


def _setting_row(
    config: AgentConfig, field: dataclasses.Field[Any], locale: Locale
) -> dict[str, str]:
    env = variable_of(field.name)
    value = getattr(config, field.name)
    return {
        "name": field.name,
        "env": env,
        "value": "********" if field.metadata["secret"] and value else _as_written(value),
        "source": "environment" if os.environ.get(env, "").strip() else "default",
        "help": explain.setting(field.name, locale),
    }


def _as_written(value: Any) -> str:
    """A setting's value as its variable would say it."""
    if isinstance(value, dict):
        return ",".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, tuple):
        return ",".join(shown_url(url) for url in value)
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _token(path: Path | None, locale: Locale | None) -> str | None:
    if path is None:
        return None
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        _end_for_setting("--join-token-file", "a file that can be read", str(error), pick(locale))
    if not token:
        _end_for_setting("--join-token-file", "a token in it", "an empty file", pick(locale))
    return token


def _described(hardware: Hardware, locale: Locale) -> str:
    """The hardware for people."""
    from muster.agent import texts

    def row(label: str, *parts: object) -> str:
        return f"{label:<8} " + " · ".join(str(part) for part in parts if part)

    lines = [
        row("CPU", texts.word("cores", locale, count=hardware.cpu_cores)),
        row("RAM", f"{hardware.memory_gb:g} GiB"),
        row("OS", hardware.platform),
    ]
    for place, gpu in enumerate(hardware.gpus):
        driver = gpu.driver_version and texts.word("driver", locale, version=gpu.driver_version)
        index = place if gpu.index is None else gpu.index
        lines.append(row(f"GPU {index}", gpu.name, f"{gpu.memory_gb:g} GiB", driver, gpu.uuid))
    return "\n".join([*lines, "", texts.word("may_register", locale)])


def _end_without_gpu(error: NoGpuError, locale: Locale, *, as_json: bool) -> NoReturn:
    from muster.agent import texts

    advice = texts.no_gpu(error.cause, error.detail, locale)
    if not as_json:
        _end(NO_GPU, advice)
    said = {
        "error": "NO_GPU_AVAILABLE",
        "cause": error.cause.value,
        "detail": error.detail,
        "message": advice.what,
        "whatToDo": advice.do,
    }
    typer.echo(json.dumps(said, ensure_ascii=False), err=True)
    raise typer.Exit(NO_GPU)


def _scan_as_json(scan: ModelScan) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(scan)
    return plain


def _print_scan(scan: ModelScan, locale: Locale) -> None:
    from muster.agent import texts

    typer.echo(f"{texts.word('models', locale)}: {len(scan.models)}")
    for model in scan.models:
        languages = "→".join(filter(None, (model.src_lang, model.tgt_lang)))
        state = model.status if model.enabled else "off"
        parts = (model.model_id, model.kind, languages or "-", model.version, state)
        typer.echo("  " + "  ".join(parts))
    for problem in scan.problems:
        typer.echo(f"! {texts.model_problem(problem, locale)}", err=True)


def _ask(
    locale: Locale,
    port: int | None,
    state_dir: Path | None,
    path: str,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What the agent that runs here answers; no answer ends the command."""
    from muster.agent import texts
    from muster.agent.texts import Advice
    from muster.cli.agent_local import LocalAgent, NobodyAnswersError, RefusedError

    agent = LocalAgent(_config(locale, state_dir=state_dir).state_path, port)
    try:
        return agent.get(path) if body is None else agent.post(path, body)
    except NobodyAnswersError:
        _end(NOBODY_ANSWERS, texts.nobody_answers(locale))
    except RefusedError as error:
        _end(NOT_SO, Advice(str(error)))


def _need_parts(locale: Locale | None) -> None:
    if find_spec("websockets") is None:
        _end(USAGE, _missing_parts(pick(locale)))


def _missing_parts(locale: Locale) -> Advice:
    from muster.agent import texts

    return texts.missing_parts(locale)


def _end_for_setting(name: str, expected: str, got: str, locale: Locale) -> NoReturn:
    from muster.agent import texts

    _end(USAGE, texts.setting(name, expected, got, locale))


def _end(code: int, advice: Advice) -> NoReturn:
    """Says what happened and what to do next, and ends the command."""
    typer.echo(str(advice), err=True)
    raise typer.Exit(code)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
