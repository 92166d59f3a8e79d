// Validates custom resources: reads a JSON list of objects, prints a line for each that is wrong.
// Run with the cache's node_modules: node crds.mjs NODE_MODULES < objects.json
//
// The schemas let fields pass that they do not know, which a cluster drops without a word. Their
// validators are compiled, and read every field they know: one that was never read is unknown.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const packages = {
  "monitoring.coreos.com": "prometheus-operator",
  "keda.sh": "keda",
  "gateway.networking.k8s.io": "gateway-api",
  "networking.gke.io": "gke",
  "cloud.google.com": "gke",
};

// The kind's own file alone: Google's package has thousands.
async function model({ apiVersion, kind }) {
  const [group] = apiVersion.split("/");
  const at = join(process.argv[2], "@kubernetes-models", String(packages[group]), apiVersion, kind);
  const file = [`${at}.mjs`, `${at}.js`].find(existsSync);
  if (!file) throw new Error(`no schema of ${apiVersion}`);
  return (await import(pathToFileURL(file)))[kind];
}

// A value like `value` whose fields, while unread, are in `unread` by their paths.
function watched(value, path, unread) {
  if (value === null || typeof value !== "object") return value;
  const inner = Array.isArray(value) ? [] : {};
  for (const [name, field] of Object.entries(value)) {
    const own = `${path}.${name}`;
    const kept = watched(field, own, unread);
    unread.add(own);
    const get = () => (unread.delete(own), kept);
    Object.defineProperty(inner, name, { get, enumerable: true });
  }
  return inner;
}

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const unread = new Set();
  try {
    const made = new (await model(object))(object);
    made.spec = watched(object.spec, "spec", unread);
    made.validate();
    if (unread.size) throw new Error(`unknown: ${[...unread].join(", ")}`);
  } catch (error) {
    console.log(`${object.kind} ${object.metadata.name}: ${error.message}`);
  }
}
