// undici's part: node bench/peer_undici.mjs ORIGIN PATH IN_FLIGHT SECONDS
// setup.py puts undici into the folder that BENCH_NODE_MODULES names.
import { createRequire } from "node:module";
import { pump } from "./pump.mjs";

const require = createRequire(process.env.BENCH_NODE_MODULES + "/");
const { Pool } = require("undici");

const [origin, path, inFlight, time] = process.argv.slice(2);
const pool = new Pool(origin, { connections: Number(inFlight), pipelining: 1 });

await pump(async () => {
  const { statusCode, body } = await pool.request({ path, method: "GET" });
  const text = await body.text();
  if (statusCode !== 200 || text.length !== 1024)
    throw new Error("unexpected answer");
}, Number(inFlight), Number(time));
await pool.close();
