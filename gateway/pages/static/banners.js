// What stands above every page while something is not as it should be, and what can be done. Pure
// but for the words of durations.

import { clockTime, duration } from "./format.js";
import { word } from "./words.js";

const MASS_MS = 15 * 60_000; // how long after it many machines' silence is worth a banner
const STEP_MS = 10_000;

const down = (state) => [state.numbersProblem?.code, state.problem?.code].includes("UNAVAILABLE");

/** How the page's tie to the fleet is called: "store" where the gateway answers and its store does not. */
export const tie = (state) => (state.link === "live" && down(state) ? "store" : state.link);

/** Whether what is shown is how it was, not how it is. */
export const isOld = (state) => state.link === "reconnecting" || down(state);

/** [{name, values, to_do}], the gravest first. `now` is this machine's clock, ms. */
export function told({ state, gap, now }) {
  const found = [];
  const { numbers } = state;
  // Times go on in steps: they are no reason to read a banner aloud anew.
  const about = (ms) => (ms < STEP_MS ? word("few_s") : duration(Math.floor(ms / STEP_MS) * STEP_MS));
  const ago = about(state.stale ? now - state.stale : 0);
  if (down(state)) found.push({ name: "store", to_do: "again" });
  else if (state.link === "reconnecting") found.push({ name: "stale", values: { ago }, to_do: "again" });
  const { watch, brake, mass_expiry: mass, sweepers } = numbers ?? {};
  if (watch && watch.watched < watch.partitions && !down(state)) {
    const { watched, partitions } = watch;
    const time = watch.stalest_ms === null ? "–" : about(watch.stalest_ms);
    found.push({ name: "watch", values: { watched, partitions, sweepers, time } });
  }
  if (brake) {
    const values = { ago: about(numbers.now - brake.since), until: clockTime(brake.until), waiting: brake.waiting };
    found.push({ name: "brake", values, to_do: "release" });
  }
  if (mass && numbers.now - mass.at < MASS_MS) {
    found.push({ name: "mass", values: { ago: about(numbers.now - mass.at), lost: mass.lost, living: mass.living } });
  }
  if (gap) found.push({ name: "gap", to_do: "close" });
  return found;
}
