"""The part of Python's websockets: peer_websockets.py HOST PORT text|binary SIZE
IN_FLIGHT SECONDS [CA_FILE]. See load.h."""

import asyncio
import json
import resource
import ssl
import sys
import time

import websockets

WARM_UP_SECONDS = 0.3


def cpu_seconds():
    use = resource.getrusage(resource.RUSAGE_SELF)
    return use.ru_utime + use.ru_stime


async def run_for(socket, message, seconds):
    """Messages that came back; as many go out anew."""
    end = time.monotonic() + seconds
    done = 0
    while time.monotonic() < end:
        if len(await socket.recv()) != len(message):
            raise RuntimeError("not what was sent")
        await socket.send(message)
        done += 1
    return done


async def main(host, port, kind, size, in_flight, seconds, ca_file=None):
    message = (b"a" if kind == "binary" else "a") * int(size)
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
    socket = await websockets.connect(
        f"{'wss' if tls else 'ws'}://{host}:{port}/", ssl=tls,
        compression=None, ping_interval=None, max_size=None)
    for _ in range(int(in_flight)):
        await socket.send(message)
    await run_for(socket, message, WARM_UP_SECONDS)
    began, cpu = time.monotonic(), cpu_seconds()
    done = await run_for(socket, message, float(seconds))
    print(json.dumps({"ops": done, "seconds": time.monotonic() - began,
                      "cpu": cpu_seconds() - cpu}))
    socket.transport.abort()


asyncio.run(main(*sys.argv[1:]))
