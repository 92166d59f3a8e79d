// The page's end of the worker: one store, and who wants to hear of its changes.

import { tie } from "./banners.js";
import { apply, empty, remember } from "./store.js";
import { learnNow } from "./format.js";
import { token } from "./session.js";

export const state = empty();
let worker = null;
const hearers = new Set();

function heard({ data }) {
  learnNow(data.now);
  const changed = apply(state, data);
  for (const hear of hearers) hear(changed, data);
}
setInterval(() => {
  if (state.listed && tie(state) === "live") remember(state, Date.now());
}, 1000);

/** Calls `hear(ids, message)` for every message. Returns what ends it. */
export function hear(hearer) {
  hearers.add(hearer);
  return () => hearers.delete(hearer);
}

/** Begins with nothing, as whoever the token says: what another one was shown is forgotten, and what is
 * still on its way to them ends with their worker. */
export function start() {
  worker?.terminate();
  Object.assign(state, empty());
  worker = new Worker("/pages/worker.js", { type: "module" });
  worker.onmessage = heard;
  worker.postMessage({ kind: "start", token: token() });
}
export const again = () => worker.postMessage({ kind: "again" });
/** Lists these machines anew: load and heartbeats are no events. */
export const look = (ids) => ids.length && worker.postMessage({ kind: "look", ids: ids.slice(0, 200) });
