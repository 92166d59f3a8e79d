// Asking the gateway that this page came from. Tokens go into the header, never into an address.

import { frames } from "./frames.js";
import { token } from "./session.js";
import { WORDS, lang, word } from "./words.js";
import { learnNow, storeNow } from "./format.js";

const ASK_MS = 30_000; // a connection that died in a laptop's sleep may never say so
const SILENCE_MS = 46_000; // three of the gateway's keep-alives (MUSTER_WATCH_KEEPALIVE_S)

/** The gateway said no: `code` for programs, the message for people, in their language where the pages
 * have words for it. */
export class Problem extends Error {
  constructor(document) {
    const name = `problem_${document.code}`;
    super(WORDS[name] ? word(name) : document.title);
    this.document = document;
    this.code = document.code;
  }
}

/** One request; the answer, or null where there is none. Throws Problem; code NO_ANSWER where the
 * gateway could not be reached. */
export async function ask(method, path, body) {
  const headers = { "Accept-Language": lang() };
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(ASK_MS),
    });
  } catch (error) {
    throw new Problem({ code: "NO_ANSWER", title: String(error.message ?? error) });
  }
  if (response.status === 204) return null;
  const document = await response.json().catch(() => null);
  if (!response.ok || document === null) {
    throw new Problem(document?.code ? document : { code: "NO_ANSWER", title: `HTTP ${response.status}` });
  }
  learnNow(document.now);
  return document;
}

export const get = (path) => ask("GET", path);

/** Takes every event of a stream that ends by itself (`until=now`), oldest first. Throws where nothing
 * is heard of it for `silence_ms`. */
export async function each(query, take, silence_ms = SILENCE_MS) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const patience = new AbortController();
  let timer = null;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => patience.abort(), silence_ms);
  };
  heard();
  try {
    const response = await fetch(`/v1/events?${query}&until=now`, { headers, cache: "no-store", credentials: "omit", signal: patience.signal });
    if (!response.ok) throw new Problem(await response.json());
    for await (const frame of frames(response.body, heard)) {
      if (frame.data && frame.event !== "gap" && frame.event !== "end") take(JSON.parse(frame.data));
    }
  } finally {
    clearTimeout(timer);
  }
}

const FIRST_MS = 10_000;
const WIDER = 6;

/** The newest events of the last `ms`, oldest first: at least `enough` of them, or all there are.
 * A stream tells the oldest first; so that a busy hour need not come over the wire for its last
 * seconds, ever longer stretches are asked for until one holds enough. */
export async function past(query, ms, enough = 500) {
  for (let back = Math.min(FIRST_MS, ms); ; back = Math.min(back * WIDER, ms)) {
    const found = [];
    const since = Math.max(0, Math.round(storeNow() - back));
    await each(`${query}since=${since}`, (event) => {
      found.push(event);
      if (found.length > 2 * enough) found.splice(0, found.length - enough);
    });
    if (found.length >= enough || back === ms) return found.slice(-enough);
  }
}
