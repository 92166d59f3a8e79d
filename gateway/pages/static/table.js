// Machines as rows.

import { fill, h } from "./dom.js";
import { duration, storeNow } from "./format.js";
import { badge, cards, tags } from "./row.js";
import { STATUSES } from "./store.js";
import { lang, word } from "./words.js";

const CELLS = {
  node_id: (row) => h("td.nowrap", {}, h("a.mono", { href: `/nodes/${encodeURIComponent(row.node_id)}` }, row.node_id)),
  status: (row) => h("td.nowrap", {}, badge(row.status), " ",
    row.live || row.status === "offline" ? null : h("span.tag", {}, word("late")), row.public ? null : h("span.tag", {}, word("private"))),
  reason: (row) => h("td", {}, word(`reason_${row.reason}`)),
  since: (row) => h("td.number", {}, duration(storeNow() - row.since)),
  load: (row) => h("td.number", {}, `${row.load} / ${row.capacity}`),
  gpus: (row) => h("td", {}, cards(row.gpus)),
  labels: (row) => h("td", {}, tags(row.labels)),
  gateway: (row) => h("td.nowrap", {}, row.gateway),
  program_version: (row) => h("td.nowrap", {}, row.program_version ?? ""),
  platform: (row) => h("td.nowrap", {}, row.platform ?? ""),
};
export const COLUMNS = Object.keys(CELLS);
export const DEFAULT = COLUMNS.slice(0, 7);
export const SORTS = {
  node_id: (row) => row.node_id, status: (row) => STATUSES.indexOf(row.status), reason: (row) => row.reason,
  since: (row) => -row.since, load: (row) => row.load, gpus: (row) => row.gpus[0]?.name ?? "",
  gateway: (row) => row.gateway, program_version: (row) => row.program_version ?? "", platform: (row) => row.platform ?? "",
};

/** What a row shows, so that one that shows the same is left as it is: whoever presses a link while
 * the fleet changes must not have it replaced under the finger. */
const key = (row) => JSON.stringify([row.version, row.status, row.reason, row.load, row.capacity, row.live, row.public,
  row.gateway, row.labels, row.gpus, row.program_version, row.platform, duration(storeNow() - row.since)]);

/** {update(rows, columns, sort)} in this element. `sort` names a column, with `-` in front if it is
 * descending; `resort` is told another. */
export function makeTable(element, resort) {
  const body = h("tbody");
  let shape = ""; // what the head is made of
  let lines = []; // {id, key, tr}

  function build(columns, sort) {
    const by = sort.replace("-", "");
    const down = sort.startsWith("-");
    const head = (name) => h("th", { scope: "col", "aria-sort": name === by ? (down ? "descending" : "ascending") : null },
      name in SORTS ? h("button", { type: "button", onclick: () => resort(name === by && !down ? `-${name}` : name) },
        word(`col_${name}`), name === by ? (down ? " ↓" : " ↑") : "") : word(`col_${name}`));
    lines = [];
    fill(element, h("table.roll", {}, h("thead", {}, h("tr", {}, columns.map(head))), body));
  }

  return {
    update(rows, columns, sort) {
      const wanted = JSON.stringify([lang(), columns, sort]);
      if (wanted !== shape) build(columns, sort);
      shape = wanted;
      const had = new Map(lines.map((one) => [one.id, one]));
      const found = rows.map((row) => renewed(had.get(row.node_id), row, columns));
      if (found.length !== lines.length || found.some((one, place) => one !== lines[place])) fill(body, found.map(({ tr }) => tr));
      lines = found;
    },
    /** Says something else in its place, made anew if `about` changed. */
    clear(about, make) {
      const wanted = JSON.stringify(about);
      if (wanted === shape) return;
      shape = wanted;
      fill(element, make());
    },
  };
}

/** The machine's line as it is now. Its link stays the same element, so that neither focus nor a press
 * is lost while the rest of the line changes. */
function renewed(one, row, columns) {
  const now = key(row);
  if (!one) return { id: row.node_id, key: now, tr: h("tr", { "data-node": row.node_id }, cells(row, columns)) };
  if (one.key === now) return one;
  one.key = now;
  while (one.tr.children.length > 1) one.tr.lastChild.remove();
  one.tr.append(...cells(row, columns).slice(1));
  return one;
}

/** The first is always the link. */
const cells = (row, columns) => columns.map((name) => CELLS[name](row));
