// Node.js's `ws` as it is told to by lines of JSON: node client.mjs URL DIRECTORY-OF-PACKAGES
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [url, packages] = process.argv.slice(2);
const { WebSocket } = createRequire(`${packages}/`)("ws");
const say = (...what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const socket = new WebSocket(url, { perMessageDeflate: true });
socket.on("open", () => say("open", null));
socket.on("message", (data) => say("message", data.toString()));
socket.on("pong", () => say("pong", null));
socket.on("close", (code) => say("close", code));
socket.on("error", () => {});

const told = {
  send: (text, fin) => socket.send(text, { fin, compress: false }),
  bytes: (data) => socket.send(Buffer.from(data)),
  ping: () => socket.ping("x"),
  close: (code) => socket.close(code),
};
createInterface({ input: process.stdin }).on("line", (line) => {
  const [verb, ...rest] = JSON.parse(line);
  told[verb](...rest);
});
