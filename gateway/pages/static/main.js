// Which page is shown, and what stands around it: head, banners, and whether one is let in at all.

import { ask, get } from "./api.js";
import { confirm } from "./dialog.js";
import { fill, h, paced, refill } from "./dom.js";
import { again, hear, start, state } from "./link.js";
import { look, setLanguage, setLook, setToken, token } from "./session.js";
import { empty, gate } from "./states.js";
import { isOld, tie, told } from "./banners.js";
import { lang, speak, word } from "./words.js";
import * as events from "./events.js";
import * as fleet from "./fleet.js";
import * as mine from "./mine.js";
import * as node from "./node.js";
import * as select from "./select.js";

const PAGES = [
  [/^\/$/, "fleet", fleet],
  [/^\/nodes\/([^/]+)$/, "fleet", node],
  [/^\/mine$/, "owner_page", mine],
  [/^\/select$/, "select_page", select],
  [/^\/events$/, "events", events],
];
const LINKS = [["/", "fleet"], ["/mine", "owner_page"], ["/select", "select_page"], ["/events", "events"]];

const at = (id) => document.getElementById(id);
let me = null;
// Whose page differs by who asks; the others are not drawn a second time once that is known.
const WHO = new Set([node, mine]);
let shown = null; // {update, end}
let showing = null; // its module
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
  showing = module;
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
    shown = module.show(page, { me, argument: decoded(pattern.exec(location.pathname)?.[1] ?? "") });
  }
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Somebody's own percent sign: no machine has it in its name.
  }
}

function enter(value) {
  setToken(value);
  me = null;
  gap = false;
  start();
  show();
  learnMe();
}

let learning = null;
async function learnMe() {
  const asked = (learning = {});
  const found = await get("/v1/me").catch(() => null); // The worker meets the same and says so.
  // An answer to a former token says nothing of this one.
  if (asked !== learning) return;
  learning = null;
  if (found === null) return;
  me = found;
  if (shownAs === "page" && !WHO.has(showing)) head(PAGES.find(([, , module]) => module === showing)[1]);
  else show();
}

function head(current) {
  const looks = ["auto", "light", "dark"];
  fill(
    at("top"),
    h("a.brand", { href: "/" }, h("img", { src: "/pages/favicon.svg", alt: "" }), word("title")),
    h("nav", { "aria-label": word("navigation") },
      LINKS.map(([path, name]) =>
        h("a", { href: path, "aria-current": name === current && location.pathname === path ? "page" : null }, word(name === "owner_page" && !me?.owner ? "owners_page" : name))),
      h("a", { href: "/docs", "data-plain": true }, word("api_docs"))),
    h("div.tools", {},
      h("span.link", { id: "link", role: "status" }),
      me && token() ? h("span.soft.who", {}, word(me.owner ? "token_of_owner" : "token_of", me)) : null,
      me && token() ? h("button", { type: "button", onclick: () => enter(null) }, word("token_leave")) : null,
      h("button", { type: "button", id: "look", onclick: () => { setLook(looks[(looks.indexOf(look()) + 1) % 3]); head(current); } },
        word("look", { look: word(`look_${look()}`) })),
      h("button", { type: "button", id: "language", lang: lang() === "zh" ? "en" : "zh", onclick: () => {
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
  const now = tie(state);
  if (link && link.textContent !== word(`link_${now}`)) {
    link.dataset.link = now;
    link.textContent = word(`link_${now}`);
  }
  at("page").toggleAttribute("data-stale", isOld(state));
  const shown_ = told({ state, gap, now: Date.now() });
  refill(at("banners"), [lang(), me?.role, shown_], () => shown_.map(({ name, values, to_do }) =>
    h("div.banner", { "data-banner": name },
      h("div", {}, h("strong", {}, word(`${name}_title`, values)), name === "gap" ? null : word(`${name}_text`, values)),
      doable(to_do))));
  // A banner's times go on; it is read aloud when it comes, and no more.
  refill(at("aloud"), [lang(), shown_.map(({ name }) => name)], () => shown_.map(({ name, values }) => `${word(`${name}_title`, values)}. `));
}

function doable(to_do) {
  const button = (text, onclick) => h("button", { type: "button", id: `to-do-${to_do}`, onclick }, word(text));
  if (to_do === "close") return button("close", () => { gap = false; around(); });
  if (to_do === "again") return button("try_now", again);
  if (to_do !== "release" || me?.role !== "admin" || me.owner) return null;
  return button("brake_release", () => confirm({
    title: word("brake_release"), text: word("brake_sure"), button: word("confirm_brake"),
    act: async ({ reason }) => {
      await ask("POST", "/v1/fleet/release-brake", { reason });
      again();
    },
  }));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (!link || link.dataset.plain !== undefined || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
  at("page").focus();
});
addEventListener("popstate", () => {
  show();
  at("page").focus({ preventScroll: true });
});

const redraw = paced(100, () => {
  const should = state.link === "refused" ? "gate"
    : state.listed && state.rows.size === 0 && location.pathname === "/" ? "empty" : "page";
  if (should !== shownAs) show();
  else around();
});
hear((ids, message) => {
  if (message.kind === "access") return enter(token());
  if (message.kind === "gap") gap = true;
  if (message.link === "live" && me === null && learning === null) learnMe();
  shown?.update?.(ids, message);
  redraw();
});
setInterval(around, 1000);

tongue(lang());
show();
start();
learnMe();
