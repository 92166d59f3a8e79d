// Trying a selection: who would get a job with these needs, and why not the others. Nothing is held.

import { ask, get } from "./api.js";
import { fill, h, refill } from "./dom.js";
import { badge, cards, tags } from "./row.js";
import { brief, clockTime, duration, whole } from "./format.js";
import { state } from "./link.js";
import { CEILINGS, body, curl, fromAddress, query, toAddress, unreadable } from "./needs.js";
import { token } from "./session.js";
import { command } from "./states.js";
import { word } from "./words.js";

const KINDS = ["", "asr", "nmt", "tts"];
const HINTS = { src_lang: "lang", tgt_lang: "lang", labels: "labels", min_gpu_memory_gb: "number", ceilings: "number" };
const NEEDS_LANGUAGE = { src_lang: ["asr", "nmt"], tgt_lang: ["nmt", "tts"] };

export function show(page) {
  let fields = fromAddress(location.search);
  let over = false;
  const inputs = {};
  const said = h("p.bad", { role: "alert", id: "said" });
  const answer = h("div.answer.live", { id: "answer" });
  // The tables are there to be read; only how many match is said.
  const verdict = h("p.hidden", { role: "status", id: "verdict" });
  const shell = h("div", { id: "curl" });
  const languages = h("datalist", { id: "languages" });

  const field = (name, label, props = {}) => {
    inputs[name] = h("input", { name, value: fields[name] ?? "", autocomplete: "off", ...props });
    return h("label.field", {}, word(label), inputs[name]);
  };
  const number = (name, label) => field(name, label, { type: "number", min: 0, step: "any", max: name.endsWith("percent") ? 100 : null });
  inputs.kind = h("select", { name: "kind", onchange: () => suit() },
    KINDS.map((kind) => h("option", { value: kind, selected: kind === (fields.kind ?? "") }, kind ? word(`kind_${kind}`) : word("kind_any"))));
  inputs.private = h("input", { type: "checkbox", name: "private", checked: Boolean(fields.private) });
  const more = ["advanced_features", "avoid", ...CEILINGS];
  const form = h("form", { id: "needs", onsubmit: (event) => { event.preventDefault(); change(); } },
    h("div.form", {},
      h("label.field", {}, word("kind_field"), inputs.kind),
      field("src_lang", "src_lang", { list: "languages" }), field("tgt_lang", "tgt_lang", { list: "languages" }),
      number("min_gpu_memory_gb", "min_memory"),
      field("labels", "labels_field", { placeholder: "region=eu|us, owner!=lab" }),
      field("models", "models_field"), field("features", "features_field", { placeholder: "emotion_detection" })),
    h("details.more", { open: more.some((name) => fields[name]) }, h("summary", {}, word("more_needs")),
      h("div.form", {}, field("advanced_features", "advanced_field"), field("avoid", "avoid_field"),
        CEILINGS.map((name) => number(name, `most_${name}`)))),
    h("div.row", {}, h("label", {}, inputs.private, word("private_too")), h("span.grow"),
      h("button", { type: "button", onclick: () => { for (const one of Object.values(inputs)) { if (one.type === "checkbox") one.checked = false; else one.value = ""; } change(); } }, word("clear")),
      h("button.first", {}, word("find"))), said, languages);

  fill(page, h("h1", {}, word("select_page")), h("p.soft", {}, word("select_help")),
    h("section.card", { "aria-label": word("needs") }, h("h2", {}, word("needs")), form), verdict, answer,
    h("section.card", {}, h("h2", {}, word("same_by_curl")), shell));
  suit();

  /** A language that the kind has not is not asked for. */
  function suit() {
    for (const [name, kinds] of Object.entries(NEEDS_LANGUAGE)) {
      inputs[name].disabled = !kinds.includes(inputs.kind.value);
      inputs[name].required = !inputs[name].disabled;
    }
  }

  function change() {
    suit();
    fields = Object.fromEntries(Object.entries(inputs)
      .filter(([, one]) => !one.disabled && (one.type === "checkbox" ? one.checked : one.value.trim()))
      .map(([name, one]) => [name, one.type === "checkbox" ? "1" : one.value.trim()]));
    const address = toAddress(fields);
    history.replaceState(null, "", address ? `/select?${address}` : "/select");
    find();
  }

  let asked = 0;
  let last = null;
  async function find() {
    fill(shell, command(curl(location.origin, fields, Boolean(token()))));
    const mine = (asked += 1);
    const [bad] = unreadable(fields.labels ?? "");
    if (bad) return refused("labels");
    try {
      const found = await ask("POST", "/v1/select/explain", body(fields));
      if (over || mine !== asked) return;
      said.textContent = "";
      last = found;
      result(found);
    } catch (problem) {
      if (over || mine !== asked) return;
      refused(problem.document?.parameter, problem.message);
    }
  }

  /** Which field it was is told by the name it has in the form. */
  function refused(parameter, title) {
    const [first, second] = (parameter ?? "").split(/[.[]/);
    const input = inputs[first === "ceilings" ? second : first];
    const field = input?.closest("label").firstChild.textContent ?? parameter;
    said.textContent = parameter ? word("wrong_field", { field, hint: word(`hint_${HINTS[first] ?? "list"}`) }) : word("failed", { title });
    verdict.textContent = "";
    answer.replaceChildren();
  }

  function result(found) {
    const counts = { count: whole(found.matching), total: whole(found.examined) };
    verdict.textContent = word("matches_of", counts);
    fill(answer, h("section.card", { id: "matches" },
      h("div.row", {}, h("h2.grow", {}, word("matches")), h("span.soft", {}, clockTime(found.now))),
      h("p.verdict", { class: found.matching ? "verdict s-ready" : "verdict bad" }, h("strong.big", {}, word("matches_of", counts)),
        found.sampled ? h("span.soft", {}, ` ${word("in_sample", { examined: whole(found.examined), total: whole(found.total) })}`) : null),
      found.matching ? matches(found) : h("p", {}, word("nobody"))),
    h("div.two", {}, excluded(found), nearest(found)), one());
  }

  function matches({ nodes, matching }) {
    return [table([word("col_node_id"), word("col_load"), word("age"), word("col_gpus"), word("col_labels")], nodes.slice(0, 20).map((node) => {
      const row = state.rows.get(node.node_id);
      return [link(node.node_id), `${node.load} / ${node.capacity}`, duration(node.age_ms), row ? cards(row.gpus) : "", row ? tags(row.labels) : ""];
    })), matching > 20 ? h("p.soft", {}, word("and_more", { count: whole(matching - 20) })) : null];
  }

  function excluded({ reasons, examined }) {
    const rows = Object.entries(reasons);
    return h("section.card", { id: "excluded" }, h("h2", {}, word("excluded")),
      rows.length ? h("ul.plain.reasons", {}, rows.map(([reason, count]) => h("li", { "data-reason": reason },
        h("span", {}, word(`unfit_${reason}`)), h("meter", { min: 0, max: examined, value: count, "aria-label": word(`unfit_${reason}`) }),
        h("b.number", {}, whole(count)), h("code.soft", {}, reason))))
        : h("p", {}, word(examined ? "everybody" : "no_machines")));
  }

  function nearest({ nearest: found }) {
    return h("section.card", { id: "nearest" }, h("h2", {}, word("nearest")),
      found.length ? h("ul.plain.misses", {}, found.map((miss) => h("li.machine", { "data-node": miss.node_id },
        h("div.row", {}, link(miss.node_id), badge(miss.status)), lacks(miss.lacks)))) : h("p", {}, word("everybody")));
  }

  const lacks = (list) => h("ul.todo", {}, list.map((lack) => h("li", {}, word("wanted_has",
    { reason: word(`unfit_${lack.reason}`), wanted: value(lack.wanted), has: value(lack.has) }))));

  /** Why not this one: any machine against the same needs. */
  function one() {
    const id = h("input", { name: "one", "aria-label": word("one_machine"), placeholder: "node-…", list: "ids", autocomplete: "off" });
    const told = h("div", { id: "one", role: "status" });
    return h("section.card", {}, h("h2", {}, word("one_machine")),
      h("form.row", { onsubmit: async (event) => {
        event.preventDefault();
        try {
          const why = await get(`/v1/nodes/${encodeURIComponent(id.value.trim())}/explain?${query(fields)}`);
          fill(told, h("div.row", {}, link(why.node_id), badge(why.status), h("strong", {}, word(why.matches ? "one_matches" : "one_does_not"))),
            why.matches ? null : lacks(why.lacks ?? []));
        } catch (problem) {
          fill(told, h("p.bad", {}, problem.message));
        }
      } }, id, h("datalist", { id: "ids" }, [...state.rows.keys()].sort().slice(0, 500).map((value) => h("option", { value }))), h("button", {}, word("ask_why"))), told);
  }

  function suggest() {
    const found = Object.keys(state.numbers?.languages ?? {}).flatMap((name) => name.split(":").slice(1));
    refill(languages, [...new Set(found)].sort(), () => [...new Set(found)].sort().map((value) => h("option", { value })));
  }

  suggest();
  find();
  return {
    update: (_, message) => {
      suggest();
      if (message.kind === "listed" && last) result(last); // cards and labels come from the list
    },
    end: () => { over = true; },
  };
}

const link = (id) => h("a.mono", { href: `/nodes/${encodeURIComponent(id)}` }, id);

function value(given) {
  const [[name, test] = []] = Object.entries(given ?? {});
  if (test?.in) return `${name} = ${test.in.join(" | ")}`;
  if (test?.not) return `${name} ≠ ${test.not.join(" | ")}`;
  if (given && typeof given === "object" && !Array.isArray(given)) return brief(given);
  return word(`status_${given}`) === String(given) ? brief(given) : word(`status_${given}`);
}

function table(names, rows) {
  return h("div.wide", {}, h("table.roll", {},
    h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}
