// One machine: its state and why in a sentence, what it waits for, and everything known of it.

import { ask, get } from "./api.js";
import { badge } from "./fleet.js";
import { fill, h } from "./dom.js";
import { brief, countdown, duration, instant, storeNow } from "./format.js";
import { state } from "./link.js";
import { word } from "./words.js";

const POLL_MS = 5000;

export function show(page, { me, argument: id }) {
  document.title = `${id} · ${word("title")}`;
  const head = h("section");
  const rest = h("div.two.live");
  fill(page, h("h1.mono", {}, id), head, rest);
  let ends = null; // when time alone changes something, by the store's clock
  let over = false;
  let asking = false;
  let later = false;

  async function read() {
    if (asking) { later = true; return; }
    asking = true;
    try {
      const path = `/v1/nodes/${encodeURIComponent(id)}`;
      const [story, why] = await Promise.all([get(path), get(`${path}/explain`)]);
      if (!over) draw(story, why);
    } catch (problem) {
      if (!over && problem.code === "NODE_NOT_FOUND") missing(problem.document);
    } finally {
      asking = false;
      if (later && !over) { later = false; read(); }
    }
  }

  function missing({ removed }) {
    head.className = "card";
    rest.replaceChildren();
    fill(head, h("p", {}, word("node_gone", { id })),
      removed ? h("p", {}, word("node_removed", { ...removed, at: instant(removed.at) })) : null,
      h("a", { href: "/" }, word("back_to_fleet")));
  }

  function draw(story, why) {
    const waits = why.waits_for;
    ends = waits?.changes_in_ms === undefined ? null : why.now + waits.changes_in_ms;
    head.className = `card state s-${story.status}`;
    fill(head,
      h("div.row", {}, badge(story.status), h("span.soft", {}, word("for_time", { time: duration(why.for_ms) })), h("span.grow"),
        me?.role === "admin" ? operate(story) : null),
      h("p.told", { id: "summary" }, why.summary),
      waits ? h("p", {}, `${word("waits_for")} `, waits.text,
        ends ? [` · ${word("changes_in")} `, h("span.count", { id: "countdown" }, countdown(ends - storeNow()))] : null) : null,
      why.blame ? h("p", {}, word(`blame_${why.blame}`)) : null,
      why.to_do?.length ? [h("h2", {}, word("to_do")), h("ul.todo", {}, why.to_do.map((text) => h("li", {}, text)))] : null,
      story.operator ? h("p.soft", {}, word("operator_note", { ...story.operator, at: instant(story.operator.at) })) : null);
    fill(rest, hardware(story), verdicts(story), models(story), connection(story), timeline(story));
  }

  function operate(story) {
    const act = story.operator_intent ? "resume" : "drain";
    return h("button", { type: "button", onclick: () => confirm(act) }, word(act));
  }

  function confirm(act) {
    const reason = h("input", { required: true, maxlength: 256, autocomplete: "off" });
    const said = h("p.bad", { role: "alert" });
    const dialog = h("dialog", { "aria-label": word(`${act}_title`, { id }), onclose: () => dialog.remove() },
      h("form", { onsubmit: async (event) => {
        event.preventDefault();
        try {
          await ask("POST", `/v1/nodes/${encodeURIComponent(id)}/${act}`, { reason: reason.value.trim() });
          dialog.close();
          read();
        } catch (problem) {
          said.textContent = word("failed", { title: problem.message });
        }
      } },
      h("h1", {}, word(`${act}_title`, { id })), h("p", {}, word(`${act}_text`)),
      h("label.field", {}, word("reason_field"), reason), said,
      h("div.row", {}, h("span.grow"), h("button", { type: "button", onclick: () => dialog.close() }, word("cancel")),
        h("button.first", {}, word(`confirm_${act}`)))));
    document.body.append(dialog);
    dialog.showModal();
    reason.focus();
  }

  read();
  const poll = setInterval(read, POLL_MS);
  const tick = setInterval(() => {
    const shown = document.getElementById("countdown");
    if (shown && ends) shown.textContent = countdown(ends - storeNow());
  }, 500);
  return {
    update: (_, message) => {
      const ours = message.kind === "events" && message.events.some((event) => event.node_id === id);
      if (ours || (message.kind === "link" && state.link === "live")) read();
    },
    end: () => { over = true; clearInterval(poll); clearInterval(tick); document.querySelector("dialog")?.remove(); },
  };
}

function card(title, ...children) {
  return h("section.card", {}, h("h2", {}, title), children);
}

function table(names, rows) {
  return h("div.wide", {}, h("table", {},
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

function hardware(story) {
  const usage = story.report?.resource_usage ?? {};
  const reported = usage.gpus ?? [];
  return card(word("hardware"),
    table([word("hardware"), word("memory"), word("gpu_load"), word("health")], story.gpus.map((gpu, place) => {
      const now = reported[place] ?? {};
      const load = now.gpu_percent ?? (story.gpus.length === 1 ? usage.gpu_percent : undefined);
      const healthy = now.healthy ?? now.health?.ok;
      return [gpu.name, `${gpu.memory_gb} GiB`,
        load === undefined ? h("span.soft", {}, word("not_told"))
          : [h("meter", { min: 0, max: 100, value: load, "aria-label": word("gpu_load") }), `${Math.round(load)} %`],
        healthy === undefined ? h("span.soft", {}, word("not_told"))
          : healthy ? word("healthy") : h("span.bad", {}, word("unhealthy"))];
    })),
    h("dl", {}, h("dt", {}, word("places")),
      h("dd", {}, word("places_of", { load: story.load, capacity: story.capacity, jobs: story.running_jobs, holds: story.holds })),
      [["cpu", "cpu_percent"], ["ram", "mem_percent"], ["queue", "gpu_queue_length"]]
        .filter(([, field]) => usage[field] !== undefined)
        .map(([name, field]) => [h("dt", {}, word(name)), h("dd", {}, `${usage[field]}${field.endsWith("percent") ? " %" : ""}`)])));
}

function verdicts({ verdicts: found }) {
  const good = found.filter((one) => one.verdict === "P").length;
  return card(word("verdicts"),
    h("div.strip", { role: "img", "aria-label": word("verdicts_summary", { good, total: found.length }) },
      [...found].reverse().map((one) => {
        const told = one.reason ? word(`reason_${one.reason}`) : word("verdict_passed");
        return h(one.reason ? "span.failed" : "span", { title: `${instant(one.at)} ${told}` }, one.reason ? one.verdict : "✓");
      })),
    h("p.soft", {}, word("verdicts_summary", { good, total: found.length })));
}

function models({ registration }) {
  return card(word("models"), table([word("model"), word("kind"), word("languages"), word("version")],
    (registration.installed_models ?? []).map((model) => [model.model_id, model.kind,
      [model.src_lang, model.tgt_lang].filter(Boolean).join(" → "),
      [model.version ?? "", model.enabled === false ? ` (${word("disabled")})` : ""]])));
}

function connection(story) {
  const set = Object.keys(story.operator_labels);
  const rows = [["last_beat", word("ago", { time: duration(story.now - story.last_heartbeat) })], ["col_gateway", story.gateway],
    ["session", story.session], ["col_program_version", story.program_version], ["col_platform", story.platform], ["address", story.address],
    ["labels", Object.entries(story.labels).map(([name, value]) =>
      h("span.tag", {}, `${name}=${value}${set.includes(name) ? ` (${word("by_operator")})` : ""}`))]];
  return card(word("connection"), h("dl", {},
    rows.filter(([, value]) => value !== undefined && value !== null && value.length !== 0)
      .map(([name, value]) => [h("dt", {}, word(name)), h("dd", {}, value.toString === Object.prototype.toString ? brief(value) : value)])));
}

function timeline({ events }) {
  return card(word("timeline"), h("ul.plain.timeline", {}, events.map((event) => h("li", {},
    h("time", {}, instant(event.at)), h("div", {}, told(event), evidence(event))))));
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
