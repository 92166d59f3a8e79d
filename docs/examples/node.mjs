// A GPU machine in Node.js: registers, beats, tells what it is told, comes back after every break.
//
//   node node.mjs [ws://127.0.0.1:8080/ws/node]
//
// Node 22 and later bring a WebSocket client; with an older one, `npm install ws` first.
// GPUs are asked of nvidia-smi. Without it, GPU="RTX 4090,24" pretends one (name, GiB): such a node
// says that it is simulated, and only some fleets let it in.
// The id and its token are kept in node-identity.json, so that the machine stays the same one.

import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";

const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket;

const url = process.argv[2] ?? "ws://127.0.0.1:8080/ws/node";
const identityFile = "node-identity.json";
const bootId = randomUUID(); // tells this start of the program from any other

let identity = existsSync(identityFile) ? JSON.parse(readFileSync(identityFile, "utf8")) : {};
let attempt = 0; // connections of this start
let failures = 0; // of them in a row that came to nothing
let version = 0; // of the last status told
let socket;
let beating;
let leaving = false;

function gpus() {
  if (process.env.GPU) {
    const [name, memory] = process.env.GPU.split(",");
    return [{ name, memory_gb: Number(memory) }];
  }
  const query = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"];
  const lines = execFileSync("nvidia-smi", query, { encoding: "utf8" }).trim().split("\n");
  return lines.map((line) => {
    const [name, memory] = line.split(", ");
    return { name, memory_gb: Number(memory) / 1024 };
  });
}

function registration() {
  return {
    type: "node_register",
    node_id: identity.node_id ?? null,
    node_token: identity.node_token ?? null,
    boot_id: bootId,
    attempt,
    version: "1.0.0",
    platform: process.platform, // the server knows win32 and darwin
    hardware: {
      cpu_cores: os.cpus().length,
      memory_gb: os.totalmem() / 2 ** 30,
      gpus: gpus(),
    },
    installed_models: [
      { model_id: "nmt-zh-en", kind: "nmt", src_lang: "zh", tgt_lang: "en", version: "1.0.0" },
    ],
    labels: process.env.GPU ? { simulated: "true" } : {},
  };
}

function send(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function beat() {
  const busy = (os.loadavg()[0] / os.cpus().length) * 100;
  send({ type: "node_heartbeat", resource_usage: { cpu_percent: busy, running_jobs: 0 } });
}

const frames = {
  node_register_ack(ack) {
    failures = 0;
    version = ack.version;
    identity = { node_id: ack.node_id, node_token: ack.node_token ?? identity.node_token };
    writeFileSync(identityFile, JSON.stringify(identity));
    console.log(`${ack.node_id} ${ack.resumed ? "goes on as" : "is"} ${ack.status}`);
    clearInterval(beating);
    beating = setInterval(beat, ack.heartbeat_interval_ms);
    beat();
  },
  node_status(change) {
    if (change.version < version) return; // overtaken by a later one
    version = change.version;
    console.log(`${change.node_id} is ${change.status} (${change.reason}): ${change.message}`);
  },
  node_error(error) {
    console.error(`${error.code}: ${error.message}`);
    const wait = error.details?.retry_after_ms;
    if (error.code === "NODE_ID_CONFLICT" && wait === undefined) identity = {};
    const again = ["NODE_ID_CONFLICT", "NOT_REGISTERED", "RATE_LIMITED", "UNAVAILABLE"];
    // The rest is for a person to mend; the socket stays open for that.
    if (again.includes(error.code)) setTimeout(() => send(registration()), wait ?? 1000);
  },
  reconnect() {}, // the socket is about to be closed, which says the same
};

function connect() {
  attempt += 1;
  const opened = (socket = new WebSocket(url));
  opened.onopen = () => send(registration());
  opened.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    frames[frame.type]?.(frame); // types that are not known are passed over
  };
  // A close follows an error, but not in every client where there was nobody to connect to.
  opened.onerror = () => setTimeout(ended, 100, opened, 1006);
  opened.onclose = ({ code }) => ended(opened, code);
}

function ended(which, code) {
  if (which !== socket) return; // known already
  socket = null;
  clearInterval(beating);
  if (leaving) process.exit(0);
  if (code >= 4500) {
    console.error(`closed with ${code}: a person must see to it`);
    process.exit(1);
  }
  failures += 1;
  const most = code === 1001 || code === 1012 ? 1000 : Math.min(60_000, 500 * 2 ** failures);
  setTimeout(connect, Math.random() * most); // not all machines at once
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    leaving = true;
    if (socket?.readyState !== WebSocket.OPEN) process.exit(0);
    send({ type: "node_unregister", reason: "stopped by its owner", drain: false });
    socket.close();
  });
}

connect();
