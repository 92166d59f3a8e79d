// Whose fault it was that a machine could not work: the events of a time made into parts of it.
// Pure, so that it can be tried out without a browser.
//
// up: ready. theirs: unfit, or silent while its gateway was there. ours: silent as its gateway was
// gone, or time in which nobody watched, whatever the machine did in it. planned: warming up, drained,
// or gone as it asked. unknown: from before it joined, or not kept any more.

export const KINDS = ["up", "theirs", "ours", "planned", "unknown"];

/** What is kept of an event for this; null of one that changes no status. */
export function brief(event) {
  if (event.to === undefined) return null;
  const { blame, facts } = event.evidence ?? {};
  return {
    at: event.at, version: event.version, from: event.from, to: event.to, reason: event.reason, type: event.type, blame,
    was: facts?.since === undefined ? null : { since: facts.since, reason: facts.reason },
  };
}

/** An event of unobserved time as {from, to}; null of any other. */
export function outage(event) {
  const ms = event.type === "unobserved" ? event.detail?.ms : 0;
  return ms > 0 ? { from: event.at - ms, to: event.at } : null;
}

function kindOf(status, reason, blame, before) {
  if (status === "ready") return "up";
  if (status === "draining") return "planned";
  if (status === "offline") {
    if (reason === "heartbeat_timeout") return blame === "platform" ? "ours" : "theirs";
    return "planned";
  }
  // Warming up again after an outage of ours is part of it.
  if (status === "registering") return before === "ours" ? "ours" : "planned";
  return "theirs";
}

/** The machine's time between two instants as [{from, to, kind}], in order and without holes.
 * `events` are briefs of this machine, oldest first; `blame` that of its row, if it is offline. */
export function parts(row, events, outages, from, to, blame = null) {
  const points = [{ at: from, kind: "unknown" }];
  let kind = "unknown";
  const add = (at, status, reason, whose) => {
    kind = kindOf(status, reason, whose, kind);
    points.push({ at: Math.max(from, at), kind });
  };
  const [first] = events;
  // What it was before the first event is in that event's evidence, since when too.
  if (first?.from) add(first.was?.since ?? from, first.from, first.was?.reason, null);
  for (const event of events) {
    if (event.type === "restore") kind = "ours"; // the store had lost it
    add(event.at, event.to, event.reason, event.blame);
  }
  const last = events.at(-1);
  if (!last || row.since > last.at) add(row.since, row.status, row.reason, blame);
  const found = [];
  points.forEach((point, place) => {
    const end = Math.min(to, points[place + 1]?.at ?? to);
    if (end > point.at) found.push({ from: point.at, to: end, kind: point.kind });
  });
  return joined(outages.reduce(over, found));
}

/** The parts with an outage of ours laid over them. Who was away by plan stays so. */
function over(found, gap) {
  return found.flatMap((part) => {
    const [low, high] = [Math.max(part.from, gap.from), Math.min(part.to, gap.to)];
    if (low >= high || part.kind === "planned" || part.kind === "unknown") return [part];
    return [
      { ...part, to: low }, { from: low, to: high, kind: "ours" }, { ...part, from: high },
    ].filter((piece) => piece.to > piece.from);
  });
}

function joined(found) {
  const made = [];
  for (const part of found) {
    const last = made.at(-1);
    if (last?.kind === part.kind) last.to = part.to;
    else made.push({ ...part });
  }
  return made;
}

/** Milliseconds of each kind, and the share of the time that counts in which it was ready; null if
 * none counts. Our outages and what was planned count neither for nor against. */
export function sum(found) {
  const total = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  for (const part of found) total[part.kind] += part.to - part.from;
  const counted = total.up + total.theirs;
  return { ...total, share: counted ? total.up / counted : null };
}
