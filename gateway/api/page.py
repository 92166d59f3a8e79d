"""The page at `/docs`: the table of endpoints for people. One file, no script, nothing from
outside."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from msgspec import Struct

from gateway.api import recorded, shapes
from gateway.api.curl import command
from gateway.api.endpoint import Endpoint
from gateway.api.pretty import pretty
from gateway.api.problems import CODES
from registry.measuring import program_version

ABOUT = """\
Muster keeps the roll of a fleet of GPU machines and answers: which ready machine can do this? \
Everything is JSON. Instants are milliseconds since 1970 of the store's clock; durations say their \
unit in their name.
Where the gateway asks for tokens, send `Authorization: Bearer …`. A token has the role `read` or \
`admin`, and may be limited to the machines of one owner: to it there are no others.
A parameter or field that is not known here is refused, with the nearest known name. Problems are \
RFC 9457 documents; programs go by their `code`."""


@dataclass(frozen=True, slots=True)
class Page:
    """A document and the headers it goes out with."""

    html: bytes
    headers: Mapping[str, str]


def page(table: Sequence[Endpoint]) -> Page:
    """The page, which is the same as long as the process runs."""
    style = _style()
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return Page(
        _html(table, style).encode(),
        {
            "Content-Type": "text/html; charset=utf-8",
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        },
    )


def _html(table: Sequence[Endpoint], style: str) -> str:
    named = shapes.mentioned(table)
    parts = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Muster's API</title><style>{style}</style></head>",
        f'<body><div class="all">{_navigation(table, named)}<main><h1>Muster\'s API</h1>',
        f'<p class="soft">Version {escape(program_version())} · ',
        '<a href="/openapi.json">OpenAPI 3.1</a> · ',
        '<a href="/asyncapi.json">AsyncAPI 3</a> of the node socket</p>',
        *(_prose(text) for text in ABOUT.splitlines()),
        *(_section(endpoint) for endpoint in table),
        _problems(),
        *(_shape(type_) for type_ in named),
        "</main></div></body></html>\n",
    )
    return "".join(parts)


def _navigation(table: Sequence[Endpoint], named: Sequence[type[Struct]]) -> str:
    endpoints = "".join(
        f'<li><a href="#{endpoint.name.lower()}">{_method(endpoint.method)}'
        f"<span>{escape(endpoint.path)}</span></a></li>"
        for endpoint in table
    )
    links = "".join(f"<li>{_inline(shapes.link(type_))}</li>" for type_ in named)
    return (
        f"<nav><h2>Endpoints</h2><ul>{endpoints}</ul>"
        f'<h2>More</h2><ul><li><a href="#problems">Problems</a></li></ul>'
        f'<div class="shapes"><h2>Shapes</h2><ul>{links}</ul></div></nav>'
    )


def _section(endpoint: Endpoint) -> str:
    parts = (
        f'<section><h2 id="{endpoint.name.lower()}">{escape(endpoint.summary)}</h2>',
        f'<p class="route">{_method(endpoint.method)} {escape(endpoint.path)} ',
        f'<span class="role">{endpoint.role.value}</span></p>',
        _prose(endpoint.text),
        _fields("Query", endpoint.query),
        _fields("Body", endpoint.body),
        f"<h3>Example</h3>{_code(command(endpoint, endpoint.example))}",
        _answer(endpoint),
        _met(endpoint),
        f'<p class="soft">Problems: {", ".join(map(_problem, endpoint.every_code))}</p></section>',
    )
    return "".join(parts)


def _answer(endpoint: Endpoint) -> str:
    if endpoint.answer is None:
        return "<p>Answered by <code>204</code>, without a body.</p>"
    named = _inline(shapes.link(endpoint.answer))
    if endpoint.streams:
        told = _code(str(recorded.answer(endpoint.name)))
        return f"<p>Answered by <code>200</code> and a stream, of {named}:</p>{told}"
    return (
        f"<p>Answered by <code>200</code> and {named}:</p>{_json(recorded.answer(endpoint.name))}"
    )


def _met(endpoint: Endpoint) -> str:
    """A request that is not served, and what is said then."""
    if endpoint.problem is None:
        return ""
    code, example = endpoint.problem
    return (
        f"<details><summary>A request answered by {CODES[code].status} {code}</summary>"
        f"{_code(command(endpoint, example))}{_json(recorded.problem(endpoint.name))}</details>"
    )


def _fields(title: str, type_: Any) -> str:
    if type_ is None:
        return ""
    kinds = shapes.kinds(type_)
    if len(kinds) == 1:
        return f"<h3>{title}</h3>{_table(kinds[0].cls)}"
    links = ", ".join(f"`{kind.tag}` {shapes.link(kind.cls)}" for kind in kinds)
    return f"<h3>{title}</h3>{_prose(f'By `{kinds[0].tag_field}`: {links}.')}"


def _shape(type_: type[Struct]) -> str:
    return (
        f'<section><h2 id="{type_.__name__.lower()}">{type_.__name__}</h2>'
        f"{_prose(shapes.about(type_))}{_table(type_)}</section>"
    )


def _table(type_: type[Struct]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(row.name)}</code>{_must(type_, row)}</td>"
        f"<td>{_inline(row.what)}</td><td>{_inline(row.meaning)}</td></tr>"
        for row in shapes.rows(type_)
    )
    return (
        "<div class=wide><table><tr><th>name</th><th>what it is</th><th>meaning</th></tr>"
        f"{rows}</table></div>"
    )


def _must(type_: type[Struct], row: shapes.Row) -> str:
    return " <span class=must>required</span>" if row.required and shapes.is_asked(type_) else ""


def _problems() -> str:
    rows = "".join(
        f'<tr><td id="{code.code}"><code>{code.code}</code></td><td>{code.status}</td>'
        f"<td>{_inline(code.when)}</td><td>{_inline(code.to_do)}</td></tr>"
        for code in CODES.values()
    )
    return (
        '<section><h2 id="problems">Problems</h2><div class=wide><table><tr><th>code</th>'
        f"<th>status</th><th>when</th><th>what to do</th></tr>{rows}</table></div></section>"
    )


def _problem(code: str) -> str:
    return f'<a href="#{code}"><code>{code}</code></a>'


def _method(method: str) -> str:
    return f'<span class="method {method.lower()}">{method}</span>'


def _code(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>"


def _json(value: Any) -> str:
    return "" if value is None else _code(pretty(value))


def _prose(text: str) -> str:
    return f"<p>{_inline(text)}</p>"


def _inline(text: str) -> str:
    """Escaped, with `code` and [links](#to)."""
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\[([^\]]+)\]\((#[\w-]+)\)", r'<a href="\2">\1</a>', coded)


@cache
def _style() -> str:
    return (files("gateway.api") / "page.css").read_text("utf-8")
