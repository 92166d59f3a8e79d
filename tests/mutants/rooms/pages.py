"""What the pages show, keep and never load; missed in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards

_STATIC = "gateway/pages/static"


def _browser(*names: str) -> tuple[str, ...]:
    """Files of tests in a browser."""
    return tuple(f"tests/pages/test_{name}.py" for name in names)


def mutants() -> Iterator[Mutant]:
    """The guards of this room."""
    yield from guards(
        f"{_STATIC}/store.js",
        _browser("alive", "states"),
        (
            "events are taken in",
            "return message.events.flatMap((event) => happened(state, event));",
            "return [];",
        ),
        ("a machine is counted once", "if (before) state.counts[before.status] -= 1;", ""),
        ("what is not known is read", '"duplicate_identity" ? true : !known', '"" ? false : false'),
        prefix="pages, store",
    )
    yield from guards(
        f"{_STATIC}/worker.js",
        _browser("breaks"),
        ("goes on where it was", "if (frame.id) cursor = frame.id;", ""),
        prefix="pages, worker",
        keyword="network or killed",
    )
    yield from guards(
        f"{_STATIC}/main.js",
        _browser("breaks"),
        (
            "what is old is marked",
            'at("page").toggleAttribute("data-stale", state.link === "reconnecting");',
            "",
        ),
        ("a break is told", 'told.push(["stale_title", "stale_text"])', "told.push()"),
        ("a store that is down is told", 'if (down) told.push(["store_title", "store_text"]);', ""),
        prefix="pages, main",
    )
    yield from guards(
        f"{_STATIC}/main.js",
        _browser("finding", "states"),
        ("the page has the focus after a link", 'at("page").focus();', ""),
        ("the language of the document", "document.documentElement.lang = value;", ""),
        ("a token is forgotten", "  setToken(value);\n", ""),
        prefix="pages, main",
    )
    yield from guards(
        f"{_STATIC}/fleet.js",
        _browser("finding"),
        ("status", "if (view.status && row.status !== view.status) continue;", ""),
        ("search", "if (q && !text(row).includes(q)) continue;", ""),
        ("descending", "* (down ? -1 : 1)", ""),
        ("in the address", "kept.set(name, value);", ""),
        prefix="pages, fleet",
    )
    yield from guards(
        f"{_STATIC}/node.js",
        _browser("operating"),
        ("for admins", 'me?.role === "admin" ? operate(story) : null', "operate(story)"),
        ("a reason", 'h("input", { required: true, maxlength', 'h("input", { maxlength'),
        ("is asked first", "onclick: () => confirm(act) }", "onclick: () => act }"),
        prefix="pages, node",
    )
    yield from guards(
        f"{_STATIC}/events.js",
        _browser("events"),
        ("a pause", "if (running) frozen = kept;", "frozen = kept;"),
        ("what came meanwhile", "paused += message.events.length;", "paused += 0;"),
        ("kinds", "(!kind || event.type === kind) &&", ""),
        prefix="pages, events",
    )
    yield from guards(
        f"{_STATIC}/style.css",
        _browser("axe"),
        ("green that can be read", "--ready: light-dark(#15803d", "--ready: light-dark(#1a8a4f"),
        prefix="pages, style",
        keyword="short",
    )
    yield from guards(
        f"{_STATIC}/fleet.js",
        _browser("axe"),
        ("a name for a list", 'h("label", {}, word("group_by"), group)', "group"),
        prefix="pages, fleet",
        keyword="short",
    )
    yield from guards(
        f"{_STATIC}/index.html",
        _browser("measured", "states"),
        ("nothing inline", "</body>", "<script>document.title</script></body>"),
        ("nothing foreign", "</body>", '<img alt="" src="http://example.org/a.png"></body>'),
        prefix="pages, document",
    )
