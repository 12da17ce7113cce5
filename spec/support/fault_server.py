"""A server that misbehaves on request.

One TCP port speaks HTTP/1.1; the path of a request chooses what goes wrong
(ROUTES at the end; ws_faults.py for /ws/, which is WebSocket). Further ports
misbehave before any request is read, and some speak no HTTP at all, but what
raw_faults.py says. The same is served over TLS when --cert and --key are given,
and on ::1 where the machine has it. Prints one line of JSON with the ports when ready
and ends when its stdin does. One thread, asyncio; brotli, which httpbin brings
along, and else the standard library.
"""

import argparse
import asyncio
import base64
import itertools
import json
import random
import re
import socket
import ssl
import struct
import sys
import urllib.parse
import zlib

import brotli

sys.dont_write_bytecode = True
import raw_faults  # noqa: E402
import scripted  # noqa: E402
import ws_faults  # noqa: E402

HOUR = 3600
TEXT = "Grüße, 世界"
WESTERN = "Grüße, café"


class State:
    """What the server remembers; `/count` and the like read it."""

    def __init__(self):
        self.connections = 0
        self.open = 0
        self.counts = {}
        self.requests = {}
        self.progress = {}
        self.gates = {}
        self.waiting = {}
        self.sockets = {}


STATE = State()


class Request:
    def __init__(self, head):
        self.head = head
        self.raw_body = b""
        self.body = b""
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = (
            lines[0].split(" ") + ["", "", ""])[:3]
        self.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers.append((name, value.strip()))
        url = urllib.parse.urlsplit(self.target)
        self.path = url.path
        self.query = urllib.parse.parse_qs(url.query, keep_blank_values=True)

    def header(self, name, default=None):
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return default

    def get(self, name, default=""):
        return self.query.get(name, [default])[0]

    def number(self, name, default):
        return int(self.get(name, str(default)))

    def key(self):
        return self.header("x-key") or self.get("key")

    def record(self, connection):
        return {
            "connection": connection,
            "method": self.method,
            "target": self.target,
            "headers": self.headers,
            "head": self.head.decode("latin-1"),
            "body": self.body.decode("latin-1"),
        }


class Connection:
    """One accepted connection: reads requests, has helpers to answer."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.served = 0
        self.number = 0

    # ---- reading

    async def read_request(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        request = Request(head)
        if request.header("expect", "").lower() == "100-continue":
            await self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request

    async def read_body(self, request):
        if "chunked" in request.header("transfer-encoding", ""):
            await self.read_chunked(request)
        else:
            length = int(request.header("content-length", "0"))
            request.body = await self.reader.readexactly(length)
            request.raw_body = request.body

    async def read_chunked(self, request):
        raw, body = bytearray(), bytearray()
        while True:
            line = await self.reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            data = await self.reader.readexactly(size + 2)
            raw += line + data
            body += data[:-2]
            if size == 0:
                break
        request.raw_body, request.body = bytes(raw), bytes(body)

    # ---- writing

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status, headers=(), reason="Fault"):
        lines = [f"HTTP/1.1 {status} {reason}"]
        lines += [f"{name}: {value}" for name, value in headers]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def reply(self, body=b"", status=200, headers=(),
                    kind="text/plain"):
        if isinstance(body, str):
            body = body.encode()
        await self.head(status, [("Content-Type", kind),
                                 ("Content-Length", len(body)), *headers])
        await self.send(body)

    async def reply_json(self, value):
        await self.reply(json.dumps(value), kind="application/json")

    async def chunk(self, data):
        await self.send(b"%x\r\n%s\r\n" % (len(data), data))

    async def start_chunked(self, headers=()):
        await self.head(200, [("Content-Type", "application/octet-stream"),
                              ("Transfer-Encoding", "chunked"), *headers])

    async def peer_is_gone(self):
        while await self.reader.read(65536):
            pass

    # ---- ending

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Stop(Exception):
    """Raised by a route after which the connection must end."""


# ---- Ends too early ----------------------------------------------------------

async def close_at_once(c, r):
    raise Stop


async def close_in_header(c, r):
    await c.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/pl")
    raise Stop


async def close_in_body(c, r):
    await c.head(200, [("Content-Length", 1000)])
    await c.send(b"x" * r.number("bytes", 100))
    raise Stop


async def close_in_chunk(c, r):
    await c.start_chunked()
    await c.chunk(b"whole")
    await c.send(b"64\r\nonly a part")
    raise Stop


async def close_between_chunks(c, r):
    await c.start_chunked()
    await c.chunk(b"whole")
    raise Stop


async def reset_in_body(c, r):
    await c.head(200, [("Content-Length", 1000)])
    await c.send(b"x" * 100)
    # The bytes must be read before the reset overtakes them.
    await asyncio.sleep(0.05)
    c.reset()
    raise Stop


async def reset_at_once(c, r):
    c.reset()
    raise Stop


# ---- Too slow ----------------------------------------------------------------

async def never(c, r):
    await c.peer_is_gone()
    raise Stop


async def never_header(c, r):
    await c.send(b"HTTP/1.1 200 OK\r\nX-First: of many\r\n")
    await never(c, r)


async def never_body(c, r):
    await c.head(200, [("Content-Length", 1000)])
    await never(c, r)


async def drip(c, r):
    count = r.number("bytes", 1000)
    await c.head(200, [("Content-Length", count)])
    for _ in range(count):
        await c.send(b".")
        await asyncio.sleep(r.number("every", 1000) / 1000)


async def drip_header(c, r):
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for i in range(len(text)):
        await c.send(text[i:i + 1])
        await asyncio.sleep(r.number("every", 1000) / 1000)


async def slow_body(c, r):
    left = r.number("bytes", 100000)
    rate = r.number("rate", 10000)
    await c.head(200, [("Content-Length", left)])
    while left > 0:
        size = min(left, max(1, rate // 20))
        await c.send(b"s" * size)
        left -= size
        await asyncio.sleep(size / rate)


async def delay(c, r):
    await asyncio.sleep(r.number("ms", 1000) / 1000)
    await c.reply("ok")


async def wait(c, r):
    """Answers only after /release with the same key."""
    key = r.key()
    gate = STATE.gates.setdefault(key, asyncio.Event())
    STATE.waiting[key] = STATE.waiting.get(key, 0) + 1
    gone = asyncio.ensure_future(c.peer_is_gone())
    opened = asyncio.ensure_future(gate.wait())
    try:
        await asyncio.wait({gone, opened},
                           return_when=asyncio.FIRST_COMPLETED)
    finally:
        STATE.waiting[key] -= 1
        opened.cancel()
        if gone.done():
            raise Stop
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    await c.reply("released")


async def release(c, r):
    STATE.gates.setdefault(r.key(), asyncio.Event()).set()
    await c.reply("ok")


async def waiting(c, r):
    await c.reply(str(STATE.waiting.get(r.key(), 0)))


async def read_nothing(c, r):
    """The request's body stays in the sender's buffers."""
    c.writer.transport.pause_reading()
    await asyncio.sleep(HOUR)


read_nothing.early = True


async def read_later(c, r):
    """Reads the body only after /release with the same key, and counts it."""
    c.writer.transport.pause_reading()
    await STATE.gates.setdefault(r.key(), asyncio.Event()).wait()
    c.writer.transport.resume_reading()
    await c.read_body(r)
    await c.reply(str(len(r.body)))


read_later.early = True


async def early_response(c, r):
    """Answers before the body has come, and closes."""
    await c.reply("too big", 413, [("Connection", "close")])
    await asyncio.sleep(0.2)
    raise Stop


early_response.early = True


# ---- Not HTTP ----------------------------------------------------------------

async def garbage(c, r):
    await c.send(b"\x16\x03\x01 this is no protocol \xff\xfe\r\n\r\n" * 8)
    raise Stop


async def bad_status(c, r):
    await c.send(b"HTTP/1.1 abc What\r\nContent-Length: 0\r\n\r\n")
    raise Stop


async def bad_length(c, r):
    await c.send(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nhello")
    raise Stop


async def two_lengths(c, r):
    await c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                 b"Content-Length: 5\r\n\r\nhello")
    raise Stop


async def bad_chunk(c, r):
    await c.start_chunked()
    await c.send(b"zz\r\nhello\r\n0\r\n\r\n")
    raise Stop


async def no_reason(c, r):
    await c.send(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")


async def http10(c, r):
    await c.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold")
    raise Stop


# ---- Too much ----------------------------------------------------------------

async def big_headers(c, r):
    left = r.number("bytes", 10 << 20)
    await c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
    for i in itertools.count():
        line = b"X-Filler-%d: %s\r\n" % (i, b"f" * 1000)
        await c.send(line)
        left -= len(line)
        if left <= 0:
            break
    await c.send(b"\r\nok")


async def big_header_line(c, r):
    await c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Big: ")
    left = r.number("bytes", 10 << 20)
    while left > 0:
        await c.send(b"f" * min(left, 65536))
        left -= 65536
    await c.send(b"\r\n\r\nok")


async def big_status_line(c, r):
    await c.send(b"HTTP/1.1 200 ")
    left = r.number("bytes", 10 << 20)
    while left > 0:
        await c.send(b"f" * min(left, 65536))
        left -= 65536
    await c.send(b"\r\nContent-Length: 2\r\n\r\nok")


async def endless_hints(c, r):
    while True:
        await c.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")


async def redirect_loop(c, r):
    await asyncio.sleep(r.number("ms", 0) / 1000)
    turn = r.number("n", 0) + 1
    await c.reply("", 302, [("Location", f"/redirect-loop?n={turn}"
                               f"&ms={r.number('ms', 0)}")])


async def redirect_chain(c, r):
    left = r.number("n", 3)
    to = f"/redirect-chain?n={left - 1}" if left > 1 else "/raw"
    await c.reply("hop", r.number("status", 302), [("Location", to)])


async def redirect(c, r):
    fields = [("Location", r.get("to"))] if "to" in r.query else []
    fields += header_parameters(r)
    body = b"m" * r.number("bytes", 0) or b"moved"
    if r.method == "HEAD":
        await c.head(r.number("status", 302), fields)
    else:
        await c.reply(body, r.number("status", 302), fields)


_BOMBS = {}


def bomb(size):
    if size not in _BOMBS:
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        block = bytes(1 << 20)
        parts = [packer.compress(block) for _ in range(size >> 20)]
        _BOMBS[size] = b"".join(parts) + packer.flush()
    return _BOMBS[size]


async def gzip_bomb(c, r):
    data = bomb(r.number("bytes", 200 << 20))
    await c.start_chunked([("Content-Encoding", "gzip")])
    for start in range(0, len(data), 16384):
        await c.chunk(data[start:start + 16384])
    await c.send(b"0\r\n\r\n")


async def brotli_bomb(c, r):
    packer = brotli.Compressor(quality=1)
    block = bytes(1 << 20)
    await c.start_chunked([("Content-Encoding", "br")])
    for _ in range(r.number("bytes", 200 << 20) >> 20):
        packed = packer.process(block)
        if packed:
            await c.chunk(packed)
    await c.chunk(packer.finish())
    await c.send(b"0\r\n\r\n")


async def endless(c, r):
    await c.start_chunked()
    block = b"e" * 65536
    while True:
        await c.chunk(block)


async def endless_close(c, r):
    await c.head(200, [("Connection", "close")])
    block = b"e" * 65536
    while True:
        await c.send(block)


# ---- Content that does not decode --------------------------------------------

def gzipped(data):
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


async def bad_gzip(c, r):
    await c.reply(b"this is not gzip at all", headers=[
        ("Content-Encoding", "gzip")])


async def truncated_gzip(c, r):
    """Half a gzip body, under a Content-Length that is right for the half."""
    data = gzipped(bytes(i * i % 251 for i in range(20000)))
    await c.reply(data[:len(data) // 2], headers=[
        ("Content-Encoding", "gzip")])


async def unknown_encoding(c, r):
    await c.reply(b"as it is", headers=[("Content-Encoding", "x-unknown")])


async def invalid_json(c, r):
    await c.reply('{"open": [1, 2', kind="application/json")


CHARSETS = {
    "latin-1": ("iso-8859-1", WESTERN.encode("latin-1")),
    "windows-1252": ("windows-1252", (WESTERN + " €").encode("cp1252")),
    "utf-16": ("utf-16", TEXT.encode("utf-16")),
    "utf-16le": ("utf-16le", TEXT.encode("utf-16-le")),
    "utf-16be": ("utf-16be", TEXT.encode("utf-16-be")),
    "utf-16-be-bom": ("utf-16", b"\xfe\xff" + TEXT.encode("utf-16-be")),
    "utf-16-no-bom": ("utf-16", TEXT.encode("utf-16-be")),
    "utf-16-odd": ("utf-16", TEXT.encode("utf-16") + b"\x00"),
    "gbk": ("gbk", "你好，世界".encode("gbk")),
    "utf-8": ("utf-8", TEXT.encode()),
    "utf-8-bom": ("utf-8", b"\xef\xbb\xbf" + TEXT.encode()),
    "utf-8-wrong": ("utf-8", WESTERN.encode("latin-1")),
    "unknown": ("x-martian", TEXT.encode()),
}


async def charset(c, r):
    name, data = CHARSETS[r.get("name", "utf-8")]
    await c.reply(data, kind=f"text/plain; charset={name}")


# ---- Odd, but right ----------------------------------------------------------

async def raw(c, r):
    """The request's very bytes come back as the body."""
    data = r.head + r.raw_body
    if r.method == "CONNECT" and not r.header("x-status"):
        # A 2xx to CONNECT has no body by definition.
        await c.head(200, [("X-Raw", base64.b64encode(data).decode())])
        raise Stop
    kind = "message/http" if r.method == "TRACE" \
        else "application/octet-stream"
    status = int(r.header("x-status", "200"))
    if r.method == "HEAD":
        await c.head(status, [("Content-Length", len(data)),
                              ("X-Raw", base64.b64encode(data).decode())])
    else:
        await c.reply(data, status, kind=kind)


def header_parameters(r):
    """?h=Name:%20value, as often as wanted."""
    return [tuple(part.strip() for part in field.partition(":")[::2])
            for field in r.query.get("h", [])]


async def respond(c, r):
    """/respond?status=&type=&body=&h=Name:value&h=... says it all; base64=
    instead of body= for any bytes."""
    status = r.number("status", 200)
    body = base64.b64decode(r.get("base64")) or r.get("body").encode()
    if status in (204, 304) or r.method == "HEAD":
        await c.head(status, header_parameters(r))
    else:
        await c.reply(body, status, header_parameters(r),
                      r.get("type", "text/plain"))


async def turns(c, r):
    """The nth request with a key gets what the nth word of `do` says, the last
    word holds for all that follow: "ok" (the body, in a call of ?callback), a
    status (with the fields h), "hang", "hang-body" or "cut", which libcurl
    does not ask for again by itself."""
    words = r.get("do").split(",")
    word = words[min(STATE.counts[r.key()], len(words)) - 1]
    if word == "cut":
        await close_in_header(c, r)
    elif word == "hang":
        await never(c, r)
    elif word == "hang-body":
        await never_body(c, r)
    elif word != "ok":
        await c.reply("turned down", int(word), header_parameters(r))
    elif "callback" in r.query:
        await c.reply(f"{r.get('callback')}({r.get('body')});",
                      kind="text/javascript")
    else:
        await c.reply(r.get("body"), kind=r.get("type", "application/json"))


async def headers_odd(c, r):
    await c.send(b"HTTP/1.1 200 OK\r\n"
                 b"X-Repeat: one\r\nx-repeat: two\r\nX-REPEAT: three\r\n"
                 b"X-Folded: first\r\n  second\r\n"
                 b"X-Empty:\r\nX-Spaces:    around   \r\n"
                 b"X-mIxEd-CaSe: Kept\r\nX-Latin: caf\xe9\r\n"
                 b"Set-Cookie: a=1; Path=/\r\n"
                 b"Set-Cookie: b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT\r\n"
                 b"Content-Length: 2\r\n\r\nok")


async def early_hints(c, r):
    await c.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n"
                 b"X-Hint: yes\r\n\r\n")
    await c.reply("final", headers=[("X-Final", "yes")])


async def trailers(c, r):
    await c.start_chunked([("Trailer", "X-Sum")])
    await c.chunk(b"body")
    await c.send(b"0\r\nX-Sum: 42\r\n\r\n")


async def endless_trailers(c, r):
    await c.start_chunked()
    await c.chunk(b"body")
    await c.send(b"0\r\n")
    while True:
        await c.send(b"X-Trailer: and so on\r\n" * 100)


async def no_content(c, r):
    await c.head(204)


async def not_modified(c, r):
    await c.head(304, [("ETag", '"v1"')])


async def closes(c, r):
    await c.reply("bye", headers=[("Connection", "close")])
    raise Stop


async def last_time(c, r):
    """Promises keep-alive, and closes: the next request meets a dead end."""
    await c.reply("ok")
    raise Stop


async def first_raw(c, r):
    """As /raw to the first request of a connection; the next dies with it."""
    if c.served > 1:
        raise Stop
    await raw(c, r)


async def stream(c, r):
    """Chunks as fast as they are taken, with hold=N up to the Nth until
    /release; /stream-progress tells how far."""
    key, size = r.key(), r.number("size", 16384)
    every = r.number("every", 0) / 1000
    STATE.progress[key] = 0
    c.writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    await c.start_chunked()
    for i in range(r.number("chunks", 100)):
        await c.chunk(bytes([97 + i % 26]) * size)
        STATE.progress[key] += size
        if i + 1 == r.number("hold", 0):
            await STATE.gates.setdefault(key, asyncio.Event()).wait()
        if every:
            await asyncio.sleep(every)
    if r.get("stay"):
        await never(c, r)
    await c.send(b"0\r\n\r\n")


async def stream_progress(c, r):
    await c.reply(str(STATE.progress.get(r.key(), 0)))


# ---- Files that break off ----------------------------------------------------

def noise(size, seed):
    return random.Random(seed).randbytes(size)


def content_range(request, size):
    """Where the request wants to go on; None when it wants all."""
    match = re.fullmatch(r"bytes=(\d+)-", request.header("range", ""))
    return int(match.group(1)) if match else None


async def whole(c, data, etag):
    await c.reply(data, 200, [("ETag", etag), ("Accept-Ranges", "bytes")],
                  "application/octet-stream")


async def partial(c, data, start, etag, more=()):
    size = len(data)
    await c.reply(data[start:], 206, [
        *([("ETag", etag)] if etag else []),
        ("Content-Range", f"bytes {start}-{size - 1}/{size}"), *more],
        "application/octet-stream")


async def broken_file(c, r):
    """The first answer to a key breaks off; who comes back for the rest of it
    gets what `then` says."""
    size, key, then = r.number("bytes", 100000), r.key(), r.get("then", "rest")
    data, etag = noise(size, 1), r.get("etag", '"one"')
    start = content_range(r, size)
    if STATE.counts[key] == 1:
        await c.head(200, [("Content-Length", size), *header_parameters(r),
                           *([("ETag", etag)] if etag else [])])
        await c.send(data[:r.number("cut", size // 2)])
        raise Stop
    if start is None or then == "all":
        await whole(c, noise(size, 2) if then == "new" else data,
                    '"two"' if then == "new" else etag)
    elif then == "rest":
        await partial(c, data, start, etag)
    elif then == "416":
        await c.reply("", 416, [("Content-Range", f"bytes */{size}")])
    elif then == "shifted":
        await partial(c, data, start + 1, etag)
    elif then == "other":
        await partial(c, noise(size, 2), start, '"two"')
    elif then == "short":
        await partial(c, data[:-10], start, etag)
    elif then == "new":
        await whole(c, noise(size, 2), '"two"')
    elif then == "404":
        await c.reply("gone", 404)


async def noise_file(c, r):
    """What /broken-file is about: ?seed=1, or 2 for the changed one."""
    await c.reply(noise(r.number("bytes", 100000), r.number("seed", 1)),
                  headers=header_parameters(r))


# ---- What the server saw -----------------------------------------------------

async def count(c, r):
    await c.reply(str(STATE.counts.get(r.get("of"), 0)))


async def requests(c, r):
    await c.reply_json(STATE.requests.get(r.get("of"), []))


async def connections(c, r):
    """Accepted so far, this one included."""
    await c.reply(str(STATE.connections))


async def connections_open(c, r):
    await c.reply(str(STATE.open))


async def connection(c, r):
    await c.reply_json({"connection": c.number, "requests": c.served})


async def ok(c, r):
    await c.reply("ok")


async def missing(c, r):
    await c.reply("no such route", 404)


ROUTES = {
    "/": ok,
    "/close": close_at_once,
    "/close-in-header": close_in_header,
    "/close-in-body": close_in_body,          # ?bytes= of the 1000 promised
    "/close-in-chunk": close_in_chunk,
    "/close-between-chunks": close_between_chunks,
    "/reset": reset_at_once,
    "/reset-in-body": reset_in_body,
    "/never": never,
    "/never-header": never_header,            # silence in the header
    "/never-body": never_body,                # a header, then silence
    "/drip": drip,                            # ?every=MS&bytes=N
    "/drip-header": drip_header,              # ?every=MS
    "/slow-body": slow_body,                  # ?bytes=N&rate=BYTES_A_SECOND
    "/delay": delay,                          # ?ms=N
    "/wait": wait,                            # ?key=K, until /release?key=K
    "/release": release,
    "/waiting": waiting,                      # ?key=K: how many wait there
    "/read-nothing": read_nothing,
    "/read-later": read_later,                # ?key=K, after /release?key=K
    "/early-response": early_response,
    "/garbage": garbage,
    "/bad-status": bad_status,
    "/bad-length": bad_length,
    "/two-lengths": two_lengths,
    "/bad-chunk": bad_chunk,
    "/no-reason": no_reason,
    "/http10": http10,
    "/big-headers": big_headers,              # ?bytes=N, many lines
    "/big-header-line": big_header_line,      # ?bytes=N, one line
    "/big-status-line": big_status_line,      # ?bytes=N
    "/endless-hints": endless_hints,          # 103 after 103
    "/redirect-loop": redirect_loop,          # ?ms=MS before each answer
    "/redirect-chain": redirect_chain,        # ?n=HOPS&status=, ends in /raw
    "/redirect": redirect,                    # ?to=URL&status&bytes&h=Name:v
    "/gzip-bomb": gzip_bomb,                  # ?bytes=N, unpacked
    "/brotli-bomb": brotli_bomb,              # ?bytes=N, unpacked
    "/endless": endless,                      # chunked
    "/endless-close": endless_close,          # neither length nor chunks
    "/bad-gzip": bad_gzip,
    "/truncated-gzip": truncated_gzip,
    "/unknown-encoding": unknown_encoding,
    "/invalid-json": invalid_json,
    "/charset": charset,                      # ?name= of CHARSETS
    "/raw": raw,                              # header X-Status: its status
    "/respond": respond,                      # ?status&type&body&base64&h=N:v
    "/turns": turns,                          # ?key=K&do=503,ok&body&h=N:v
    "/headers-odd": headers_odd,
    "/early-hints": early_hints,
    "/endless-trailers": endless_trailers,
    "/trailers": trailers,
    "/no-content": no_content,
    "/not-modified": not_modified,
    "/closes": closes,                        # says Connection: close
    "/last-time": last_time,                  # closes without saying so
    "/first-raw": first_raw,                  # closes on the second request
    # ?chunks=N&size=S&key=K&every=MS&hold=N; stay=1: silence, not an end
    "/stream": stream,
    "/stream-progress": stream_progress,      # ?key=K
    "/broken-file": broken_file,   # ?key&bytes&cut&etag&then=rest|all|416|
    # shifted|other|short|new|404
    "/noise": noise_file,                     # ?bytes=N&seed=1&h=Name:v
    "/count": count,                          # ?of=K
    "/requests": requests,                    # ?of=K: as JSON, in order
    "/connections": connections,
    "/connections-open": connections_open,
    "/connection": connection,
    # Further /ws/NAME and /ws-frames?of=K&wait=N of ws_faults.py, what
    # raw_faults.py answers, and what scripted.py does
}


def websocket(route):
    async def run(c, r):
        await route(c, r)
        raise Stop
    return run


def add_websocket():
    faults, questions = ws_faults.routes(STATE.sockets)
    ROUTES.update({path: websocket(route) for path, route in faults.items()})
    ROUTES.update(questions)


async def serve_one(c):
    request = await c.read_request()
    # CONNECT and `*` name no path; they get their own bytes back.
    is_path = request.target.startswith("/")
    route = ROUTES.get(request.path, missing) if is_path else raw
    if not getattr(route, "early", False):
        await c.read_body(request)
    c.served += 1
    if request.key():
        key = request.key()
        STATE.counts[key] = STATE.counts.get(key, 0) + 1
        STATE.requests.setdefault(key, []).append(
            request.record(c.number))
    await route(c, request)
    if request.header("connection", "").lower() == "close":
        raise Stop


async def serve(reader, writer):
    writer.transport.set_write_buffer_limits(high=65536)
    c = Connection(reader, writer)
    STATE.open += 1
    STATE.connections += 1
    c.number = STATE.connections
    try:
        while True:
            await serve_one(c)
    except (Stop, EOFError, OSError, asyncio.LimitOverrunError):
        pass
    finally:
        STATE.open -= 1
        writer.close()


# ---- Ports that misbehave before any request ---------------------------------

async def port_closes(reader, writer):
    # Reads on, for a close over unread bytes would be a reset.
    writer.write_eof()
    await port_silent(reader, writer)


async def port_resets(reader, writer):
    Connection(reader, writer).reset()


async def port_silent(reader, writer):
    await Connection(reader, writer).peer_is_gone()
    writer.close()


def refused_port(keep):
    """Bound and never listening: nobody else gets it, connects are refused."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    keep.append(sock)
    return sock.getsockname()[1]


async def blackhole_port(keep):
    """A listener whose backlog is full: the kernel drops further SYNs."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    keep.append(listener)
    loop = asyncio.get_running_loop()
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        keep.append(filler)
        try:
            await asyncio.wait_for(
                loop.sock_connect(filler, listener.getsockname()), 0.3)
        except asyncio.TimeoutError:
            return listener.getsockname()[1]
    raise RuntimeError("the backlog does not fill up")


async def listen(handler, host="127.0.0.1", tls=None, port=0):
    server = await asyncio.start_server(handler, host, port, ssl=tls,
                                        limit=1 << 20, backlog=512)
    return server.sockets[0].getsockname()[1]


def tls_context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


async def open_ports(options, keep):
    ports = {
        "http": await listen(serve),
        "closing": await listen(port_closes),
        "resetting": await listen(port_resets),
        "silent": await listen(port_silent),
        "refused": refused_port(keep),
        "blackhole": await blackhole_port(keep),
    }
    await open_raw(ports)
    if options.cert:
        tls = tls_context(options.cert, options.key)
        ports["https"] = await listen(serve, tls=tls)
        ports["tcp_tls"] = await listen(raw_faults.serve, tls=tls)
    for port in also(options):
        await listen(serve, port=port)
    return ports


async def open_raw(ports):
    ports["tcp"] = await listen(raw_faults.serve)
    ports["udp"] = raw_faults.Datagrams(socket.AF_INET, "127.0.0.1").port()
    try:
        ports["http6"] = await listen(serve, "::1")
        ports["tcp6"] = await listen(raw_faults.serve, "::1")
        ports["udp6"] = raw_faults.Datagrams(socket.AF_INET6, "::1").port()
    except OSError:
        pass  # no IPv6 on this machine


def also(options):
    for part in filter(None, options.also.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--also", default="",
                        help="more ports for http: 80,8000-8100")
    options = parser.parse_args()
    add_websocket()
    ROUTES.update(raw_faults.QUESTIONS)
    ROUTES.update(scripted.routes(STATE, serve, Stop))
    keep = []
    ports = await open_ports(options, keep)
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
