// Every machine as a small cell on one canvas. The table says the same to those who don't see it.
//
// What keeps ten thousand cells cheap: where a cell lies changes only when machines come, go or change
// their group. All else repaints the cells of those that changed, at most once a frame.

import { paced } from "./dom.js";
import { whole } from "./format.js";
import { STATUSES } from "./store.js";
import { word } from "./words.js";

const HEAD = 22;
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/** {draw(rows, groupOf, rowOf), touch(ids)} on this canvas: `draw` lays out, `touch` repaints machines
 * of which only the look changed. `within(id)` is the group a machine lies in, `groups()` says all with
 * their numbers. A cell that is pointed at or walked to is named in `tip`, walked to in `said` too;
 * `open(id)` goes to one. */
export function drawMap({ canvas, frame, tip, said, open }) {
  let cells = []; // {id, group, x, y} in order
  let byId = new Map();
  let size = 12;
  let columns = 1;
  let heads = [];
  let width = 0;
  let height = 1;
  let colour = {};
  let rowOf = () => undefined;
  let touched = new Set();
  let all = true; // the next painting is of everything
  let chosen = null; // the id walked to

  function draw(rows, groupOf, row) {
    rowOf = row;
    lay(rows, groupOf);
  }

  function lay(rows, groupOf) {
    width = frame.clientWidth;
    if (!width) return;
    size = rows.length > 4000 ? 8 : rows.length > 800 ? 12 : rows.length > 200 ? 16 : 22;
    columns = Math.max(1, Math.floor(width / size));
    const groups = new Map();
    for (const row of rows) {
      const name = groupOf(row);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    cells = [];
    byId = new Map();
    heads = [];
    let y = 0;
    for (const name of [...groups.keys()].sort()) {
      const members = groups.get(name);
      if (name) { heads.push([name, members.length, y]); y += HEAD; }
      members.forEach((row, place) => {
        const cell = { id: row.node_id, group: name, x: (place % columns) * size, y: y + Math.floor(place / columns) * size };
        cells.push(cell);
        byId.set(cell.id, cell);
      });
      y += Math.ceil(members.length / columns) * size + (name ? 8 : 0);
    }
    height = Math.max(y, 1);
    all = true;
    soon();
  }

  /** These machines look different; repainted with the next frame. */
  function touch(ids) {
    for (const id of ids) touched.add(id);
    soon();
  }

  function pen() {
    const scale = Math.min(devicePixelRatio || 1, 2);
    const made = canvas.getContext("2d");
    if (all) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height}px`;
    }
    made.setTransform(scale, 0, 0, scale, 0, 0);
    return made;
  }

  function paint() {
    if (!width) return;
    const ink = pen();
    if (all) {
      const look = getComputedStyle(canvas);
      // light-dark() is only resolved on a real property: once a whole painting.
      colour = colours(frame);
      ink.fillStyle = look.color;
      ink.font = `600 13px ${look.fontFamily}`;
      ink.textBaseline = "middle";
      for (const [name, count, top] of heads) ink.fillText(`${name} · ${whole(count)}`, 0, top + HEAD / 2);
    }
    const inner = size - Math.max(2, Math.round(size / 7));
    const some = all ? cells : [...touched].map((id) => byId.get(id)).filter(Boolean);
    for (const cell of some) {
      const row = rowOf(cell.id);
      if (!all) ink.clearRect(cell.x - 1, cell.y - 1, size + 1, size + 1);
      if (row) shape(ink, row.status, cell.x + 1, cell.y + 1, inner - 1, colour[row.status] ?? colour.offline);
    }
    const walked = byId.get(chosen);
    if (walked && (all || touched.has(chosen))) {
      ink.strokeStyle = colour.ink;
      ink.lineWidth = 2;
      ink.strokeRect(walked.x, walked.y, inner + 1, inner + 1);
      ink.lineWidth = 1;
    }
    all = false;
    touched = new Set();
  }
  const soon = paced(0, paint);

  const tell = (row) => `${row.node_id} · ${word(`status_${row.status}`)} · ${word(`reason_${row.reason}`)}`;

  function under(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return cells.find((cell) => x >= cell.x && x < cell.x + size && y >= cell.y && y < cell.y + size);
  }

  function point(cell, x, y) {
    const row = cell && rowOf(cell.id);
    tip.hidden = !row;
    if (!row) return;
    tip.textContent = tell(row);
    tip.style.left = `${Math.max(8, Math.min(x + 12, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${y + 14}px`;
  }

  function walk(to) {
    const before = chosen;
    chosen = cells[to].id;
    // The frame lies over its neighbours' edges, so a former one is cleared by painting all.
    all ||= before !== null;
    touch([chosen]);
    const cell = cells[to];
    if (cell.y < frame.scrollTop) frame.scrollTop = cell.y - size;
    else if (cell.y + 2 * size > frame.scrollTop + frame.clientHeight) frame.scrollTop = cell.y + 2 * size - frame.clientHeight;
    const row = rowOf(cell.id);
    const box = canvas.getBoundingClientRect();
    point(cell, box.left + cell.x, box.top + cell.y + size);
    said.textContent = row ? `${tell(row)}, ${to + 1} / ${cells.length}` : "";
  }

  /** Up and down go to the cell above or below, over the edge of a group too. */
  function across(place, down) {
    const here = cells[place];
    const others = down ? cells.slice(place + 1) : cells.slice(0, place).reverse();
    const next = others.find((cell) => cell.y !== here.y)?.y;
    if (next === undefined) return place;
    const line = cells.map((cell, index) => [cell, index]).filter(([cell]) => cell.y === next);
    const near = line.reduce((best, one) => (Math.abs(one[0].x - here.x) < Math.abs(best[0].x - here.x) ? one : best));
    return near[1];
  }

  frame.addEventListener("keydown", (event) => {
    if (!cells.length || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = cells.findIndex((cell) => cell.id === chosen);
    const step = STEPS[event.key];
    if (event.key === "Enter" && place >= 0) open(chosen);
    else if (step !== undefined) walk(place < 0 ? 0 : Math.max(0, Math.min(cells.length - 1, place + step)));
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") walk(place < 0 ? 0 : across(place, event.key === "ArrowDown"));
    else if (event.key === "Escape") tip.hidden = true;
    else return;
    event.preventDefault();
  });
  frame.addEventListener("blur", () => { tip.hidden = true; chosen = null; all = true; soon(); });
  canvas.addEventListener("pointermove", (event) => point(under(event), event.clientX, event.clientY));
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (event) => {
    const cell = under(event);
    if (cell) open(cell.id);
  });
  const repaint = () => { all = true; soon(); };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", repaint);
  const look = new MutationObserver(repaint);
  look.observe(document.documentElement, { attributeFilter: ["data-look"] });
  return {
    draw, touch, within: (id) => byId.get(id)?.group,
    groups: () => heads.map(([name, count]) => `${name} ${whole(count)}`).join(", "),
    end: () => { dark.removeEventListener("change", repaint); look.disconnect(); },
  };
}

/** Told by shape as well as by colour. */
function shape(pen, status, x, y, inner, colour) {
  pen.fillStyle = pen.strokeStyle = colour;
  if (status === "ready") pen.fillRect(x, y, inner, inner);
  else if (status === "draining") {
    pen.fillRect(x, y + inner / 2, inner, inner / 2);
    pen.strokeRect(x + 0.5, y + 0.5, inner - 1, inner - 1);
  } else if (status === "degraded") {
    pen.beginPath();
    pen.moveTo(x + inner / 2, y);
    pen.lineTo(x + inner, y + inner);
    pen.lineTo(x, y + inner);
    pen.fill();
  } else if (status === "registering") {
    pen.fillRect(x + inner / 4, y + inner / 4, inner / 2, inner / 2);
  } else pen.strokeRect(x + 0.5, y + 0.5, inner - 1, inner - 1);
}

function colours(frame) {
  const found = { ink: getComputedStyle(frame).color };
  const probe = document.createElement("span");
  frame.append(probe);
  for (const status of STATUSES) {
    probe.className = `s-${status}`;
    found[status] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
