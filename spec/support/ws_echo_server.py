"""python3-websockets as a server: echoes every message with its type.

Listens on three free ports of 127.0.0.1: without compression, with it, and
over TLS with it. Prints one line of JSON with the ports and ends when its
stdin does.
"""

import argparse
import asyncio
import json
import ssl
import sys

import websockets


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def listen(**options):
    server = await websockets.serve(
        echo, "127.0.0.1", 0, max_size=None, ping_interval=None,
        subprotocols=["chat", "superchat"], **options)
    return server.sockets[0].getsockname()[1]


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    options = parser.parse_args()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(options.cert, options.key)
    print(json.dumps({
        "plain": await listen(compression=None),
        "deflate": await listen(compression="deflate"),
        "tls": await listen(compression="deflate", ssl=tls),
    }), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
