// What pages forget: nobody is let in, nobody is there.

import { fill, h } from "./dom.js";
import { token } from "./session.js";
import { word } from "./words.js";

/** Not let in: what is missing, and what to do about it. */
export function gate(page, problem, enter) {
  const code = problem?.code ?? "UNAUTHORIZED";
  if (code !== "UNAUTHORIZED") {
    const known = ["API_NOT_CONFIGURED", "NOT_LOCAL", "FORBIDDEN"].includes(code);
    const tokens = ["API_NOT_CONFIGURED", "NOT_LOCAL"].includes(code);
    const detail = tokens ? word("closed_how") : problem.detail;
    fill(page, h("section.card.gate", {}, h("h1", {}, word("closed_title")),
      h("p", {}, known ? word(`closed_${code}`) : problem.title),
      detail ? h("p.soft", {}, detail) : null,
      h("code", {}, code)));
    return;
  }
  const field = h("input", { type: "password", id: "token", autocomplete: "off", required: true });
  fill(page, h("section.card.gate", {},
    h("h1", {}, word("token_title")),
    token() ? h("p.bad", { role: "alert" }, word("token_wrong")) : null,
    h("p", {}, word("token_text")),
    h("form.gate", { onsubmit: (event) => { event.preventDefault(); enter(field.value.trim()); } },
      h("label.field", { for: "token" }, word("token_label"), field),
      h("button.first", {}, word("token_enter")))));
  field.focus();
}

const HERE = /^(localhost|127(\.\d+){3}|\[::1\])$/;
const MODEL = { model_id: "try", kind: "nmt", version: "1", src_lang: "zh", tgt_lang: "en" };

/** Nobody has joined: how the first one does, to copy. An owner's machine must bear their label, or
 * they would not see it. Without a model it would never be ready. */
export function empty(page, me) {
  const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/node`;
  const mark = me?.owner ? ` --label ${quoted(`owner=${me.owner}`)}` : "";
  const run = `muster agent run --server ${url} --models-dir models${mark}`;
  fill(page, h("section.card.gate", {},
    h("h1", {}, word("empty_title")),
    me?.owner ? h("p", {}, word("empty_owner", { owner: me.owner })) : null,
    h("p", {}, word("empty_text")), command(run), h("p.soft", {}, word("empty_join")),
    // Gateways that others can reach let no machine in whose GPUs are only pretended.
    HERE.test(location.hostname) ? [h("p", {}, word("empty_try")),
      command(`mkdir -p models/try && echo '${JSON.stringify(MODEL)}' > models/try/model.json`),
      command(`${run} --simulate "RTX 4090:24"`)] : null,
    h("p.soft", {}, word("empty_more"))));
}

/** As one word of a shell. */
const quoted = (text) => (/^[\w.=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A command line to copy. Where the browser keeps the clipboard (a page without https from another
 * machine), it is marked, so that the keys do. */
export function command(text) {
  const code = h("code", { tabindex: 0 }, text);
  const button = h("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = word("copied");
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = word("marked");
    }
    setTimeout(() => { button.textContent = word("copy"); }, 2000);
  } }, word("copy"));
  return h("div.command", {}, code, button);
}
