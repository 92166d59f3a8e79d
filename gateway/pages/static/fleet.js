// The fleet: numbers with their last minutes, a map of every machine, and the same as a table.

import { fill, h, paced, refill, svg } from "./dom.js";
import { duration, storeNow, whole } from "./format.js";
import { look, state } from "./link.js";
import { drawMap } from "./map.js";
import { STATUSES } from "./store.js";
import { lang, word } from "./words.js";

const ROWS = 50;
const GROUPS = {
  none: () => "",
  status: (row) => word(`status_${row.status}`),
  gpu: (row) => row.gpus[0]?.name || word("none"),
  region: (row) => row.labels.region ?? word("none"),
  gateway: (row) => row.gateway,
  version: (row) => row.program_version ?? word("none"),
};
const COLUMNS = ["node_id", "status", "reason", "since", "load", "gpus", "labels", "gateway"];
const SORTS = {
  node_id: (row) => row.node_id, status: (row) => STATUSES.indexOf(row.status), reason: (row) => row.reason,
  since: (row) => -row.since, load: (row) => row.load, gpus: (row) => row.gpus[0]?.name ?? "",
  gateway: (row) => row.gateway,
};

export const badge = (status) => h(`span.status.s-${status}`, {}, word(`status_${status}`));

export function show(page) {
  const asked = new URLSearchParams(location.search);
  const view = {
    q: asked.get("q") ?? "", status: asked.get("status") ?? "", group: asked.get("group") ?? "none",
    sort: asked.get("sort") ?? "node_id", page: Number(asked.get("page") ?? 0) || 0,
  };
  if (!(view.group in GROUPS)) view.group = "none";
  const numbers = h("section.numbers.live", { "aria-label": word("fleet") });
  const canvas = h("canvas", { role: "img", "aria-label": word("map") });
  const tip = h("div.tip", { hidden: true });
  const body = h("div.wide.live");
  const pager = h("div.pager");
  const search = h("input", { type: "search", value: view.q, placeholder: word("search"), "aria-label": word("search"),
    oninput: () => change({ q: search.value, page: 0 }) });
  const group = h("select", { onchange: () => change({ group: group.value }) },
    Object.keys(GROUPS).map((name) => h("option", { value: name, selected: name === view.group }, word(`group_${name}`))));
  fill(page,
    h("h1.hidden", {}, word("fleet")), numbers,
    h("section.card", {},
      h("div.row", {}, h("h2.grow", {}, word("map")), h("label", {}, word("group_by"), group)),
      h("div.map.live", { tabindex: 0, role: "group", "aria-label": word("map") }, canvas), tip),
    h("section.card", {},
      h("div.row", {}, h("h2.grow", {}, word("table")), search), body, pager));

  const map = drawMap(canvas, tip);

  function change(more) {
    Object.assign(view, more);
    const kept = new URLSearchParams();
    for (const [name, value] of Object.entries(view)) {
      if (value && !(name === "group" && value === "none") && !(name === "sort" && value === "node_id")) kept.set(name, value);
    }
    history.replaceState(null, "", kept.size ? `/?${kept}` : "/");
    draw();
  }

  function fitting() {
    const q = view.q.trim().toLowerCase();
    const rows = [];
    for (const row of state.rows.values()) {
      if (view.status && row.status !== view.status) continue;
      if (q && !text(row).includes(q)) continue;
      rows.push(row);
    }
    const down = view.sort.startsWith("-");
    const by = SORTS[view.sort.replace("-", "")] ?? SORTS.node_id;
    rows.sort((a, b) => {
      const [x, y] = [by(a), by(b)];
      return (x < y ? -1 : x > y ? 1 : a.node_id < b.node_id ? -1 : 1) * (down ? -1 : 1);
    });
    return rows;
  }

  let ids = [];
  function draw() {
    drawNumbers();
    const rows = fitting();
    map.draw(rows, GROUPS[view.group]);
    const counts = STATUSES.map((status) => `${word(`status_${status}`)} ${state.counts[status]}`).join(", ");
    canvas.setAttribute("aria-label", word("map_summary", { total: rows.length, counts }));
    const last = Math.max(0, Math.ceil(rows.length / ROWS) - 1);
    const first = Math.min(view.page, last) * ROWS;
    const shown = rows.slice(first, first + ROWS);
    ids = shown.map((row) => row.node_id);
    // Once in ten seconds for the durations; else only what changed is drawn.
    refill(body, [lang(), view.sort, Math.floor(Date.now() / 10_000), shown.map((row) => [row.node_id, row.version, row.load, row.live, row.status, row.labels])],
      () => shown.length ? table(shown) : h("p.soft", {}, state.listed ? word("nothing_fits") : word("loading")));
    refill(pager, [lang(), first, rows.length], () => [
      h("span.soft", {}, word("showing", { from: rows.length ? first + 1 : 0, to: first + shown.length, total: whole(rows.length) })),
      h("button", { type: "button", disabled: first === 0, onclick: () => change({ page: first / ROWS - 1 }) }, word("previous")),
      h("button", { type: "button", disabled: first / ROWS >= last, onclick: () => change({ page: first / ROWS + 1 }) }, word("next"))]);
  }

  function drawNumbers() {
    const listed = state.listed ? state.counts : state.numbers?.status ?? state.counts;
    const history = state.history.map((moment) => moment.counts);
    refill(numbers, [lang(), view.status, listed, state.numbers?.selectable, history.length],
      () => [figure("all", Object.values(listed).reduce((a, b) => a + b, 0), history),
        ...STATUSES.map((status) => figure(status, listed[status], history))]);
  }

  function figure(status, count, history) {
    const name = status === "all" ? word("machines") : word(`status_${status}`);
    const values = history.map((counts) => status === "all" ? Object.values(counts).reduce((a, b) => a + b, 0) : counts[status]);
    const chosen = status === (view.status || "all");
    return h(`button.figure.card.s-${status}`, { type: "button", "data-status": status, "aria-pressed": String(chosen),
      onclick: () => { change({ status: status === "all" || chosen ? "" : status, page: 0 }); numbers.querySelector(`[data-status=${status}]`)?.focus(); } },
      h("span", {}, name), h("b", {}, whole(count ?? 0)),
      status === "all" && state.numbers ? h("span.soft", {}, `${whole(state.numbers.selectable)} ${word("selectable")}`) : spark(values));
  }

  function table(rows) {
    return h("table", {},
      h("thead", {}, h("tr", {}, COLUMNS.map((name) => {
        const sorted = view.sort.replace("-", "") === name;
        const down = sorted && view.sort.startsWith("-");
        return h("th", { scope: "col", "aria-sort": sorted ? (down ? "descending" : "ascending") : null },
          name in SORTS ? h("button", { type: "button", onclick: () => change({ sort: sorted && !down ? `-${name}` : name, page: 0 }) },
            word(`col_${name}`), sorted ? (down ? " ↓" : " ↑") : "") : word(`col_${name}`));
      }))),
      h("tbody", {}, rows.map((row) => h("tr", { "data-node": row.node_id },
        h("td.nowrap", {}, h("a.mono", { href: `/nodes/${encodeURIComponent(row.node_id)}` }, row.node_id)),
        h("td", {}, badge(row.status), row.live || row.status === "offline" ? null : h("span.tag", {}, word("late"))),
        h("td", {}, word(`reason_${row.reason}`)),
        h("td.number", {}, duration(storeNow() - row.since)),
        h("td.number", {}, `${row.load} / ${row.capacity}`),
        h("td.nowrap", {}, cards(row.gpus)),
        h("td", {}, Object.entries(row.labels).map(([name, value]) => h("span.tag", {}, `${name}=${value}`))),
        h("td.nowrap", {}, row.gateway)))));
  }

  const soon = paced(200, draw);
  const timer = setInterval(() => { soon(); if (state.link === "live") look(ids); }, 5000);
  const resized = new ResizeObserver(soon);
  resized.observe(page);
  const seconds = setInterval(soon, 1000);
  draw();
  return { update: soon, end: () => { clearInterval(timer); clearInterval(seconds); resized.disconnect(); } };
}

const text = (row) => `${row.node_id} ${row.gpus.map((gpu) => gpu.name).join(" ")} ${Object.entries(row.labels).map(([name, value]) => `${name}=${value}`).join(" ")}`.toLowerCase();

function cards(gpus) {
  const counts = new Map();
  for (const gpu of gpus) counts.set(gpu.name, (counts.get(gpu.name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(", ");
}

function spark(values) {
  const most = Math.max(1, ...values);
  const least = Math.min(...values, most);
  const span = Math.max(1, most - least);
  const points = values.map((value, place) => `${(100 * place) / Math.max(1, values.length - 1)},${22 - (20 * (value - least)) / span}`);
  return svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    points.length > 1 ? svg("polyline", { class: "spark", points: points.join(" ") }) : []);
}
