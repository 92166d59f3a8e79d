// How many machines have each status, and how that went since the page was opened.

import { h, refill, svg } from "./dom.js";
import { whole } from "./format.js";
import { state } from "./link.js";
import { STATUSES } from "./store.js";
import { word } from "./words.js";

const all = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

/** {elements, update(chosen)}: one button each, made once; `choose` is told the status pressed, or ""
 * for all. */
export function makeFigures(choose) {
  let pressed = "all";
  const made = ["all", ...STATUSES].map((status) => {
    const count = h("b", {}, "–");
    const below = h(status === "all" ? "span.soft" : "span.line");
    const button = h(`button.figure.card.s-${status}`, { type: "button", "data-status": status,
      onclick: () => choose(status === "all" || status === pressed ? "" : status) },
    h("span", {}, status === "all" ? word("machines") : word(`status_${status}`)), count, below);
    return { status, button, count, below };
  });

  function update(chosen) {
    pressed = chosen;
    const counts = state.listed ? state.counts : state.numbers?.status;
    for (const { status, button, count, below } of made) {
      const of = (moment) => (status === "all" ? all(moment) : moment[status] ?? 0);
      const values = state.history.map((moment) => of(moment.counts));
      const now = counts ? of(counts) : 0;
      button.setAttribute("aria-pressed", String(status === chosen));
      button.title = word("history_label", { status: button.firstChild.textContent, count: now, least: Math.min(now, ...values), most: Math.max(now, ...values) });
      count.textContent = counts ? whole(now) : "–";
      if (status !== "all") refill(below, [values.length, state.history.at(-1)?.at, now], () => spark(values));
      else below.textContent = state.numbers ? `${whole(state.numbers.selectable)} ${word("selectable")}` : "\u00a0";
    }
  }
  return { elements: made.map(({ button }) => button), update };
}

function spark(values) {
  const most = Math.max(1, ...values);
  const least = Math.min(...values, most);
  const span = Math.max(1, most - least);
  const points = values.map((value, place) => `${(100 * place) / Math.max(1, values.length - 1)},${22 - (20 * (value - least)) / span}`);
  return svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    points.length > 1 ? [svg("polygon", { class: "spark-area", points: `0,24 ${points.join(" ")} 100,24` }),
      svg("polyline", { class: "spark", points: points.join(" ") })] : []);
}
