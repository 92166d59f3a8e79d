// One machine: its state and why in a sentence, what it waits for, and everything known of it.

import { ask, get } from "./api.js";
import { confirm } from "./dialog.js";
import { isOld } from "./banners.js";
import { badge, moment, said } from "./row.js";
import { fill, h, refill } from "./dom.js";
import { brief, countdown, duration, instant, storeNow } from "./format.js";
import { state } from "./link.js";
import { WORDS, lang, word } from "./words.js";

const POLL_MS = 5000;
const CONNECTS = new Set(["register", "resume", "revive", "restore", "duplicate_identity"]);

export function show(page, { me, argument: id }) {
  document.title = `${id} · ${word("title")}`;
  if (!me) {
    fill(page, h("h1.mono", {}, id), h("p.soft", {}, word("loading")));
    return {};
  }
  const head = h("section.live");
  const about = Object.fromEntries(["hardware", "models", "connection", "verdicts", "timeline"]
    .map((name) => [name, h("section.card", { id: name })]));
  const rest = h("div.two.live", {},
    h("div.column", {}, about.hardware, about.models, about.connection), h("div.column", {}, about.verdicts, about.timeline));
  fill(page, h("p", {}, h("a", { href: "/" }, `← ${word("fleet")}`)), h("h1.mono", {}, id), head, rest);
  fill(head, h("p.soft", {}, word("loading")));
  rest.hidden = true;
  let ends = null; // when time alone changes something, by the store's clock
  let over = false;
  let asking = false;
  let later = false;
  // Made once: the head is drawn anew all the time, and neither focus nor a press may be lost by it.
  const buttons = Object.fromEntries(["drain", "resume"].map((act) =>
    [act, h("button", { type: "button", id: act, onclick: () => sure(act) }, word(act))]));

  async function read() {
    if (asking) { later = true; return; }
    asking = true;
    try {
      const path = `/v1/nodes/${encodeURIComponent(id)}`;
      const [story, why] = await Promise.all([get(path), get(`${path}/explain`)]);
      if (!over) draw(story, why);
    } catch (problem) {
      if (over) return;
      if (problem.code === "NODE_NOT_FOUND") missing(problem.document);
      else if (rest.hidden) fill(head, h("p.bad", { role: "alert" }, problem.message)); // asked again soon
    } finally {
      asking = false;
      if (later && !over) { later = false; read(); }
    }
  }

  function missing({ removed }) {
    head.className = "card live";
    rest.hidden = true;
    fill(head, h("p", {}, word("node_gone", { id })),
      removed ? h("p", {}, word("node_removed", { ...removed, at: instant(removed.at) })) : null,
      h("a", { href: "/" }, word("back_to_fleet")));
  }

  function draw(story, why) {
    const waits = why.waits_for;
    ends = waits?.changes_in_ms === undefined ? null : why.now + waits.changes_in_ms;
    head.className = `card live state s-${story.status}`;
    fill(head,
      h("div.row", {}, badge(story.status), h("span.soft", {}, word("for_time", { time: duration(why.for_ms) })), h("span.grow"),
        me.role === "admin" ? operate(story) : null),
      h("p.told", { id: "summary" }, said(why)),
      why.selectable ? h("p", {}, word("can_work")) : null,
      waits ? h("p", {}, `${word("waits_for")} `, waits.text,
        ends ? [` · ${word("changes_in")} `, h("span.count", { id: "countdown" }, countdown(ends - storeNow()))] : null) : null,
      why.blame ? h("p", {}, word(`blame_${why.blame}`)) : null,
      why.to_do?.length ? [h("h2", {}, word("to_do")), h("ul.todo", {}, why.to_do.map((text) => h("li", {}, text)))] : null,
      why.why_not?.length ? h("p", {}, h("span.soft", {}, `${word("why_not")} `), reasons(why.why_not)) : null,
      story.operator ? h("p.soft", {}, word("operator_note", { ...story.operator, at: instant(story.operator.at) })) : null);
    rest.hidden = false;
    // A card whose facts are as they were stays as it is, with what was opened or marked in it.
    const put = (name, key, make) => refill(about[name], [lang(), key], make);
    put("hardware", [story.gpus, story.report, story.load, story.capacity, story.running_jobs, story.holds], () => hardware(story));
    put("models", [story.registration.installed_models, story.registration.features_supported], () => models(story));
    put("connection", [story.now], () => connection(story));
    put("verdicts", story.verdicts, () => verdicts(story));
    put("timeline", story.events, () => timeline(story));
  }

  function operate(story) {
    return buttons[story.operator_intent ? "resume" : "drain"];
  }

  const sure = (act) => confirm({
    title: word(`${act}_title`, { id }), text: word(`${act}_text`), button: word(`confirm_${act}`),
    fields: act === "drain" ? [{ name: "minutes", label: word("timeout_field"), props: { type: "number", min: 0, step: "any" } }] : [],
    act: async ({ reason, minutes }) => {
      const more = minutes ? { timeout_s: 60 * Number(minutes) } : {};
      await ask("POST", `/v1/nodes/${encodeURIComponent(id)}/${act}`, { reason, ...more });
      read();
    },
  });

  read();
  const poll = setInterval(read, POLL_MS);
  const tick = setInterval(() => {
    const shown = document.getElementById("countdown");
    if (shown && ends && !isOld(state)) shown.textContent = countdown(ends - storeNow());
  }, 500);
  return {
    update: (_, message) => {
      const ours = message.kind === "events" && message.events.some((event) => event.node_id === id);
      if (ours || (message.kind === "link" && state.link === "live")) read();
    },
    end: () => { over = true; clearInterval(poll); clearInterval(tick); document.querySelector("dialog")?.remove(); },
  };
}

/** Each once, though a status and its verdicts may give the same. */
function reasons(points) {
  const named = new Map(points.map(({ code, text }) => [word(`unfit_${code}` in WORDS ? `unfit_${code}` : `reason_${code}`), text]));
  return [...named].map(([name, text]) => h("span.tag", { title: text }, name));
}

const card = (title, ...children) => [h("h2", {}, title), children];

function table(names, rows) {
  return h("div.wide", { tabindex: 0 }, h("table", {},
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

function hardware(story) {
  const usage = story.report?.resource_usage ?? {};
  const reported = usage.gpus ?? [];
  const loads = story.gpus.map((_, place) => reported[place]?.gpu_percent);
  // One figure for the machine is the card's only where there is one card.
  if (story.gpus.length === 1) loads[0] ??= usage.gpu_percent;
  const told = {
    gpu_load: loads.some((load) => load !== undefined),
    temperature: reported.some((gpu) => gpu.temperature_c !== undefined),
  };
  const soft = () => h("span.soft", {}, "–");
  const columns = [
    [word("gpu_model"), (gpu) => gpu.name],
    [word("memory"), (gpu, now) => (now.memory_used_gb === undefined ? `${gpu.memory_gb} GiB` : `${now.memory_used_gb} / ${gpu.memory_gb} GiB`)],
    told.gpu_load && [word("gpu_load"), (_, __, load) => (load === undefined ? soft()
      : [h("meter", { min: 0, max: 100, value: load, "aria-label": word("gpu_load") }), `${Math.round(load)} %`])],
    told.temperature && ["°C", (_, now) => now.temperature_c ?? soft()],
    [word("health"), (_, now) => {
      const healthy = now.healthy ?? now.health?.ok;
      return healthy === undefined ? h("span.soft", {}, word("not_told"))
        : healthy ? word("healthy") : h("span.bad", {}, word("unhealthy"), now.reason ? ` (${now.reason})` : "");
    }],
  ].filter(Boolean);
  return card(word("hardware"),
    table(columns.map(([name]) => name), story.gpus.map((gpu, place) => columns.map(([, cell]) => cell(gpu, reported[place] ?? {}, loads[place])))),
    h("dl", {}, h("dt", {}, word("places")),
      h("dd", {}, word("places_of", { load: story.load, capacity: story.capacity, jobs: story.running_jobs, holds: story.holds })),
      [["gpu_all", "gpu_percent"], ["cpu", "cpu_percent"], ["ram", "mem_percent"], ["queue", "gpu_queue_length"]]
        .filter(([name, field]) => usage[field] !== undefined && (name !== "gpu_all" || !told.gpu_load))
        .map(([name, field]) => [h("dt", {}, word(name)), h("dd", {}, `${usage[field]}${field.endsWith("percent") ? " %" : ""}`)])));
}

function verdicts({ verdicts: found }) {
  const good = found.filter((one) => one.verdict === "P").length;
  const letters = new Map(found.filter((one) => one.reason).map((one) => [one.verdict, word(`reason_${one.reason}`)]));
  return card(word("verdicts"),
    h("div.strip", { role: "img", "aria-label": word("verdicts_summary", { good, total: found.length }) },
      [...found].reverse().map((one) => {
        const told = one.reason ? word(`reason_${one.reason}`) : word("verdict_passed");
        return h(one.reason ? "span.failed" : "span", { title: `${instant(one.at)} ${told}` }, one.reason ? one.verdict : "✓");
      })),
    h("p.soft", {}, word("verdicts_summary", { good, total: found.length })),
    letters.size ? h("p.soft", {}, [...letters].map(([letter, meaning]) => `${letter}: ${meaning}`).join(" · ")) : null);
}

function models({ registration }) {
  const found = registration.installed_models ?? [];
  const features = Object.entries(registration.features_supported ?? {}).filter(([, has]) => has).map(([name]) => name);
  return card(word("models"), found.length ? table([word("model"), word("kind"), word("languages"), word("version")],
    found.map((model) => [h("code", {}, model.model_id), model.kind,
      [model.src_lang, model.tgt_lang].filter(Boolean).join(" → "),
      [model.version ?? "", model.enabled === false ? ` (${word("disabled")})` : ""]])) : h("p.soft", {}, word("none")),
  features.length ? h("dl", {}, h("dt", {}, word("features")), h("dd", {}, features.map((name) => h("span.tag", {}, name)))) : null);
}

function connection(story) {
  const set = Object.keys(story.operator_labels);
  const rows = [["last_beat", word("ago", { time: duration(story.now - story.last_heartbeat) })], ["col_gateway", story.gateway],
    ["session", story.session], ["col_program_version", story.program_version], ["col_platform", story.platform], ["address", story.address],
    ["labels", Object.entries(story.labels).map(([name, value]) =>
      h("span.tag", {}, `${name}=${value}${set.includes(name) ? ` (${word("by_operator")})` : ""}`))]];
  return card(word("connection"), h("dl", {},
    rows.filter(([, value]) => value !== undefined && value !== null && value.length !== 0)
      .map(([name, value]) => [h("dt", {}, word(name)), h("dd", {}, value)])),
  story.warnings.length ? [h("h3", {}, word("warnings")), h("ul.todo", {}, story.warnings.map((warning) => h("li", {}, brief(warning))))] : null,
  h("h3", {}, word("takeovers")), takeovers(story));
}

/** Each time its socket came to a gateway, newest first. */
function takeovers({ events }) {
  const found = events.filter((event) => CONNECTS.has(event.type)).slice(0, 5);
  return found.length ? h("ul.plain.comings", {}, found.map((event) => h("li", {}, moment(event.at),
    h("div", {}, [word(`event_${event.type}`), event.gateway, event.address].filter(Boolean).join(" · "))))) : h("p.soft", {}, word("no_takeovers"));
}

function timeline({ events }) {
  return card(word("timeline"), h("ul.plain.timeline", {}, events.map((event) => h("li", {},
    moment(event.at), h("div", {}, told(event), evidence(event))))));
}

/** What an event says, on one line. */
export function told(event) {
  const moved = event.to && event.from !== event.to;
  return h("span", {}, h("strong", {}, word(`event_${event.type}`)), " ",
    moved && event.from ? [badge(event.from), h("span.arrow", { "aria-hidden": "true" }, "→")] : null,
    event.to ? badge(event.to) : null,
    event.reason ? h("span.soft", {}, ` ${word(`reason_${event.reason}`)}`) : null,
    event.who ? h("span.soft", {}, ` ${event.who}: ${event.why ?? ""}`) : null);
}

export function evidence(event) {
  const found = event.evidence ?? event.detail ?? event.changes;
  return found ? h("details", {}, h("summary", {}, word("evidence")), h("pre.evidence", { tabindex: 0 }, JSON.stringify(found, null, 1))) : null;
}
