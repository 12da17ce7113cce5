// What the node peers share: as many loops as requests are in flight, a
// warm-up, and the line of JSON that lab.py reads.
const WARM_UP_SECONDS = 0.5; // the compiler of node needs longer than others

const seconds = () => Number(process.hrtime.bigint()) / 1e9;

function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

async function runFor(fetchOne, inFlight, time) {
  const stopAt = seconds() + time;
  let done = 0;
  const loop = async () => {
    while (seconds() < stopAt) {
      await fetchOne();
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  return done;
}

export async function pump(fetchOne, inFlight, time) {
  await runFor(fetchOne, inFlight, WARM_UP_SECONDS);
  const started = seconds();
  const cpu = cpuSeconds();
  const ops = await runFor(fetchOne, inFlight, time);
  console.log(JSON.stringify({
    ops, seconds: seconds() - started, cpu: cpuSeconds() - cpu,
  }));
}
