// What a job needs, in three forms: the page's address, the body of POST /v1/select, and the query of
// an explanation. Pure.

const LISTS = ["models", "features", "advanced_features", "avoid"];
const NUMBERS = ["min_gpu_memory_gb"];
export const CEILINGS = ["cpu_percent", "gpu_percent", "mem_percent", "gpu_queue_length"];
const TEXTS = ["kind", "src_lang", "tgt_lang"];
export const FIELDS = [...TEXTS, ...LISTS, "labels", ...NUMBERS, ...CEILINGS, "private"];

const listed = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

/** Fields by name, as they stand in a form; what is empty is left out. */
export function fromAddress(search) {
  const asked = new URLSearchParams(search);
  return Object.fromEntries(FIELDS.filter((name) => asked.get(name)).map((name) => [name, asked.get(name)]));
}
export const toAddress = (fields) => String(new URLSearchParams(fields));

/** What of it is no label with a value. */
export const unreadable = (text) => listed(text).filter((part) => !/^[^=!]+!?=/.test(part));

/** `region=eu|us, owner!=lab` as {region: ["eu", "us"], owner: {not: ["lab"]}}; one value stands alone. */
export function labels(text) {
  const found = {};
  for (const part of listed(text)) {
    const [, name, not, values] = /^([^=!]+)(!?)=(.*)$/.exec(part) ?? [null, part, "", ""];
    const some = values.split("|").map((value) => value.trim());
    found[name.trim()] = not ? { not: some } : some.length > 1 ? some : some[0];
  }
  return found;
}

/** What POST /v1/select takes. */
export function body(fields) {
  const made = {};
  for (const name of TEXTS) if (fields[name]) made[name] = fields[name];
  for (const name of LISTS) if (fields[name]) made[name] = listed(fields[name]);
  if (fields.labels) made.labels = labels(fields.labels);
  for (const name of NUMBERS) if (fields[name]) made[name] = Number(fields[name]);
  const ceilings = CEILINGS.filter((name) => fields[name]).map((name) => [name, Number(fields[name])]);
  if (ceilings.length) made.ceilings = Object.fromEntries(ceilings);
  if (fields.private) made.public = false;
  return made;
}

/** What GET /v1/nodes/{id}/explain takes. */
export function query(fields) {
  const made = new URLSearchParams();
  for (const name of [...TEXTS, ...NUMBERS, ...CEILINGS]) if (fields[name]) made.set(name, fields[name]);
  const single = { models: "model", features: "feature", advanced_features: "advanced_feature" };
  for (const [name, one] of Object.entries(single)) for (const value of listed(fields[name] ?? "")) made.append(one, value);
  for (const part of listed(fields.labels ?? "")) made.append("label", part.replaceAll("|", ","));
  if (!String(made) || fields.private) made.set("public", String(!fields.private));
  return String(made);
}

/** The same request at a shell; a single quote within is closed, escaped and opened again. */
export function curl(origin, fields, withToken) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  return [
    `curl -X POST ${quoted(`${origin}/v1/select/explain`)}`,
    withToken ? `-H "Authorization: Bearer $MUSTER_TOKEN"` : null,
    `-H 'Content-Type: application/json'`,
    `-d ${quoted(JSON.stringify(body(fields)))}`,
  ].filter(Boolean).join(" ");
}
