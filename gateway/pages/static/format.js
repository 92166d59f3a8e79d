// Instants, durations and numbers as people read them. Instants are the store's clock, ms; how far
// this machine's clock is off is learnt from the answers, and only shown values are corrected.

import { word, lang } from "./words.js";

let ahead = 0;

/** Notes what the store's clock said just now. */
export function learnNow(now) {
  if (now) ahead = now - Date.now();
}
export const storeNow = () => Date.now() + ahead;

const locale = () => (lang() === "zh" ? "zh-CN" : "en-GB");
const here = (at) => new Date(at - ahead);

export const clockTime = (at) => here(at).toLocaleTimeString(locale(), { hourCycle: "h23" });
export function instant(at) {
  const same = here(at).toDateString() === new Date().toDateString();
  const day = here(at).toLocaleDateString(locale(), { month: "short", day: "numeric" });
  return same ? clockTime(at) : `${day} ${clockTime(at)}`;
}
export const whole = (value) => Number(value).toLocaleString(locale());

/** 3 min 20 s: the two greatest units. */
export function duration(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => s >= size);
  if (first < 0) return `0 ${word("unit_s")}`;
  const [name, size] = units[first];
  const parts = [`${Math.floor(s / size)} ${word(`unit_${name}`)}`];
  const next = units[first + 1];
  const rest = next ? Math.floor((s % size) / next[1]) : 0;
  if (rest && first < 3) parts.push(`${rest} ${word(`unit_${next[0]}`)}`);
  return parts.join(" ");
}

/** A countdown: 1:05, or 2:00:09. */
export function countdown(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
}

export const percent = (share) => `${(share * 100).toFixed(share > 0.9995 || share === 0 ? 0 : share > 0.99 ? 2 : 1)} %`;

/** A value of evidence or a lack as one line. */
export function brief(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.length ? value.map(brief).join(", ") : "–";
  if (typeof value === "object") {
    return Object.entries(value).map(([name, part]) => `${name}: ${brief(part)}`).join(", ");
  }
  return String(value);
}
