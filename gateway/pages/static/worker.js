// Lists the fleet, then follows it, away from the thread that draws. Events of a busy fleet are
// parsed here and handed over in batches; a broken stream goes on where it was, with the same
// cursor, at whatever gateway answers then.

import { frames } from "./frames.js";
import { needsRow } from "./store.js";

const PAGE = 1000;
const FIRST = 100; // what fits on a screen is there before the rest is listed
const ASK_MOST = 200; // ids in one address
const BATCH_MS = 60;
const NUMBERS_MS = 5000;
const SILENCE_MS = 46_000; // three of the gateway's keep-alives (MUSTER_WATCH_KEEPALIVE_S)
const LOOK_MS = 4000;
const SLEPT_MS = 15_000; // the machine slept, if its own clock jumped so far between two looks
const WAIT_MOST_MS = 8000;
const ASK_MS = 30_000; // for an answer that ends; a connection that died in a sleep may never say so

let token = null;
let cursor = null;
let retry = 1000;
let failures = 0;
let heard = 0;
let stream = null;
let wake = null; // ends a wait before its time
let running = false;

let batch = [];
let sending = null;
const known = new Set();
const wanted = new Set();
let fetching = false;

const tell = (message) => postMessage(message);

class Refused extends Error {
  constructor(problem) {
    super(problem.code);
    this.problem = problem;
  }
}

async function ask(path, signal = AbortSignal.timeout(ASK_MS)) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, cache: "no-store", credentials: "omit", signal });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ code: "NO_ANSWER", title: `HTTP ${response.status}` }));
  // A proxy may name a date instead of seconds: then it is as before.
  const wait = Number(response.headers.get("Retry-After"));
  if (wait > 0) retry = 1000 * wait;
  throw new Refused(problem);
}

async function list() {
  tell({ kind: "begin" });
  if (!known.size) tell({ kind: "link", link: "listing" });
  let page = null;
  let first = null;
  do {
    const at = page ? `&cursor=${encodeURIComponent(page)}` : "";
    const answer = await (await ask(`/v1/nodes?snapshot=1&limit=${page ? PAGE : FIRST}${at}`)).json();
    first ??= answer.events_cursor;
    for (const row of answer.nodes) known.add(row.node_id);
    tell({ kind: "rows", rows: answer.nodes, now: answer.now });
    page = answer.cursor;
  } while (page);
  tell({ kind: "listed" });
  cursor = first;
}

async function follow() {
  stream = new AbortController();
  heard = Date.now();
  const response = await ask(`/v1/events?after=${encodeURIComponent(cursor)}`, stream.signal);
  heard = Date.now();
  for await (const frame of frames(response.body, () => (heard = Date.now()))) {
    if (frame.retry) retry = Number(frame.retry);
    if (failures >= 0) {
      failures = -1; // said once for each stream
      tell({ kind: "link", link: "live" });
    }
    if (frame.data) {
      const event = JSON.parse(frame.data);
      if (event.type === "end") {
        // Who asks is somebody else now, or nobody: the page begins anew, and with it a worker.
        if (event.reason === "access_changed") tell({ kind: "access" });
        return;
      }
      if (event.type === "gap") {
        flush();
        tell({ kind: "gap", reason: event.reason });
        cursor = null;
        return;
      }
      take(event);
    }
    if (frame.id) cursor = frame.id;
  }
}

function take(event) {
  batch.push(event);
  if (needsRow(event, known.has(event.node_id))) {
    wanted.add(event.node_id);
  }
  sending ??= setTimeout(flush, BATCH_MS);
}

function flush() {
  clearTimeout(sending);
  sending = null;
  if (batch.length) tell({ kind: "events", events: batch });
  batch = [];
  fetchRows();
}

async function fetchRows() {
  if (fetching || !wanted.size || !running) return;
  fetching = true;
  const ids = [...wanted].slice(0, ASK_MOST);
  for (const id of ids) wanted.delete(id);
  try {
    const answer = await (await ask(`/v1/nodes?limit=${PAGE}&ids=${ids.join(",")}`)).json();
    for (const id of ids) known.add(id);
    tell({ kind: "rows", rows: answer.nodes, asked: ids, now: answer.now });
  } catch {
    for (const id of ids) wanted.add(id); // asked again with the next batch, or the next look
    await new Promise((resolve) => setTimeout(resolve, 1000));
  } finally {
    fetching = false;
  }
  fetchRows();
}

async function numbers() {
  try {
    const found = await (await ask("/v1/fleet")).json();
    tell({ kind: "numbers", numbers: found, now: found.now });
  } catch (error) {
    tell({ kind: "numbers", problem: error instanceof Refused ? error.problem : { code: "NO_ANSWER" } });
  }
}

const sleep = (ms) =>
  new Promise((resolve) => {
    wake = resolve;
    setTimeout(resolve, ms);
  });

async function run() {
  running = true;
  tell({ kind: "link", link: "connecting" });
  numbers();
  for (;;) {
    let problem = null;
    try {
      if (cursor === null) await list();
      if (failures < 0) failures = 0;
      await follow();
      if (cursor === null) continue;
    } catch (error) {
      if (error instanceof Refused) problem = error.problem;
      if (["UNAUTHORIZED", "FORBIDDEN", "API_NOT_CONFIGURED", "NOT_LOCAL"].includes(problem?.code)) {
        tell({ kind: "link", link: "refused", problem });
        running = false;
        return;
      }
      if (problem?.code === "INVALID_PARAMETER") cursor = null; // a cursor that nobody knows
    }
    flush();
    failures = Math.max(failures, 0) + 1;
    tell({ kind: "link", link: "reconnecting", problem, at: Date.now() });
    await sleep(Math.min(WAIT_MOST_MS, retry * 2 ** Math.min(failures - 1, 4)) * (0.5 + Math.random() / 2));
  }
}

let looked = Date.now();
setInterval(() => {
  const now = Date.now();
  const slept = now - looked > SLEPT_MS;
  looked = now;
  if (!running) return;
  // After a sleep the socket may be dead without having said so.
  if (slept || (stream && now - heard > SILENCE_MS)) stream?.abort();
  if (slept) wake?.();
  if (batch.length === 0) fetchRows();
}, LOOK_MS);
setInterval(() => running && numbers(), NUMBERS_MS);

onmessage = ({ data }) => {
  if (data.kind === "start") {
    token = data.token;
    run();
  } else if (data.kind === "look") {
    for (const id of data.ids) wanted.add(id);
    fetchRows();
  } else if (data.kind === "again") {
    wake?.();
    numbers();
  }
};
