"""What the pages show, keep and never load; missed in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

from tests.mutants.mutant import Mutant, guards

_STATIC = "gateway/pages/static"


def _browser(*names: str) -> tuple[str, ...]:
    """Files of tests in a browser, after one that no page can break."""
    return tuple(f"tests/pages/test_{name}.py" for name in ("measured", *names))


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
        keyword="network or killed or block",
    )
    yield from guards(
        f"{_STATIC}/worker.js",
        _browser("states"),
        (
            "what it is doing until then",
            'if (!known.size) tell({ kind: "link", link: "listing" });',
            "",
        ),
        prefix="pages, worker",
        keyword="before_the_list or block",
    )
    yield from guards(
        f"{_STATIC}/main.js",
        _browser("breaks"),
        (
            "what is old is marked",
            'at("page").toggleAttribute("data-stale", isOld(state));',
            "",
        ),
        prefix="pages, main",
        keyword="killed or block",
    )
    yield from guards(
        f"{_STATIC}/banners.js",
        _browser("breaks"),
        (
            "live is not said of a store that is down",
            'state.link === "live" && down(state) ? "store" : state.link',
            "state.link",
        ),
        ("nor is what it had", '=== "reconnecting" || down(state);', '=== "reconnecting";'),
        prefix="pages, banners",
        keyword="store_that or block",
    )
    yield from guards(
        f"{_STATIC}/node.js",
        _browser("breaks"),
        (
            "its card is marked",
            "`card live state s-${story.status}`",
            "`card state s-${story.status}`",
        ),
        ("its countdown stands still", "shown && ends && !isOld(state)", "shown && ends"),
        prefix="pages, node, old",
        keyword="stand_still or block",
    )
    yield from guards(
        f"{_STATIC}/mine.js",
        _browser("breaks"),
        (
            "its cards are marked",
            'const needs = h("section.card.live"',
            'const needs = h("section.card"',
        ),
        (
            "its countdowns stand still",
            "!isOld(state) || !one.textContent",
            "true || !one.textContent",
        ),
        prefix="pages, owner, old",
        keyword="stand_still or block",
    )
    yield from guards(
        f"{_STATIC}/style.css",
        _browser("breaks"),
        (
            "what is old can be read",
            "filter: grayscale(.8);",
            "filter: grayscale(.8); opacity: .55;",
        ),
        prefix="pages, style",
        keyword="killed or block",
    )
    yield from guards(
        f"{_STATIC}/states.js",
        _browser("states"),
        ("its models", " --models-dir models${mark}", "${mark}"),
        ("its owner", "me?.owner ? ` --label", "false ? ` --label"),
        prefix="pages, first machine",
        keyword="commands_of or block",
    )
    yield from guards(
        f"{_STATIC}/main.js",
        _browser("states"),
        ("whose token was changed", 'if (message.kind === "access") return enter(token());', ""),
        prefix="pages, main",
        keyword="is_changed or block",
    )
    yield from guards(
        f"{_STATIC}/events.js",
        _browser("events"),
        ("as many as promised", "const SHOWN = 500;", "const SHOWN = 200;"),
        prefix="pages, events, past",
    )
    yield from guards(
        f"{_STATIC}/banners.js",
        _browser("breaks"),
        (
            "a break",
            'else if (state.link === "reconnecting") found.push',
            "else if (false) found.push",
        ),
        (
            "a store that is down",
            'if (down(state)) found.push({ name: "store"',
            'if (false) found.push({ name: "store"',
        ),
        prefix="pages, banners",
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
        ("status", "(!view.status || row.status === view.status) && ", ""),
        ("search", " && (!needle() || text(row).includes(needle()))", ""),
        ("descending", 'view.sort.startsWith("-") ? -1 : 1', "1"),
        ("in the address", "value !== PLAIN[name]", "false"),
        prefix="pages, fleet",
    )
    yield from guards(
        f"{_STATIC}/node.js",
        _browser("operating"),
        ("for admins", 'me.role === "admin" ? operate(story) : null', "operate(story)"),
        prefix="pages, node",
    )
    yield from guards(
        f"{_STATIC}/dialog.js",
        _browser("operating"),
        ("a reason", 'name: "reason", required: true,', 'name: "reason",'),
        prefix="pages, dialog",
    )
    yield from guards(
        f"{_STATIC}/map.js",
        _browser("finding"),
        ("opened by keys", 'event.key === "Enter" && place >= 0', "false"),
        ("groups have their numbers", "`${name} ${whole(count)}`).join", "name).join"),
        prefix="pages, map",
    )
    yield from guards(
        f"{_STATIC}/mine.js",
        _browser("owner", "many_in_need"),
        (
            "what happens now",
            "if (ids.some((id) => state.rows.get(id)?.labels.owner === owner)) explain();",
            "",
        ),
        ("a long list is folded", "(unfolded ? MOST : FEW)", "MOST"),
        ("a list that is open stays", "me.owner ? 0 : owners()]", "state.changes]"),
        ("whose they are", "filter((row) => row.labels.owner === owner)", "filter(() => true)"),
        prefix="pages, owner",
    )
    yield from guards(
        f"{_STATIC}/select.js",
        _browser("selecting"),
        (
            "what can't be understood",
            "said.textContent = parameter ? ",
            "said.dataset.none = parameter ? ",
        ),
        ("labels without a name", 'if (bad) return refused("labels");', ""),
        prefix="pages, select",
    )
    yield from guards(
        f"{_STATIC}/events.js",
        _browser("events"),
        ("a pause", "if (running) frozen = kept;", "frozen = kept;"),
        ("what came meanwhile", "paused += message.events.filter(meets).length;", "paused += 0;"),
        ("kinds", "(!kind || event.type === kind)", "true"),
        ("the past of one machine", "part && ids()", '""'),
        prefix="pages, events",
    )
    yield from guards(
        f"{_STATIC}/style.css",
        _browser("axe"),
        ("green that can be read", "--ready: light-dark(#15803d", "--ready: light-dark(#1a8a4f"),
        prefix="pages, style",
        keyword="short or block",
    )
    yield from guards(
        f"{_STATIC}/fleet.js",
        _browser("axe"),
        ("a name for a list", 'h("label", {}, word("group_by"), group)', "group"),
        prefix="pages, fleet",
        keyword="short or block",
    )
    yield from guards(
        f"{_STATIC}/index.html",
        _browser("states"),
        ("nothing inline", "</body>", "<script>document.title</script></body>"),
        ("nothing foreign", "</body>", '<img alt="" src="http://example.org/a.png"></body>'),
        prefix="pages, document",
    )
    yield from guards(
        f"{_STATIC}/main.js",
        _browser("brake"),
        (
            "the brake is an admin's",
            'if (to_do !== "release" || me?.role !== "admin" || me.owner) return null;',
            'if (to_do !== "release") return null;',
        ),
        prefix="pages, main",
    )
    yield from guards(
        f"{_STATIC}/banners.js",
        _browser("brake"),
        ("the brake", "  if (brake) {", "  if (false) {"),
        prefix="pages, banners",
    )
    yield from guards(
        f"{_STATIC}/uptime.js",
        _browser("whose_fault"),
        ("an outage of ours", "event.detail?.ms : 0", "0 : 0"),
        prefix="pages, uptime",
    )
    yield from guards(
        f"{_STATIC}/node.js",
        _browser("machine"),
        ("a card that is ill", "const healthy = now.healthy", "const healthy = true"),
        ("takeovers", "CONNECTS.has(event.type)", "false"),
        prefix="pages, node",
    )
