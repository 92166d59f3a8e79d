// An owner's machines: which of them need something and what, and whose fault it was when they could
// not work. Who sees all machines chooses whose.

import { ADVICE } from "./advice.js";
import { each, get } from "./api.js";
import { fill, h, paced, refill, svg } from "./dom.js";
import { isOld } from "./banners.js";
import { badge, cards, said } from "./row.js";
import { countdown, duration, instant, percent, storeNow, whole } from "./format.js";
import { state } from "./link.js";
import { KINDS, brief, outage, parts, sum } from "./uptime.js";
import { lang, word } from "./words.js";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const LEAST_MS = 60_000; // of time that a bar stands for
const EXPLAIN_MS = 5000;
const FEW = 5; // of those in need, until more are asked for: the last 24 hours stay in sight
const MOST = 100; // each costs a request
const ASKED_AT_ONCE = 4;
const BARS = 100;
const URGENT = ["degraded", "offline", "registering", "draining"];
const LABELS = { up: "up", theirs: "down_theirs", ours: "down_ours", planned: "down_planned", unknown: "unknown_time" };

export function show(page, { me }) {
  if (!me) {
    fill(page, h("p.soft", {}, word("loading")));
    return {};
  }
  const owner = me.owner ?? new URLSearchParams(location.search).get("owner") ?? "";
  const title = h("div.row");
  const told = h("p");
  const needs = h("section.card.live", { "aria-label": word("need_you") });
  const bars = h("section.card.live", { "aria-label": word("uptime") });
  fill(page, h("div", {}, title, told), owner ? [needs, bars, codes()] : null);
  document.title = `${owner ? word("owner_of", { owner }) : word("owner_page")} · ${word("title")}`;

  const why = new Map(); // id → the explanation, newest
  const happened = new Map(); // id → briefs of its events
  const meanwhile = []; // live events, until the past is read
  let outages = [];
  let read = false;
  let over = false;
  let unfolded = false;

  const mine = () => [...state.rows.values()].filter((row) => row.labels.owner === owner)
    .sort((a, b) => (a.node_id < b.node_id ? -1 : 1));

  function take(event) {
    const gap = outage(event);
    if (gap) outages.push(gap);
    const kept = event.node_id ? brief(event) : null;
    if (!kept) return;
    if (!happened.has(event.node_id)) happened.set(event.node_id, []);
    const list = happened.get(event.node_id);
    // What came live while the past was read may be in both.
    if (!(kept.version <= list.at(-1)?.version)) list.push(kept);
  }

  async function history() {
    const since = `since=${Math.max(0, Math.round(storeNow() - DAY_MS))}`;
    // An owner's own stream has both; by a label alone, what is nobody's is left out.
    const mark = me.owner ? "" : `&label=${encodeURIComponent(`owner=${owner}`)}`;
    try {
      await each(`${since}${mark}`, take);
      if (!me.owner) await each(`${since}&types=unobserved`, take);
      read = true;
      meanwhile.splice(0).forEach(take);
    } catch {
      setTimeout(() => over || history(), 5000);
      happened.clear();
      outages = [];
    }
    soon();
  }

  let asking = false;
  let again = false;
  async function explain() {
    if (over) return;
    again = asking;
    if (asking) return;
    asking = true;
    const open = inNeed(mine()).slice(0, most());
    for (let at = 0; at < open.length; at += ASKED_AT_ONCE) {
      try {
        await Promise.all(open.slice(at, at + ASKED_AT_ONCE).map(async ({ node_id: id }) =>
          why.set(id, await get(`/v1/nodes/${encodeURIComponent(id)}/explain`))));
      } catch {
        break; // the head of the page says what is wrong
      }
      if (over) return;
    }
    asking = false;
    if (!isOld(state)) draw();
    if (again) explain();
  }

  function draw() {
    if (over) return;
    const rows = mine();
    // Apart from the counts: a list that is open is not closed because a machine's status changed.
    refill(title, [lang(), me.owner ? 0 : owners()], () => [
      h("h1.grow", {}, owner ? word(me.owner ? "owner_page" : "owner_of", { owner }) : word("owner_all")),
      me.owner ? h("span.tag", {}, `owner=${owner}`) : chooser()]);
    const counted = !owner ? word(owners().length || !state.listed ? "owner_pick" : "no_owners")
      : !state.listed ? word("loading") : rows.length ? count(rows) : word("empty_owner", { owner });
    refill(told, counted, () => counted);
    if (!owner) return;
    drawNeeds(rows);
    const minute = Math.floor(storeNow() / 10_000);
    refill(bars, [lang(), read, minute, outages.length, rows.map((row) => [row.node_id, row.version, row.status])], () => uptime(rows));
  }

  function owners() {
    return [...new Set([...state.rows.values()].map((row) => row.labels.owner).filter(Boolean))].sort();
  }

  function chooser() {
    const pick = h("select", { id: "owner", onchange: () => choose(pick.value) }, h("option", { value: "" }, "–"), owners().map((name) => h("option", { value: name, selected: name === owner }, name)));
    return h("label", {}, word("owner_choose"), pick);
  }

  const count = (rows) => {
    const ready = rows.filter((row) => row.status === "ready").length;
    return word("mine_told", { ready, total: rows.length });
  };

  function drawNeeds(rows) {
    const open = inNeed(rows);
    const shown = open.slice(0, most()).map((row) => ({ row, why: why.get(row.node_id) }));
    const key = shown.map(({ row, why: one }) => [row.node_id, row.version, one?.status, one?.summary, one?.to_do, one?.waits_for?.text]);
    refill(needs, [lang(), state.listed, rows.length, open.length, unfolded, key], () => [
      h("h2", {}, word("need_you"), open.length ? ` · ${open.length}` : ""),
      open.length ? h("ul.plain", {}, shown.map(({ row, why: one }) => need(row, one)))
        : h("p", {}, rows.length ? word("all_fine") : state.listed ? word("empty_owner", { owner }) : word("loading")),
      open.length > FEW ? fold(open.length) : null,
      unfolded && open.length > MOST ? h("p.soft", {}, word("and_more", { count: whole(open.length - MOST) })) : null]);
    tick();
  }

  const most = () => (unfolded ? MOST : FEW);

  function fold(count) {
    const press = () => { unfolded = !unfolded; draw(); explain(); };
    const label = unfolded ? word("show_few") : word("show_all", { count: whole(count) });
    return h("button", { type: "button", id: "fold", "aria-expanded": String(unfolded), onclick: press }, label);
  }

  /** What its owner can mend comes first, what only we can last. */
  const urgency = (row) => URGENT.indexOf(row.status) + (why.get(row.node_id)?.blame === "platform" ? URGENT.length : 0);

  /** Who is explained is who is shown. */
  function inNeed(rows) {
    return rows.filter((row) => row.status !== "ready").sort((a, b) => urgency(a) - urgency(b));
  }

  function need(row, one) {
    const fresh = one?.status === row.status ? one : null; // what was said of a former status is old
    return h("li.machine", { "data-node": row.node_id },
      h("div.row", {}, h("a.mono", { href: `/nodes/${encodeURIComponent(row.node_id)}` }, row.node_id), badge(row.status),
        h("span.soft", {}, cards(row.gpus)),
        h("span.soft", { "data-since": row.since })),
      h("p", {}, fresh ? said(fresh) : word(`reason_${row.reason}`)),
      fresh?.blame ? h("p.soft", {}, word(`blame_${fresh.blame}`)) : null,
      fresh?.to_do?.length ? h("p", {}, h("strong", {}, word("to_do")), ": ", fresh.to_do.join("; ")) : null,
      fresh?.waits_for ? h("p.soft", {}, `${word("waits_for")} ${fresh.waits_for.text}`,
        fresh.waits_for.changes_in_ms === undefined ? null
          : [` · ${word("changes_in")} `, h("span.count", { "data-ends": fresh.now + fresh.waits_for.changes_in_ms })]) : null);
  }

  function uptime(rows) {
    const to = storeNow();
    const found = rows.map((row) => {
      const blame = why.get(row.node_id)?.blame ?? null;
      const pieces = parts(row, happened.get(row.node_id) ?? [], outages, to - DAY_MS, to, blame);
      return { row, pieces, total: sum(pieces) };
    });
    const all = sum(found.flatMap(({ pieces }) => pieces));
    // A young fleet's few minutes would be a sliver of a day: the bars begin where something is known.
    const known = Math.min(to, ...found.flatMap(({ pieces }) => pieces).filter((piece) => piece.kind !== "unknown").map((piece) => piece.from));
    const from = Math.min(to - LEAST_MS, known);
    found.sort((a, b) => (a.total.share ?? 2) - (b.total.share ?? 2));
    return [h("div.row", {}, h("h2.grow", {}, word("uptime"), known > to - DAY_MS + HOUR_MS ? ` · ${word("known_since", { at: instant(known) })}` : ""),
      h("div.legend", {}, KINDS.map((kind) => h("span.key", {}, h(`i.u-${kind}`), word(LABELS[kind]))))),
    !read ? h("p.soft", {}, word("loading")) : [
      h("p", {}, all.share === null ? null : [h("strong.big", {}, percent(all.share)), ` ${word("uptime_all")} `],
        all.ours ? h("span.soft", {}, word("uptime_ours", { time: duration(all.ours) })) : null),
      h("ul.plain.uptimes", {}, found.slice(0, BARS).map(({ row, pieces, total }) =>
        h("li", { "data-node": row.node_id },
          h("a.mono", { href: `/nodes/${encodeURIComponent(row.node_id)}` }, row.node_id),
          bar(row, pieces, total, from, to),
          h("span.number", {}, total.share === null ? "–" : percent(total.share)),
          h("span.soft", {}, KINDS.slice(1, 4).filter((kind) => total[kind] >= 1000)
            .map((kind) => `${word(LABELS[kind])} ${duration(total[kind])}`).join(" · "))))),
      rows.length > BARS ? h("p.soft", {}, word("and_more", { count: whole(rows.length - BARS) })) : null,
      h("p.soft", {}, word("uptime_help"))]];
  }

  function tick() {
    // What is old stands still.
    const those = (mark) => [...page.querySelectorAll(`[${mark}]`)].filter((one) => !isOld(state) || !one.textContent);
    for (const one of those("data-ends")) one.textContent = countdown(Number(one.dataset.ends) - storeNow());
    for (const one of those("data-since")) one.textContent = word("for_time", { time: duration(storeNow() - Number(one.dataset.since)) });
  }

  const soon = paced(300, draw);
  draw();
  if (!owner) return { update: soon, end: () => { over = true; } };
  history();
  explain();
  const poll = setInterval(explain, EXPLAIN_MS);
  const seconds = setInterval(() => { tick(); if (!isOld(state)) soon(); }, 1000);
  return {
    update: (ids, message) => {
      if (message.kind === "events") {
        for (const event of message.events) {
          if (event.type !== "unobserved" && event.labels?.owner !== owner) continue;
          if (read) take(event);
          else meanwhile.push(event);
        }
        if (ids.some((id) => state.rows.get(id)?.labels.owner === owner)) explain();
      }
      if (message.kind === "listed") explain();
      if (message.kind === "gap" && read) {
        read = false;
        happened.clear();
        outages = [];
        history();
      }
      if (ids.length || !isOld(state)) soon();
    },
    end: () => { over = true; clearInterval(poll); clearInterval(seconds); },
  };
}

function choose(owner) {
  history.pushState(null, "", owner ? `/mine?owner=${encodeURIComponent(owner)}` : "/mine");
  dispatchEvent(new PopStateEvent("popstate"));
}

function bar(row, pieces, total, from, to) {
  const least = (to - from) / 300; // what lasted less is drawn so wide, so that it is seen
  const scale = (ms) => (1000 * ms) / (to - from);
  const label = word("uptime_of", { id: row.node_id, up: duration(total.up), theirs: duration(total.theirs), ours: duration(total.ours) });
  const wide = (piece) => Math.max(piece.to - piece.from, piece.kind === "up" || piece.kind === "unknown" ? 0 : least);
  return h("div.bar", {}, svg("svg", { viewBox: "0 0 1000 10", preserveAspectRatio: "none", role: "img", "aria-label": label },
    // Good time first, so that a short failure lies over it.
    pieces.filter((piece) => piece.to > from).sort((a, b) => (b.kind === "up") - (a.kind === "up")).map((piece) =>
      svg("rect", { class: `u-${piece.kind}`, x: Math.min(scale(piece.from - from), 1000 - scale(wide(piece))), y: 0, width: scale(wide(piece)), height: 10 },
        svg("title", {}, `${instant(piece.from)} – ${instant(piece.to)}: ${word(LABELS[piece.kind])}`)))));
}

function codes() {
  return h("details.card", { id: "codes" }, h("summary", {}, h("h2", {}, word("codes"))),
    h("div.wide", {}, h("table", {}, h("thead", {}, h("tr", {}, ["code", "meaning", "to_do"].map((name) => h("th", { scope: "col" }, word(name))))),
      h("tbody", {}, Object.entries(ADVICE[lang()]).map(([code, [meaning, toDo]]) => h("tr", { "data-code": code },
        h("td.nowrap", {}, h("code", {}, code)), h("td", {}, meaning), h("td", {}, toDo)))))));
}
