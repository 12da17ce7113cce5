"""Answers that a spec writes, and servers that it ends: parts of fault_server.py.

    PUT /script?of=K        a list of answers, as JSON: {status, headers, body,
                            bytes, gate, end}
    /scripted?key=K         the nth request gets the nth answer, the last one
                            holds for all that follow
    /door                   opens another port that serves the same: its number
    /door-count?port=N      how many connections it has accepted
    /door-close?port=N      it and its connections are gone; the port stays
                            ours, and refuses

In values of headers "{+60}" is the date in 60 seconds, "{-60}" the one before
60. `bytes` is a body of so many letters; `gate` a key that /release opens
before it is answered; `end` is "cut", half of the body, or "head", half of
the head, after which libcurl does not ask again by itself.
"""

import asyncio
import email.utils
import json
import re
import socket
import time

LETTERS = b"abcdefghijklmnopqrstuvwxyz"


def date(match):
    return email.utils.formatdate(time.time() + int(match.group(1)),
                                  usegmt=True)


def fields_of(answer):
    return [(name, re.sub(r"\{([+-]\d+)\}", date, value))
            for name, value in answer.get("headers", [])]


def letters(size):
    return (LETTERS * (size // len(LETTERS) + 1))[:size]


def body_of(answer):
    if "bytes" in answer:
        return letters(answer["bytes"])
    return answer.get("body", "").encode()


class Door:
    """A port that can be closed while others go on."""

    def __init__(self, serve):
        self.serve = serve
        self.accepted = 0
        self.writers = []
        self.sock = self.bind(0)

    def bind(self, port):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    async def open(self):
        self.server = await asyncio.start_server(self.accept, sock=self.sock,
                                                 limit=1 << 20)
        return self.sock.getsockname()[1]

    async def accept(self, reader, writer):
        self.accepted += 1
        self.writers.append(writer)
        await self.serve(reader, writer)

    def close(self, port):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.sock = self.bind(port)


def routes(state, serve, stop):
    """`serve` is what a port does, `stop` is raised where a connection ends."""
    scripts, doors = {}, {}

    async def script(c, r):
        scripts[r.get("of")] = json.loads(r.body)
        await c.reply("ok")

    async def wait_at(gate):
        await state.gates.setdefault(gate, asyncio.Event()).wait()

    async def scripted(c, r):
        answers = scripts[r.key()]
        turn = min(state.counts[r.key()], len(answers))
        answer = answers[turn - 1]
        if "gate" in answer:
            await wait_at(answer["gate"])
        if answer.get("end") == "head":
            await c.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")
            raise stop
        body, status = body_of(answer), answer.get("status", 200)
        fields = fields_of(answer)
        if status not in (204, 304):
            fields.append(("Content-Length", len(body)))
        await c.head(status, fields, "Scripted")
        if status in (204, 304) or r.method == "HEAD":
            return
        if answer.get("end") == "cut":
            await c.send(body[:len(body) // 2])
            raise stop
        await c.send(body)

    async def door(c, r):
        new = Door(serve)
        port = await new.open()
        doors[port] = new
        await c.reply(str(port))

    async def door_count(c, r):
        await c.reply(str(doors[r.number("port", 0)].accepted))

    async def door_close(c, r):
        port = r.number("port", 0)
        doors[port].close(port)
        await c.reply("ok")

    return {"/script": script, "/scripted": scripted, "/door": door,
            "/door-count": door_count, "/door-close": door_close}
