// The fleet: numbers and how they went meanwhile, a map of every machine, and the same as a table.

import { fill, h, paced, refill } from "./dom.js";
import { duration, whole } from "./format.js";
import { isOld } from "./banners.js";
import { look, state } from "./link.js";
import { drawMap } from "./map.js";
import { makeFigures } from "./figures.js";
import { COLUMNS, DEFAULT, SORTS, makeTable } from "./table.js";
import { STATUSES } from "./store.js";
import { badge } from "./row.js";
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
const PLAIN = { q: "", status: "", group: "none", sort: "node_id", page: 0, columns: DEFAULT.join(",") };

export function show(page) {
  const asked = new URLSearchParams(location.search);
  const view = { ...PLAIN, ...Object.fromEntries([...asked].filter(([name]) => name in PLAIN)) };
  view.page = Math.max(0, Math.trunc(Number(view.page)) || 0);
  if (!Object.hasOwn(GROUPS, view.group)) view.group = PLAIN.group;
  if (!Object.hasOwn(SORTS, view.sort.replace("-", ""))) view.sort = PLAIN.sort;
  const columns = () => COLUMNS.filter((name) => name === "node_id" || view.columns.split(",").includes(name));

  const figures = makeFigures((status) => change({ status, page: 0 }));
  const numbers = h("section.numbers.live", { "aria-label": word("fleet") }, figures.elements);
  const canvas = h("canvas", { role: "img", "aria-label": word("map") });
  const tip = h("div.tip", { hidden: true, "aria-hidden": true });
  const said = h("p.hidden", { "aria-live": "polite", id: "walked" });
  const frame = h("div.map.live", { tabindex: 0, role: "application", id: "map", "aria-label": word("map"), "aria-describedby": "map-help" }, canvas);
  const watched = h("span.soft", { id: "watched" });
  const body = h("div.wide.live");
  const pager = h("div.pager");
  const lines = makeTable(body, (sort) => {
    change({ sort, page: 0 });
    body.querySelector("[aria-sort] button")?.focus();
  });
  const search = h("input", { type: "search", value: view.q, placeholder: word("search"), "aria-label": word("search"),
    oninput: () => change({ q: search.value, page: 0 }, soon) });
  const group = h("select", { onchange: () => change({ group: group.value }) },
    Object.keys(GROUPS).map((name) => h("option", { value: name, selected: name === view.group }, word(`group_${name}`))));
  const statuses = h("select", { onchange: () => change({ status: statuses.value, page: 0 }) },
    h("option", { value: "" }, word("all")), STATUSES.map((name) => h("option", { value: name, selected: name === view.status }, word(`status_${name}`))));
  fill(page,
    h("h1.hidden", {}, word("fleet")), numbers,
    h("section.card", {},
      h("div.row", {}, h("h2.grow", {}, word("map")), h("label", {}, word("group_by"), group)),
      frame, said, h("p.hidden", { id: "map-help" }, word("map_help")),
      h("div.row", {}, h("div.legend.grow", { "aria-hidden": true }, STATUSES.map(badge)), watched), tip),
    h("section.card", {},
      h("div.row", {}, h("h2.grow", {}, word("table")), h("label", {}, word("filter_status"), statuses), search, chooser()), body, pager));

  const map = drawMap({ canvas, frame, tip, said, open: (id) => {
    history.pushState(null, "", `/nodes/${encodeURIComponent(id)}`);
    dispatchEvent(new PopStateEvent("popstate"));
  } });

  function chooser() {
    const box = (name) => h("label", {}, h("input", { type: "checkbox", name, checked: columns().includes(name), onchange: (event) => {
      const chosen = COLUMNS.filter((one) => (one === name ? event.target.checked : columns().includes(one)));
      change({ columns: chosen.join(",") });
    } }), word(`col_${name}`));
    const menu = h("details.menu", { id: "columns", onkeydown: (event) => {
      if (event.key !== "Escape") return;
      menu.open = false;
      menu.firstChild.focus();
    }, onfocusout: (event) => { if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false; } },
    h("summary", {}, word("columns")), h("div", {}, COLUMNS.filter((name) => name !== "node_id").map(box)));
    return menu;
  }

  let dirty = true; // whether cells may lie elsewhere than they did
  function change(more, then = draw) {
    Object.assign(view, more);
    dirty = true;
    statuses.value = view.status;
    const kept = Object.entries(view).filter(([name, value]) => value !== PLAIN[name]);
    history.replaceState(null, "", kept.length ? `/?${new URLSearchParams(kept)}` : "/");
    then();
  }

  const meets = (row) => (!view.status || row.status === view.status) && (!needle() || text(row).includes(needle()));
  const needle = () => view.q.trim().toLowerCase();

  function sorted(rows) {
    const down = view.sort.startsWith("-") ? -1 : 1;
    const by = SORTS[view.sort.replace("-", "")];
    const keyed = rows.map((row) => [by(row), row]);
    keyed.sort(([x, a], [y, b]) => (x < y ? -1 : x > y ? 1 : a.node_id < b.node_id ? -1 : 1) * down);
    return keyed.map(([, row]) => row);
  }

  let ids = [];
  function draw() {
    figures.update(view.status || "all");
    const { gateways, sweepers, watch } = state.numbers ?? {};
    watched.textContent = watch ? `${word("gateways", { count: gateways })} · ${word("sweepers", { count: sweepers })} · ${word("unobserved_note", { time: duration(watch.unobserved_ms) })}` : "";
    const rows = [...state.rows.values()].filter(meets);
    if (dirty) {
      map.draw(rows, GROUPS[view.group], (id) => state.rows.get(id));
      dirty = false;
    }
    const of = (status) => rows.reduce((count, row) => count + (row.status === status), 0);
    const counts = STATUSES.map((status) => `${word(`status_${status}`)} ${whole(of(status))}`).join(", ");
    const summary = word("map_summary", { total: whole(rows.length), counts });
    canvas.setAttribute("aria-label", view.group === "none" ? summary
      : word("map_grouped", { summary, by: word(`group_${view.group}`), groups: map.groups() }));
    const last = Math.max(0, Math.ceil(rows.length / ROWS) - 1);
    const first = Math.min(view.page, last) * ROWS;
    const shown = sorted(rows).slice(first, first + ROWS);
    ids = shown.map((row) => row.node_id);
    if (shown.length) lines.update(shown, columns(), view.sort);
    else lines.clear([lang(), state.listed], nothing);
    refill(pager, [lang(), first, rows.length], () => [
      h("span.soft", {}, word("showing", { from: rows.length ? first + 1 : 0, to: first + shown.length, total: whole(rows.length) })),
      h("button", { type: "button", disabled: first === 0, onclick: () => change({ page: first / ROWS - 1 }) }, word("previous")),
      h("button", { type: "button", disabled: first / ROWS >= last, onclick: () => change({ page: first / ROWS + 1 }) }, word("next"))]);
  }

  const nothing = () => !state.listed ? h("p.soft", {}, word("loading"))
    : h("p.soft", {}, `${word("nothing_fits")} `, h("button", { type: "button", onclick: () => {
      search.value = "";
      change({ q: "", status: "", page: 0 });
    } }, word("clear")));

  const soon = paced(200, () => over || draw());
  let over = false;
  const timer = setInterval(() => { if (state.link === "live") look(ids); }, 5000);
  const resized = new ResizeObserver(() => { dirty = true; soon(); });
  resized.observe(page);
  const seconds = setInterval(() => isOld(state) || soon(), 1000);
  draw();
  return {
    update: (changed) => {
      const group_ = GROUPS[view.group];
      for (const id of changed) {
        const row = state.rows.get(id);
        const within = row && meets(row) ? group_(row) : undefined;
        if (within !== map.within(id)) dirty = true;
      }
      map.touch(changed);
      if (changed.length || !isOld(state)) soon();
    },
    end: () => { over = true; clearInterval(timer); clearInterval(seconds); resized.disconnect(); map.end(); },
  };
}

// A row is replaced by another object when it changes, so its words are made once.
const texts = new WeakMap();
function text(row) {
  if (!texts.has(row)) {
    const labels = Object.entries(row.labels).map(([name, value]) => `${name}=${value}`);
    texts.set(row, [row.node_id, ...row.gpus.map((gpu) => gpu.name), ...labels].join(" ").toLowerCase());
  }
  return texts.get(row);
}
