// Every machine as a small cell on one canvas. The table says the same to those who don't see it.

import { word } from "./words.js";

const HEAD = 22;

/** {draw(rows, groupOf)} on this canvas; a cell that is pointed at is named in `tip`. */
export function drawMap(canvas, tip) {
  let cells = [];
  let size = 12;

  function draw(rows, groupOf) {
    const width = canvas.parentElement.clientWidth;
    if (!width) return;
    size = rows.length > 4000 ? 8 : rows.length > 800 ? 11 : rows.length > 100 ? 16 : 24;
    const columns = Math.max(1, Math.floor(width / size));
    const groups = new Map();
    for (const row of rows) {
      const name = groupOf(row);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    const names = [...groups.keys()].sort();
    let y = 0;
    const heads = [];
    cells = [];
    for (const name of names) {
      if (name) { heads.push([name, groups.get(name).length, y]); y += HEAD; }
      groups.get(name).forEach((row, place) => {
        cells.push({ row, x: (place % columns) * size, y: y + Math.floor(place / columns) * size });
      });
      y += Math.ceil(groups.get(name).length / columns) * size + (name ? 8 : 0);
    }
    paint(width, Math.max(y, 1), heads);
  }

  function paint(width, height, heads) {
    const scale = Math.min(devicePixelRatio || 1, 2);
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const look = getComputedStyle(canvas);
    // Colours are computed once a drawing: light-dark() is only resolved on a real property.
    const colour = colours(canvas);
    pen.fillStyle = look.color;
    pen.font = `600 13px ${look.fontFamily}`;
    pen.textBaseline = "middle";
    for (const [name, count, top] of heads) pen.fillText(`${name} · ${count}`, 0, top + HEAD / 2);
    const inner = size - Math.max(2, Math.round(size / 7));
    for (const { row, x, y } of cells) shape(pen, row.status, x, y, inner, colour[row.status] ?? look.color);
  }

  function under(event) {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return cells.find((cell) => x >= cell.x && x < cell.x + size && y >= cell.y && y < cell.y + size);
  }
  canvas.addEventListener("pointermove", (event) => {
    const cell = under(event);
    tip.hidden = !cell;
    if (!cell) return;
    tip.textContent = `${cell.row.node_id} · ${word(`status_${cell.row.status}`)} · ${word(`reason_${cell.row.reason}`)}`;
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - 330)}px`;
    tip.style.top = `${event.clientY + 14}px`;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("click", (event) => {
    const cell = under(event);
    if (!cell) return;
    history.pushState(null, "", `/nodes/${encodeURIComponent(cell.row.node_id)}`);
    dispatchEvent(new PopStateEvent("popstate"));
  });
  return { draw };
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

function colours(canvas) {
  const found = {};
  const probe = document.createElement("span");
  canvas.parentElement.append(probe);
  for (const status of ["ready", "registering", "degraded", "draining", "offline"]) {
    probe.className = `s-${status}`;
    found[status] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
