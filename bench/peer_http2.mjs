// The part of node's http2 module, all streams on one connection:
//   node bench/peer_http2.mjs ORIGIN PATH IN_FLIGHT SECONDS CA_FILE
import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import { pump } from "./pump.mjs";

const [origin, path, inFlight, time, caFile] = process.argv.slice(2);
const session = connect(origin, { ca: readFileSync(caFile) });

const fetchOne = () => new Promise((resolve, reject) => {
  const stream = session.request({ ":path": path });
  const chunks = [];
  let status;
  stream.on("response", (headers) => { status = headers[":status"]; });
  stream.on("data", (chunk) => chunks.push(chunk));
  stream.on("error", reject);
  stream.on("end", () => {
    if (status === 200 && Buffer.concat(chunks).length === 1024)
      resolve();
    else
      reject(new Error("unexpected answer"));
  });
  stream.end();
});

await pump(fetchOne, Number(inFlight), Number(time));
session.close();
