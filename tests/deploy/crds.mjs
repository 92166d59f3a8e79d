// Validates custom resources: reads a JSON list of objects, prints a line for each that is wrong.
// Run with the cache's node_modules: node crds.mjs NODE_MODULES < objects.json
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "any.js"));
const packages = {
  "monitoring.coreos.com": "prometheus-operator",
  "keda.sh": "keda",
  "gateway.networking.k8s.io": "gateway-api",
  "networking.gke.io": "gke",
  "cloud.google.com": "gke",
};

let wrong = 0;
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const [group] = object.apiVersion.split("/");
  const name = `${object.kind} ${object.metadata.name}`;
  try {
    const models = require(`@kubernetes-models/${packages[group]}/${object.apiVersion}`);
    if (!models[object.kind]) throw new Error("no schema for this kind");
    new models[object.kind](object).validate();
  } catch (error) {
    wrong += 1;
    console.log(`${name}: ${error.message}`);
  }
}
process.exit(wrong ? 1 : 0);
