// What this page knows of the fleet: a list, kept true by events. No DOM, no clock, no network, so
// that it can be tried out without a browser. `apply` is the only way in.
//
// Two rules of docs/events.md hold it together: an event whose version is not higher than the row's
// tells nothing new of the status; and what an event does not carry (cards, load) is listed anew.

export const STATUSES = ["ready", "registering", "degraded", "draining", "offline"];
export const EVENTS_KEPT = 1000;
export const HISTORY_KEPT = 300;
const GONE = new Set(["expired", "operator_remove"]);
const BACK = new Set(["register", "revive", "restore"]);

export function empty() {
  return {
    rows: new Map(),
    counts: Object.fromEntries(STATUSES.map((status) => [status, 0])),
    gone: new Set(), // ids taken off, so that a row read just before does not bring them back
    events: [], // oldest first
    seen: null, // while a list is read: the ids it had so far
    link: "connecting", // connecting, listing, live, reconnecting, refused
    stale: null, // since when nothing new can come, ms of this machine's clock
    listed: false, // whether the whole list was read once
    problem: null,
    numbers: null,
    numbersProblem: null,
    changes: 0,
    history: [], // {at, counts}, once a second
  };
}

/** Takes one message of the worker. Returns the ids of rows that changed. */
export function apply(state, message) {
  state.changes += 1;
  switch (message.kind) {
    case "link":
      state.link = message.link;
      state.problem = message.problem ?? null;
      if (message.link === "live") state.stale = null;
      else if (message.link === "reconnecting" && state.stale === null) state.stale = message.at;
      return [];
    case "begin":
      state.seen = new Set();
      return [];
    case "rows":
      return rows(state, message.rows, message.asked);
    case "listed":
      return listed(state);
    case "events":
      return message.events.flatMap((event) => happened(state, event));
    case "numbers":
      state.numbers = message.numbers ?? state.numbers;
      state.numbersProblem = message.problem ?? null;
      return [];
    default:
      return [];
  }
}

/** Notes the numbers as they are at this second. */
export function remember(state, at) {
  state.history.push({ at, counts: { ...state.counts } });
  if (state.history.length > HISTORY_KEPT) state.history.shift();
}

function put(state, row) {
  const before = state.rows.get(row.node_id);
  if (before) state.counts[before.status] -= 1;
  state.counts[row.status] = (state.counts[row.status] ?? 0) + 1;
  state.rows.set(row.node_id, row);
}

function drop(state, id) {
  const row = state.rows.get(id);
  if (!row) return [];
  state.counts[row.status] -= 1;
  state.rows.delete(id);
  return [id];
}

function rows(state, found, asked) {
  const changed = [];
  const shown = new Set();
  for (const row of found) {
    shown.add(row.node_id);
    state.seen?.add(row.node_id);
    const before = state.rows.get(row.node_id);
    if (state.gone.has(row.node_id) || (before && before.version > row.version)) continue;
    put(state, row);
    changed.push(row.node_id);
  }
  // Asked for by id and not shown: it is gone, or not ours to see any more.
  for (const id of asked ?? []) if (!shown.has(id)) changed.push(...drop(state, id));
  return changed;
}

function listed(state) {
  const changed = [];
  for (const id of state.rows.keys()) if (!state.seen?.has(id)) changed.push(id);
  for (const id of changed) drop(state, id);
  state.seen = null;
  state.gone.clear();
  state.listed = true;
  return changed;
}

function happened(state, event) {
  state.events.push(event);
  if (state.events.length > EVENTS_KEPT) state.events.splice(0, state.events.length - EVENTS_KEPT);
  const id = event.node_id;
  if (!id) return [];
  if (GONE.has(event.type) || event.reason === "removed") {
    state.gone.add(id);
    return drop(state, id);
  }
  if (BACK.has(event.type)) state.gone.delete(id);
  const before = state.rows.get(id);
  if (!before || event.to === undefined || !(event.version > before.version)) return [];
  put(state, {
    ...before,
    status: event.to,
    reason: event.reason ?? before.reason,
    since: event.from === event.to ? before.since : event.at,
    version: event.version,
    labels: event.labels ?? before.labels,
    gateway: event.gateway ?? before.gateway,
  });
  return [id];
}

/** Whether what an event tells is not all there is to know: then the row is listed anew. */
export function needsRow(event, known) {
  if (!event.node_id || GONE.has(event.type) || event.reason === "removed") return false;
  return event.type !== "transition" && event.type !== "duplicate_identity" ? true : !known;
}
