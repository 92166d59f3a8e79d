"""Options that several verbs have: what a machine must be able to do, and which nodes are meant.

`with_requirement` and `with_filter` give a verb these options; it receives one value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import typer

from muster.cli.remote import need_parts, split

_Verb = Callable[..., None]
_WORK = "What it can do"
_WHICH = "Which nodes"


def _words(flag: str, metavar: str, about: str, panel: str = _WORK) -> Any:
    return Annotated[
        list[str] | None,
        typer.Option(flag, metavar=metavar, help=about, rich_help_panel=panel, show_default=False),
    ]


def _word(flag: str, metavar: str, about: str, panel: str = _WHICH) -> Any:
    return Annotated[
        str | None,
        typer.Option(flag, metavar=metavar, help=about, rich_help_panel=panel, show_default=False),
    ]


def _number(flag: str, metavar: str, about: str) -> Any:
    return Annotated[
        float | None,
        typer.Option(flag, metavar=metavar, help=about, rich_help_panel=_WORK, show_default=False),
    ]


def _either(flags: str, about: str) -> Any:
    return Annotated[
        bool | None,
        typer.Option(flags, help=about, rich_help_panel=_WHICH, show_default=False),
    ]


_REQUIREMENT: Mapping[str, Any] = {
    "kind": Annotated[
        Literal["asr", "nmt", "tts"] | None,
        typer.Option(
            "--kind", help="A core capability, with its languages.", rich_help_panel=_WORK
        ),
    ],
    "src_lang": _word("--src-lang", "LANG", "Heard or translated from.", _WORK),
    "tgt_lang": _word("--tgt-lang", "LANG", "Translated into or spoken.", _WORK),
    "asr": _words("--asr", "LANG", "Recognises speech in it. May be repeated, as those below."),
    "nmt": _words("--nmt", "SRC:TGT", "Translates this pair, as zh:en."),
    "tts": _words("--tts", "LANG", "Speaks it."),
    "models": _words("--model", "ID", "Has this model ready."),
    "features": _words("--feature", "NAME", "Has this feature."),
    "advanced_features": _words("--advanced-feature", "NAME", "Has this advanced feature."),
    "labels": _words(
        "--label", "TEST", "region=eu, tier=gold,silver (one of them), owner!=lab (none of them)."
    ),
    "min_gpu_memory_gb": _number("--min-gpu-memory", "GIB", "Its largest GPU has so much memory."),
    "cpu_percent": _number("--max-cpu", "PERCENT", "Its CPU is at most so busy."),
    "gpu_percent": _number("--max-gpu", "PERCENT", "Its GPUs are at most so busy."),
    "mem_percent": _number("--max-memory", "PERCENT", "At most so much of its memory is used."),
    "gpu_queue_length": _number("--max-gpu-queue", "JOBS", "At most so many wait for its GPUs."),
}
_CEILINGS = ("cpu_percent", "gpu_percent", "mem_percent", "gpu_queue_length")

_WANTED: Mapping[str, Any] = {
    **_REQUIREMENT,
    "private": Annotated[
        bool,
        typer.Option(
            "--private",
            help="Also machines that keep out of the public pool.",
            rich_help_panel=_WORK,
        ),
    ],
}
_FILTER: Mapping[str, Any] = {
    **_REQUIREMENT,
    "status": _words(
        "--status",
        "STATE",
        "registering, ready, degraded, draining or offline; several with commas.",
        _WHICH,
    ),
    "public": _either("--public/--private", "In the public pool, or kept out of it."),
    "live": _either("--live/--silent", "Heard of in time, or not."),
    "available": _either("--available/--unavailable", "May be given work now, or may not."),
    "drained": _either("--drained/--not-drained", "Under an operator's drain, or not."),
    "gateway": _word("--gateway", "ID", "Connected to this gateway."),
    "program_version": _word("--program-version", "VERSION", "Runs this version of its program."),
    "platform": _word("--platform", "NAME", "windows, linux, macos, …"),
    "gpu": _word("--gpu", "NAME", "Has a GPU whose name contains this."),
    "q": _word("--id", "PART", "Its id contains this."),
}


def with_requirement(verb: _Verb) -> _Verb:
    """Gives the verb options for `wanted`: Requirement."""
    return _with(verb, "wanted", _WANTED)


def with_filter(verb: _Verb) -> _Verb:
    """Gives the verb options for `which`: Filter."""
    return _with(verb, "which", _FILTER)


def _with(verb: _Verb, name: str, options: Mapping[str, Any]) -> _Verb:
    """The verb with options in the place of one parameter, which is read from them."""
    parameters = []
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        if parameter.name != name:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        for option, annotation in options.items():
            default = False if option == "private" else None
            parameters.append(
                inspect.Parameter(
                    option,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=annotation,
                )
            )

    def run(**given: Any) -> None:
        need_parts()
        asked = _requirement({option: given.pop(option) for option in options})
        verb(**given, **{name: asked})

    run.__name__, run.__doc__, run.__module__ = verb.__name__, verb.__doc__, verb.__module__
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _requirement(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as `muster.client` asks for it. Raises typer.BadParameter."""
    asked = {name: value for name, value in given.items() if value is not None and value != []}
    if "private" in asked and asked.pop("private"):
        asked["public"] = False
    if "nmt" in asked:
        asked["nmt"] = [_pair(text) for text in asked["nmt"]]
    if "labels" in asked:
        asked["labels"] = tests(asked["labels"])
    if "status" in asked:
        asked["status"] = split(asked["status"])
    ceilings = {name: asked.pop(name) for name in _CEILINGS if name in asked}
    return asked | ({"ceilings": ceilings} if ceilings else {})


def _pair(text: str) -> tuple[str, str]:
    source, colon, target = text.partition(":")
    if not (source and colon and target):
        raise typer.BadParameter(
            f"expected two languages, as zh:en; got {text}", param_hint="--nmt"
        )
    return source, target


def tests(texts: Sequence[str]) -> dict[str, Any]:
    """Tests of labels by name. Raises typer.BadParameter."""
    found: dict[str, Any] = {}
    for text in texts:
        name, test = _test(text)
        if name in found:
            raise typer.BadParameter(f"{name} is asked for twice", param_hint="--label")
        found[name] = test
    return found


def _test(text: str) -> tuple[str, Any]:
    from muster.client import Not

    name, equals, values = text.partition("=")
    if not equals or not name.removesuffix("!"):
        raise typer.BadParameter(
            f"expected name=value, name=value,value or name!=value; got {text}",
            param_hint="--label",
        )
    if name.endswith("!"):
        return name[:-1], Not(values.split(","))
    return name, values.split(",") if "," in values else values
