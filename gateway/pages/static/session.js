// What this browser remembers: the token for this tab alone, language and look for longer.
// Nothing of it is ever put into an address.

const TOKEN = "muster.token";
const LANGUAGE = "muster.language";
const LOOK = "muster.look";

const kept = { [TOKEN]: null, [LANGUAGE]: null, [LOOK]: null };

function read(storage, name) {
  try {
    return globalThis[storage].getItem(name) ?? kept[name];
  } catch {
    return kept[name]; // Storage may be forbidden: then it is forgotten with the page.
  }
}

function write(storage, name, value) {
  kept[name] = value;
  try {
    if (value === null) globalThis[storage].removeItem(name);
    else globalThis[storage].setItem(name, value);
  } catch {
    // Kept for this page alone.
  }
}

export const token = () => read("sessionStorage", TOKEN);
export const setToken = (value) => write("sessionStorage", TOKEN, value || null);

/** "zh" or "en": what was chosen, else what the browser asks for. */
export function language() {
  const chosen = read("localStorage", LANGUAGE);
  if (chosen === "zh" || chosen === "en") return chosen;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}
export const setLanguage = (value) => write("localStorage", LANGUAGE, value);

/** "auto", "light" or "dark". */
export const look = () => read("localStorage", LOOK) ?? "auto";
export function setLook(value) {
  write("localStorage", LOOK, value === "auto" ? null : value);
  if (value === "auto") delete document.documentElement.dataset.look;
  else document.documentElement.dataset.look = value;
}
