"""What a page's main thread had to do, as the browser itself counts it."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.async_api import BrowserContext, CDPSession, Page

_WATCH = """
window.tasks = [];
window.inputs = [];
window.marks = {};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.tasks.push([entry.startTime, entry.duration]);
}).observe({ type: 'longtask', buffered: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.inputs.push(entry.duration);
}).observe({ type: 'event', durationThreshold: 16 });
const note = (name) => requestAnimationFrame(() => { window.marks[name] ??= performance.now(); });
const watch = new MutationObserver(() => {
  if (document.querySelector('tr[data-node]')) note('rows');
});
watch.observe(document, { childList: true, subtree: true });
"""


@dataclass(frozen=True)
class Work:
    """Tasks of more than 50 ms in a stretch of time; all in ms."""

    over_ms: float
    tasks: int
    longest_ms: float
    busy_ms: float
    slowest_input_ms: float

    def __str__(self) -> str:
        return (
            f"{self.tasks} of more than 50 ms in {self.over_ms / 1000:.1f} s,"
            f" the longest {self.longest_ms:.0f} ms, together {self.busy_ms:.0f} ms"
        )


@dataclass(frozen=True)
class ThreadClock:
    """The processor time of a page's main thread: what it worked, not what it waited for."""

    _session: CDPSession

    @classmethod
    async def of(cls, page: Page) -> ThreadClock:
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})
        return cls(session)

    async def worked_s(self) -> float:
        """All its tasks so far, seconds."""
        found = (await self._session.send("Performance.getMetrics"))["metrics"]
        return float(next(one["value"] for one in found if one["name"] == "TaskDuration"))


async def watch(context: BrowserContext) -> None:
    """Has every page of a context counted from its beginning."""
    await context.add_init_script(_WATCH)


async def now(page: Page) -> float:
    """The page's clock: ms since it was gone to."""
    instant: float = await page.evaluate("performance.now()")
    return instant


async def first_rows(page: Page) -> float:
    """When the table had its first rows on the screen, ms since the page was gone to."""
    mark: float = await page.evaluate("window.marks.rows")
    return mark


async def work_since(page: Page, begun: float) -> Work:
    """What was done since an instant of the page's clock."""
    end = await now(page)
    found: list[list[float]] = await page.evaluate("window.tasks")
    inputs: list[float] = await page.evaluate("window.inputs")
    tasks = [duration for start, duration in found if start >= begun]
    return Work(
        end - begun, len(tasks), max(tasks, default=0.0), sum(tasks), max(inputs, default=0.0)
    )
