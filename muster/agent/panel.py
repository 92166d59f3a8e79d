"""The live panel: one look tells where the node stands, why, and what to do next.

`render` is pure: what `AgentStatus.as_dict` says in, something rich can draw out. So the same panel
is drawn while the agent runs, by `muster agent status` from another terminal, and in tests. Colour
never says anything alone: each state has a mark and a word of its own.
"""

from __future__ import annotations

import asyncio
import io
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich import box
from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    OverflowMethod,
    RenderableType,
    RenderResult,
)
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from muster.agent import texts
from muster.agent.writer import Writer
from muster.wire.errors import Locale

if TYPE_CHECKING:
    from muster.agent.status import AgentStatus

REFRESH_S = 30.0
"""How often ages are drawn anew while nothing changes. Instants are shown as clock times, which do
not age: drawing costs milliseconds, and an idle agent should cost nothing."""

SETTLE_S = 0.1
"""The least time between two drawings."""

WAITING_MOST = 100
"""Writes kept for a terminal that takes none; each drawing replaces the one before."""

BAR_WIDTH = 6
GPUS_MOST = 8
MODELS_MOST = 4
PROBLEMS_MOST = 6
RECENT_MOST = 6

_MARKS = {
    "ready": ("●", "*", "green"),
    "registering": ("◐", "~", "yellow"),
    "degraded": ("▲", "!", "red"),
    "draining": ("▼", "v", "blue"),
    "offline": ("○", "o", "red"),
    "failed": ("✖", "x", "red"),
    "idle": ("○", "o", "default"),
}
_QUIET = "dim"


async def show(status: AgentStatus, locale: Locale, console: Console | None = None) -> None:
    """Draws the panel until cancelled; the last drawing stays on the terminal."""
    console = console or Console()
    terminal = cast("TextIO", console.file)
    writer = Writer(terminal, waiting_most=WAITING_MOST)
    console.file = cast("TextIO", _Detached(terminal, writer))
    changed = asyncio.Event()
    following = asyncio.create_task(_follow(status, locale, changed))
    try:
        with (
            Live(console=console, screen=True, auto_refresh=False) as live,
            _resizing(changed),
        ):
            while True:
                changed.clear()
                panel = render(status.as_dict(locale), locale, ascii_only=_ascii_only(console))
                live.update(_Fitted(panel), refresh=True)
                await asyncio.sleep(SETTLE_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S - SETTLE_S):
                        await changed.wait()
    finally:
        following.cancel()
        state = status.as_dict(locale)
        last = render(state, locale, running=False, ascii_only=_ascii_only(console))
        console.print(_Fitted(last, spare=2))  # a line for the prompt that follows
        console.file = terminal
        writer.close()


class _Detached(io.TextIOBase):
    """A terminal as rich sees it, with all that is written handed to a writer."""

    def __init__(self, terminal: TextIO, writer: Writer) -> None:
        self._terminal = terminal
        self._writer = writer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._terminal.encoding

    def write(self, text: str) -> int:
        self._writer.put(text)
        return len(text)

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._terminal.fileno()


async def _follow(status: AgentStatus, locale: Locale, changed: asyncio.Event) -> None:
    async for _ in status.subscribe(locale):
        changed.set()


@contextmanager
def _resizing(changed: asyncio.Event) -> Iterator[None]:
    """Sets `changed` when the terminal gets another size, where the system tells."""
    number = getattr(signal, "SIGWINCH", None)
    loop = asyncio.get_running_loop()
    if number is None:
        yield
        return
    try:
        loop.add_signal_handler(number, changed.set)
    except (NotImplementedError, RuntimeError, ValueError):  # not the main thread's loop
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


def _ascii_only(console: Console) -> bool:
    return console.options.ascii_only


class _Fitted:
    """The panel as far as the terminal has lines for; its lower edge always shows."""

    def __init__(self, panel: RenderableType, spare: int = 0) -> None:
        self._panel = panel
        self._spare = spare

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = (options.height or console.height) - self._spare
        lines = console.render_lines(self._panel, options.update(height=None))
        if len(lines) > height:
            lines = [*lines[: height - 1], lines[-1]]
        for line in lines:
            yield from line
            yield Segment.line()


def render(
    state: Mapping[str, Any],
    locale: Locale,
    *,
    now: float | None = None,
    ascii_only: bool = False,
    running: bool = True,
) -> RenderableType:
    """The panel of one state (`AgentStatus.as_dict`); `now` in seconds since the epoch.

    `running`: drawn by the agent itself, so that Ctrl-C would reach it.
    """
    drawing = _Drawing(state, locale, time.time() if now is None else now, ascii_only)
    parts = [
        drawing.headline(),
        drawing.facts(),
        drawing.gpus(),
        drawing.warnings(),
        drawing.recent(),
    ]
    spaced: list[RenderableType] = []
    for part in parts:
        if part is not None:
            spaced += [part, Text()]
    return Panel(
        Padding(Group(*spaced[:-1]), (0, 1)),
        title=drawing.title(),
        title_align="left",
        subtitle=texts.word("leave", locale) if running else None,
        subtitle_align="left",
        border_style=drawing.colour,
        box=box.ASCII if ascii_only else box.ROUNDED,
    )


class _Drawing:
    """One state being drawn."""

    def __init__(
        self, state: Mapping[str, Any], locale: Locale, now: float, ascii_only: bool
    ) -> None:
        self._state = state
        self._locale: Locale = locale
        self._now = now
        self._ascii_only = ascii_only
        rich_mark, plain_mark, self.colour = _MARKS.get(self._key(), _MARKS["idle"])
        self._mark = plain_mark if ascii_only else rich_mark
        self._arrow = ">" if ascii_only else "→"
        self._ill = "x" if ascii_only else "✖"

    def title(self) -> Text:
        title = Text(f" {self._word('title')} {self._state['version']} ", "bold")
        if self._state["simulated"]:
            title.append(f" {self._word('simulated')} ", "black on yellow")
            title.append(" ")
        return title

    def headline(self) -> RenderableType:
        """Status, why, and what to do."""
        state = self._state
        status = Text.assemble((f"{self._mark} {self._status_word()}", f"bold {self.colour}"))
        if state["since"] and state["online"]:
            status.append(f"  {self._word('since', age=self._age(state['since']))}", _QUIET)
        lines: list[RenderableType] = [status]
        if state["message"]:
            lines.append(Padding(Text(state["message"]), (0, 0, 0, 2)))
        steps = (state["whatToDo"] or "").splitlines()
        lines += [
            self._hanging(Text(self._arrow, self.colour), Text(step, "bold")) for step in steps
        ]
        return Group(*lines)

    def facts(self) -> RenderableType:
        """Registration, server, heartbeat, jobs, models."""
        state = self._state
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True, style=_QUIET)
        grid.add_column()
        registration = self._word(f"registration_{state['registrationStatus']}")
        grid.add_row(self._word("registration"), self._joined([registration, state["nodeId"]]))
        grid.add_row(self._word("server"), state["server"] or "-")
        grid.add_row(self._word("connection"), self._connection())
        grid.add_row(self._word("heartbeat"), self._heartbeat())
        grid.add_row(self._word("jobs"), self._word("running", count=state["runningJobs"]))
        grid.add_row(self._word("models"), self._models())
        if state["localUrl"]:
            grid.add_row(self._word("local_page"), state["localUrl"])
        return grid

    def gpus(self) -> RenderableType | None:
        """A row for each card."""
        cards = self._state["gpus"]
        if not cards:
            return Text(self._word("no_gpus"), "red")
        table = Table(box=None, padding=(0, 2, 0, 0), header_style=_QUIET, expand=False)
        table.add_column(self._word("gpu"), overflow="ellipsis", no_wrap=True)
        for key in ("memory", "load", "temperature"):
            table.add_column(self._word(key), justify="right", no_wrap=True)
        table.add_column(self._word("health"))
        for card in cards[:GPUS_MOST]:
            table.add_row(
                f"{card['index']} {card['name']}",
                self._memory(card),
                self._bar(card["gpuPercent"]),
                "" if card["temperatureC"] is None else f"{card['temperatureC']:.0f} °C",
                self._health(card),
            )
        if len(cards) > GPUS_MOST:
            table.add_row(Text(self._word("more", count=len(cards) - GPUS_MOST), _QUIET))
        return Group(table, *(self._illness(card) for card in cards if not card["healthy"]))

    def _illness(self, card: Mapping[str, Any]) -> RenderableType:
        reason = card["message"] or self._word("unhealthy")
        return self._hanging(Text(self._ill, "red"), Text(f"GPU {card['index']}: {reason}", "red"))

    def warnings(self) -> RenderableType | None:
        """What is not broken but should be known."""
        problems = [problem["message"] for problem in self._state["modelProblems"]]
        warnings = [*problems[:PROBLEMS_MOST], *self._state["warnings"]]
        if not warnings:
            return None
        mark = Text("!", "bold yellow")
        return Group(*(self._hanging(mark, Text(warning, "yellow")) for warning in warnings))

    def recent(self) -> RenderableType | None:
        """The last events, the newest first: what a small terminal cuts off is the oldest."""
        events = self._state["recent"][-RECENT_MOST:]
        if not events:
            return None
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(no_wrap=True, style=_QUIET, min_width=8)
        cut: OverflowMethod = "crop" if self._ascii_only else "ellipsis"
        grid.add_column(no_wrap=True, overflow=cut, style=_QUIET, ratio=1)
        for event in reversed(events):
            grid.add_row(_clock(event["at"] / 1000), event["message"])
        return grid

    def _key(self) -> str:
        if self._state["registrationStatus"] == "success":
            return self._state["status"] or "registering"
        if self._state["registrationStatus"] == "registering":
            return "registering"
        return str(self._state["registrationStatus"])

    def _status_word(self) -> str:
        registration = self._state["registrationStatus"]
        if registration == "success" and self._state["status"]:
            return self._word(self._state["status"])
        return f"{self._word('registration')}: {self._word(f'registration_{registration}')}"

    def _connection(self) -> RenderableType:
        state = self._state
        if not state["connected"]:
            again = state["retryInMs"]
            retry = None if again is None else self._word("retry", at=self._in(again))
            return self._joined([self._word("not_connected"), retry])
        trip = state["roundTripMs"]
        measured = None if trip is None else self._word("round_trip", ms=f"{trip:.3g}")
        return self._joined([self._word("connected"), measured])

    def _heartbeat(self) -> RenderableType:
        last, following = self._state["lastHeartbeat"], self._state["nextHeartbeatInMs"]
        coming = following is not None and self._state["connected"]
        return self._joined(
            [
                _clock(last / 1000) if last else "-",
                self._word("next", at=self._in(following)) if coming else None,
            ]
        )

    def _models(self) -> RenderableType:
        """One a line."""
        models = self._state["models"]
        lines = [_model(model, self._arrow) for model in models[:MODELS_MOST]]
        if len(models) > MODELS_MOST:
            lines.append(self._word("more", count=len(models) - MODELS_MOST))
        return Text("\n".join(lines) or "0")

    def _memory(self, card: Mapping[str, Any]) -> str:
        used, size = card["memoryUsedGb"], card["memoryGb"]
        return f"{size:g} GiB" if used is None else f"{used:.1f} / {size:g} GiB"

    def _bar(self, percent: float | None) -> Text:
        if percent is None:
            return Text("")
        filled = round(min(max(percent, 0), 100) / 100 * BAR_WIDTH)
        full, empty = ("#", "-") if self._ascii_only else ("█", "░")
        bar = Text(full * filled, "green")
        bar.append(empty * (BAR_WIDTH - filled), _QUIET)
        return bar.append(f" {percent:3.0f} %", "default")

    def _health(self, card: Mapping[str, Any]) -> Text:
        if card["healthy"]:
            return Text(self._word("healthy"), "green")
        return Text(self._word("unhealthy"), "bold red")

    def _hanging(self, mark: Text, text: Text) -> RenderableType:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column()
        grid.add_row(mark, text)
        return grid

    def _joined(self, parts: Iterable[str | None]) -> Text:
        dot = " - " if self._ascii_only else " · "
        return Text(dot.join(part for part in parts if part))

    def _word(self, key: str, **values: Any) -> str:
        return texts.word(key, self._locale, **values)

    def _in(self, after_ms: float) -> str:
        return _clock(self._now + after_ms / 1000)

    def _age(self, at_ms: float) -> str:
        return texts.duration(self._now - at_ms / 1000, self._locale)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def _model(model: Mapping[str, Any], arrow: str) -> str:
    """A model in a word: what it does in which languages, and its status if it is not ready."""
    languages = arrow.join(filter(None, (model["srcLang"], model["tgtLang"])))
    said = f"{model['modelId']} ({' '.join(filter(None, (model['kind'], languages)))})"
    if not model["enabled"]:
        return f"{said} off"
    return said if model["status"] == "ready" else f"{said} {model['status']}"
