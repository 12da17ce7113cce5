// The part of node's ws: node bench/ws/peer_ws.mjs HOST PORT text|binary SIZE
// IN_FLIGHT SECONDS [CA_FILE]. See load.h; setup.py puts ws into the folder
// that BENCH_NODE_MODULES names.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.BENCH_NODE_MODULES + "/");
const WebSocket = require("ws");

const WARM_UP_SECONDS = 0.5; // the compiler of node needs longer than others

const [host, port, type, size, inFlight, seconds, caFile] =
  process.argv.slice(2);
const message = type === "binary"
  ? Buffer.alloc(Number(size), "a") : "a".repeat(Number(size));

const now = () => Number(process.hrtime.bigint()) / 1e9;

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

let done = 0;
let measuring = false;
let began = now();
let beganCpu = 0;

// False when the time is over.
function goesOn() {
  const time = now() - began;
  if (!measuring && time >= WARM_UP_SECONDS) {
    measuring = true;
    done = 0;
    began = now();
    beganCpu = cpuSeconds();
  } else if (measuring && time >= Number(seconds)) {
    console.log(JSON.stringify({
      ops: done, seconds: time, cpu: cpuSeconds() - beganCpu,
    }));
    return false;
  }
  return true;
}

const socket = new WebSocket(
  `${caFile ? "wss" : "ws"}://${host}:${port}/`,
  { perMessageDeflate: false, ca: caFile && readFileSync(caFile) });
socket.on("open", () => {
  for (let i = 0; i < Number(inFlight); i++)
    socket.send(message);
});
let over = false;
socket.on("message", (data, isBinary) => {
  if (over)
    return;
  if (data.length !== Number(size) || isBinary !== (type === "binary"))
    throw new Error("not what was sent");
  done++;
  over = !goesOn();
  if (over)
    socket.terminate();
  else
    socket.send(message);
});
