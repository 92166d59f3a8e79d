// Machines as rows.

import { fill, h } from "./dom.js";
import { duration, storeNow } from "./format.js";
import { badge, cards } from "./row.js";
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
  labels: (row) => h("td", {}, Object.entries(row.labels).map(([name, value]) => h("span.tag", {}, `${name}=${value}`))),
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
  row.gateway, row.labels, duration(storeNow() - row.since)]);

/** {update(rows, columns, sort)} in this element. `sort` names a column, with `-` in front if it is
 * descending; `resort` is told another. */
export function makeTable(element, resort) {
  let built = "";
  let lines = [];

  function build(rows, columns, sort) {
    const by = sort.replace("-", "");
    const down = sort.startsWith("-");
    const head = (name) => h("th", { scope: "col", "aria-sort": name === by ? (down ? "descending" : "ascending") : null },
      name in SORTS ? h("button", { type: "button", onclick: () => resort(name === by && !down ? `-${name}` : name) },
        word(`col_${name}`), name === by ? (down ? " ↓" : " ↑") : "") : word(`col_${name}`));
    lines = rows.map((row) => ({ key: key(row), tr: line(row, columns) }));
    fill(element, h("table.roll", {}, h("thead", {}, h("tr", {}, columns.map(head))), h("tbody", {}, lines.map(({ tr }) => tr))));
  }

  return {
    update(rows, columns, sort) {
      const wanted = JSON.stringify([lang(), columns, sort, rows.map((row) => row.node_id)]);
      if (wanted !== built) build(rows, columns, sort);
      else rows.forEach((row, place) => {
        const now = key(row);
        if (lines[place].key === now) return;
        const tr = line(row, columns);
        lines[place].tr.replaceWith(tr);
        lines[place] = { key: now, tr };
      });
      built = wanted;
    },
    clear(...children) {
      built = "";
      fill(element, ...children);
    },
  };
}

const line = (row, columns) => h("tr", { "data-node": row.node_id }, columns.map((name) => CELLS[name](row)));
