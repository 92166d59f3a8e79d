// Which page is shown, and what stands around it: head, banners, and whether one is let in at all.

import { get } from "./api.js";
import { fill, h, paced, refill } from "./dom.js";
import { duration } from "./format.js";
import { again, hear, start, state } from "./link.js";
import { look, setLanguage, setLook, setToken, token } from "./session.js";
import { empty, gate } from "./states.js";
import { lang, speak, word } from "./words.js";
import * as events from "./events.js";
import * as fleet from "./fleet.js";
import * as node from "./node.js";

const PAGES = [
  [/^\/$/, "fleet", fleet],
  [/^\/nodes\/([^/]+)$/, "fleet", node],
  [/^\/events$/, "events", events],
];
const LINKS = [["/", "fleet"], ["/events", "events"]];

const at = (id) => document.getElementById(id);
let me = null;
let shown = null; // {update, end}
let shownAs = "";
let gap = false;

export function go(path) {
  history.pushState(null, "", path);
  show();
}

function show() {
  shown?.end?.();
  shown = null;
  const page = at("page");
  page.replaceChildren();
  delete page.dataset.key;
  const found = PAGES.find(([pattern]) => pattern.test(location.pathname)) ?? PAGES[0];
  const [pattern, name, module] = found;
  head(name);
  document.title = `${word(name)} · ${word("title")}`;
  if (state.link === "refused") {
    shownAs = "gate";
    gate(page, state.problem, enter);
  } else if (state.listed && state.rows.size === 0 && module === fleet) {
    shownAs = "empty";
    empty(page, me);
  } else {
    shownAs = "page";
    shown = module.show(page, { me, argument: decodeURIComponent(pattern.exec(location.pathname)?.[1] ?? "") });
  }
}

function enter(value) {
  setToken(value);
  state.link = "connecting";
  start();
  learnMe();
  show();
}

async function learnMe() {
  try {
    me = await get("/v1/me");
  } catch {
    me = null;
    return; // The worker meets the same and says so.
  }
  show();
}

function head(current) {
  const looks = ["auto", "light", "dark"];
  fill(
    at("top"),
    h("a.brand", { href: "/" }, h("img", { src: "/pages/favicon.svg", alt: "" }), word("title")),
    h("nav", { "aria-label": word("navigation") },
      LINKS.map(([path, name]) =>
        h("a", { href: path, "aria-current": name === current && location.pathname === path ? "page" : null }, word(name))),
      h("a", { href: "/docs", "data-plain": true }, word("api_docs"))),
    h("div.tools", {},
      h("span.link", { id: "link", role: "status" }),
      me && token() ? h("button", { type: "button", onclick: () => enter(null) }, word("token_leave")) : null,
      h("button", { type: "button", onclick: () => { setLook(looks[(looks.indexOf(look()) + 1) % 3]); head(current); } },
        word("look", { look: word(`look_${look()}`) })),
      h("button", { type: "button", lang: lang() === "zh" ? "en" : "zh", onclick: () => {
        const next = lang() === "zh" ? "en" : "zh";
        setLanguage(next);
        tongue(next);
        show();
      } }, word("other_language"))),
  );
  around();
}

function tongue(value) {
  speak(value);
  document.documentElement.lang = value;
  at("skip").textContent = word("skip");
}

/** What is said above every page. */
function around() {
  const link = at("link");
  if (link && link.textContent !== word(`link_${state.link}`)) {
    link.dataset.link = state.link;
    link.textContent = word(`link_${state.link}`);
  }
  at("page").toggleAttribute("data-stale", state.link === "reconnecting");
  const told = [];
  const down = [state.numbersProblem?.code, state.problem?.code].includes("UNAVAILABLE");
  if (down) told.push(["store_title", "store_text"]);
  else if (state.link === "reconnecting") told.push(["stale_title", "stale_text"]);
  const { watch, brake, sweepers } = state.numbers ?? {};
  if (watch && watch.watched < watch.partitions && !down) {
    told.push(["watch_title", "watch_text", { watched: watch.watched, partitions: watch.partitions, sweepers }]);
  }
  if (brake) told.push(["brake_title", "brake_text", {
    ago: duration(state.numbers.now - brake.since),
    until: new Date(brake.until).toLocaleTimeString(),
    waiting: brake.waiting,
  }]);
  if (gap) told.push(["gap_title", null]);
  // The minutes of a break are no reason to read the banner aloud anew.
  const ago = state.stale ? Math.floor((Date.now() - state.stale) / 10_000) * 10_000 : 0;
  refill(at("banners"), [lang(), ago, told], () =>
    told.map(([title, text, values]) =>
      h("div.banner", {},
        h("div", {}, h("strong", {}, word(title, { ago: duration(ago) })), text ? word(text, values ?? {}) : null),
        title === "gap_title"
          ? h("button", { type: "button", onclick: () => { gap = false; around(); } }, word("close"))
          : title === "stale_title" || title === "store_title"
            ? h("button", { type: "button", onclick: again }, word("try_now")) : null)));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (!link || link.dataset.plain !== undefined || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
  at("page").focus();
});
addEventListener("popstate", show);

const redraw = paced(100, () => {
  const should = state.link === "refused" ? "gate"
    : state.listed && state.rows.size === 0 && location.pathname === "/" ? "empty" : "page";
  if (should !== shownAs) show();
  else around();
});
hear((ids, message) => {
  if (message.kind === "gap") gap = true;
  shown?.update?.(ids, message);
  redraw();
});
setInterval(around, 1000);

tongue(lang());
show();
start();
learnMe();
