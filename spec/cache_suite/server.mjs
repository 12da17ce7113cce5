// Runs the server of http-cache-tests on a free port of the loopback interface
// and ends with stdin: node server.mjs PACKAGE TESTS. What it prints is a line
// of JSON, {"http": port}. The suite's tests and those of more.mjs go to the file
// TESTS first, with what its own client would send to the server for each
// (`config`).

import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";

import more from "./more.mjs";

const [folder, target] = process.argv.slice(2);

function load(file) {
  return import(pathToFileURL(path.join(folder, file)));
}

const { default: theirs } = await load("tests/index.mjs");
const tests = [...theirs, ...more].flatMap(group => group.tests.map(test => {
  const inflated = test.requests.map(request =>
    ({ ...request, name: test.name, id: test.id }));
  return { kind: "required", ...test, group: group.id, requests: inflated,
    config: JSON.stringify(inflated) };
}));
fs.writeFileSync(target, JSON.stringify(tests));

// The suite's server would listen on every interface, and talks on stdout.
console.log = console.error;
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function () {
  this.once("listening", () =>
    fs.writeSync(1, `{"http": ${this.address().port}}\n`));
  return listen.call(this, 0, "127.0.0.1");
};
process.env.npm_config_protocol = "http";
process.env.npm_config_port = "0";
process.env.npm_config_pidfile = `${target}.pid`;
// Its folder of files, of which one is fetched: the tests.
process.chdir(path.dirname(target));
process.stdin.on("end", () => process.exit(0)).resume();
await load("server/server.mjs");
