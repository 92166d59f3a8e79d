// Elements from values. Text is always text: nothing that a machine says is read as markup.

/** h("a.quiet", { href: "/" }, "home"): an element with classes, properties and children. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  set(element, props);
  element.append(...flat(children));
  return element;
}

/** The same for SVG. */
export function svg(name, props = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(props)) element.setAttribute(key, String(value));
  element.append(...flat(children));
  return element;
}

function set(element, props) {
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
}

const flat = (children) =>
  children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** Puts children in place of the old ones. Who has the focus among them keeps it, if it is there
 * afterwards: itself, or another with its id. */
export function fill(element, ...children) {
  const held = element.contains(document.activeElement) ? document.activeElement : null;
  element.replaceChildren(...flat(children));
  if (held) (held.isConnected ? held : document.getElementById(held.id))?.focus({ preventScroll: true });
}

/** Puts children in place of the old ones only if what they are made of changed: focus and
 * selection stay while nothing does. */
export function refill(element, key, make) {
  const text = JSON.stringify(key);
  if (element.dataset.key === text) return;
  element.dataset.key = text;
  fill(element, make());
}

const SHARE = 10;

/** At most one call a frame, at most one every `ms`, and at most a tenth of the time spent in it: the
 * more it costs, the rarer it is. The last one is never left out. */
export function paced(ms, call) {
  let waiting = false;
  let ended = -Infinity;
  let cost = 0;
  const run = () => {
    waiting = false;
    const began = performance.now();
    call();
    ended = performance.now();
    cost = ended - began;
  };
  return () => {
    if (waiting) return;
    waiting = true;
    const rest = Math.max(ms, SHARE * cost) - (performance.now() - ended);
    // A page in the background gets no frames, and needs none until it is looked at.
    if (rest > 0) setTimeout(() => requestAnimationFrame(run), rest);
    else requestAnimationFrame(run);
  };
}
