// The part of node's own fetch: node bench/peer_fetch.mjs URL IN_FLIGHT SECONDS
import { pump } from "./pump.mjs";

const [url, inFlight, time] = process.argv.slice(2);

await pump(async () => {
  const response = await fetch(url);
  const text = await response.text();
  if (response.status !== 200 || text.length !== 1024)
    throw new Error("unexpected answer");
}, Number(inFlight), Number(time));
process.exit(0); // its idle connections would keep the process
