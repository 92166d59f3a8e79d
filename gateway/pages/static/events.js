// What happens, as it happens: the last hour first, then live; what came while paused is counted.

import { past } from "./api.js";
import { fill, h, paced } from "./dom.js";
import { storeNow, whole } from "./format.js";
import { state } from "./link.js";
import { evidence, told } from "./node.js";
import { moment } from "./row.js";
import { WORDS, word } from "./words.js";

const SHOWN = 500;
const AGAIN_MS = 5000; // after which a past that could not be read is asked for again
const TYPED_MS = 300; // after the last key the past is read
const ASK_MOST = 100; // ids in one address
const KEPT = 2000;
const ID = /^[\w.-]{1,64}$/;
const HOUR_MS = 3_600_000;
const KINDS = Object.keys(WORDS).filter((name) => name.startsWith("event_")).map((name) => name.slice(6));

export function show(page) {
  const asked = new URLSearchParams(location.search);
  let [kind, part] = [asked.get("type") ?? "", asked.get("node") ?? ""];
  let kept = [...state.events]; // oldest first
  let paused = 0; // how many came meanwhile
  let pausedAt = 0;
  let running = true;
  let over = false;
  let typed = null;
  const list = h("div.live");
  const button = h("button", { type: "button", onclick: () => {
    running = !running;
    paused = 0;
    pausedAt = storeNow();
    draw();
  } });
  const kinds = h("select", { onchange: () => change(kinds.value, part) },
    h("option", { value: "" }, word("any_kind")), KINDS.map((name) => h("option", { value: name, selected: name === kind }, word(`event_${name}`))));
  const field = h("input", { type: "search", value: part, "aria-label": word("filter_node"), placeholder: word("filter_node"), oninput: () => change(kind, field.value) });
  const more = h("span.soft", { role: "status" });
  fill(page, h("h1", {}, word("events")), h("p.soft", {}, word("events_help")),
    h("section.card", {}, h("div.row", {}, h("label", {}, word("kinds"), kinds), field, h("span.grow"), more, button), list));

  function change(newKind, newPart) {
    const other = newKind !== kind;
    [kind, part] = [newKind, newPart.trim()];
    kept = merged(kept, state.events).filter(meets);
    clearTimeout(typed);
    if (other) readPast();
    else typed = setTimeout(readPast, TYPED_MS);
    const query = new URLSearchParams();
    if (kind) query.set("type", kind);
    if (part) query.set("node", part);
    history.replaceState(null, "", query.size ? `/events?${query}` : "/events");
    draw(true);
  }

  const lines = new WeakMap(); // each event's line is made once: what was opened in it stays open
  function lineOf(event) {
    if (!lines.has(event)) lines.set(event, line(event));
    return lines.get(event);
  }

  const isOfKind = (event) => (!kind || event.type === kind);
  const meets = (event) => isOfKind(event) && (!part || (event.node_id ?? "").includes(part));

  let frozen = [];
  function draw(anew = false) {
    button.textContent = word(running ? "pause" : "go_on");
    more.textContent = paused ? word("paused_more", { count: paused }) : "";
    if (running) frozen = kept;
    else if (!anew) return;
    const found = frozen.filter(meets);
    const older = found.length - SHOWN;
    fill(list, found.length ? h("ul.plain.events", {}, found.slice(-SHOWN).reverse().map(lineOf)) : h("p.soft", {}, word("no_events")),
      older > 0 ? h("p.soft", { id: "older" }, word("older_events", { count: whole(older) })) : null);
  }

  const soon = paced(250, () => over || draw());
  draw();
  readPast();

  /** The newest of the last hour, of the kind and the machines chosen: what is rare is not among the
   * newest of all. */
  function readPast() {
    clearTimeout(typed);
    const asked = [kind, part];
    past([kind && `types=${kind}&`, part && ids()].join(""), HOUR_MS).then((found) => {
      if (over || asked[0] !== kind || asked[1] !== part) return;
      kept = merged(kept, found);
      // What is shown while paused gets no newer ones, but its past.
      if (!running) frozen = merged(frozen, found.filter((event) => event.at <= pausedAt));
      draw(true);
    }, () => {
      soon();
      if (!over) typed = setTimeout(readPast, AGAIN_MS);
    });
  }

  /** Machines whose id has the part, and the part itself: the id of one that is gone. Where that is
   * much of the fleet, they are among the newest of all. */
  function ids() {
    const known = [...state.rows.keys()].filter((id) => id.includes(part) && id !== part);
    const asked = ID.test(part) ? [part, ...known] : known;
    return asked.length && asked.length <= ASK_MOST ? `node_id=${asked.join(",")}&` : "";
  }

  return {
    update: (_, message) => {
      // Then more ids are known, or some events never came.
      if ((message.kind === "listed" && part) || message.kind === "gap") readPast();
      if (message.kind !== "events") return;
      // A new list each time: what is shown while paused stays as it was.
      kept = [...kept, ...message.events.filter(meets)].slice(-KEPT);
      if (!running) paused += message.events.filter(meets).length;
      soon();
    },
    end: () => { over = true; clearTimeout(typed); },
  };
}

/** Both in the order of time, each event once. */
function merged(some, others) {
  const key = (event) => `${event.at} ${event.type} ${event.node_id} ${event.version}`;
  const had = new Set(some.map(key));
  return [...others.filter((event) => !had.has(key(event))), ...some].sort((a, b) => a.at - b.at);
}

function line(event) {
  return h("li", { "data-type": event.type },
    moment(event.at),
    event.node_id ? h("a.mono", { href: `/nodes/${encodeURIComponent(event.node_id)}` }, event.node_id) : h("span.soft", {}, word("whole_fleet")),
    h("div", {}, told(event), evidence(event)));
}
