// Asking once more before something is done: what it means, and why it is done.

import { h } from "./dom.js";
import { word } from "./words.js";

/** Opens it. `fields` are asked for beside the reason, as [{name, label, props}]; `act` is given the
 * values by name and does it, and the dialog closes; what it throws is told. */
export function confirm({ title, text, button, fields = [], act }) {
  document.querySelector("dialog")?.remove();
  const inputs = [
    ["reason", h("input", { name: "reason", required: true, maxlength: 500, autocomplete: "off" }), word("reason_field")],
    ...fields.map(({ name, label, props }) => [name, h("input", { name, autocomplete: "off", ...props }), label]),
  ];
  const said = h("p.bad", { role: "alert" });
  const go = h("button.first", {}, button);
  const dialog = h("dialog", { "aria-labelledby": "asked", onclose: () => dialog.remove() },
    h("form", { onsubmit: async (event) => {
      event.preventDefault();
      go.disabled = true; // a second press must not do it twice
      try {
        await act(Object.fromEntries(inputs.map(([name, input]) => [name, input.value.trim()])));
        dialog.close();
      } catch (problem) {
        said.textContent = word("failed", { title: problem.message });
        go.disabled = false;
      }
    } },
    h("h1", { id: "asked" }, title), h("p", {}, text),
    inputs.map(([, input, label]) => h("label.field", {}, label, input)), said,
    h("div.row", {}, h("span.grow"), h("button", { type: "button", onclick: () => dialog.close() }, word("cancel")), go)));
  document.body.append(dialog);
  dialog.showModal();
  inputs[0][1].focus();
}
