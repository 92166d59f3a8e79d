// Parts of a machine's row that several pages show.

import { h } from "./dom.js";
import { instant } from "./format.js";
import { word } from "./words.js";

export const badge = (status) => h(`span.status.s-${status}`, {}, word(`status_${status}`));

/** An explanation's sentence without the status, which stands beside it as a badge, in the page's
 * language. */
export const said = ({ status, summary }) => summary.replace(`${status}: `, "");

/** An instant in words; the same in UTC for programs, and for who points at it. */
export function moment(at) {
  const utc = new Date(at).toISOString();
  return h("time", { datetime: utc, title: utc }, instant(at));
}

/** A machine's labels, by their names. */
export const tags = (labels) =>
  Object.entries(labels).sort().map(([name, value]) => h("span.tag", {}, `${name}=${value}`));

/** "2 × A100, T4" */
export function cards(gpus) {
  const counts = new Map();
  for (const gpu of gpus) counts.set(gpu.name, (counts.get(gpu.name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(", ");
}
