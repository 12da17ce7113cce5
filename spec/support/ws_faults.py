"""WebSocket servers that misbehave: the /ws/ part of fault_server.py.

The last part of the path names what goes wrong (HANDSHAKES and FRAMES at the
end). Frames are put together by hand, so that any byte can be wrong. After
what the tables say, a connection listens: it answers a ping with a pong, a
close with a close and its own end, the text "frames" with what the client has
sent. Whoever adds key=K to the path may ask /ws-frames?of=K for the same
later, when the client has refused to go on.
"""

import asyncio
import base64
import hashlib
import json
import os
import socket
import zlib

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEPT_BYTES = 65536
HOUR = 3600
HELLO = "Grüße, 世界".encode()
BAD = b"\xc3\x28"


# ---- Bytes -------------------------------------------------------------------

def length_bytes(size, wide):
    if wide == 8 or size > 0xFFFF:
        return 127, size.to_bytes(8, "big")
    if wide == 2 or size > 125:
        return 126, size.to_bytes(2, "big")
    return size, b""


def frame(opcode, payload=b"", fin=1, rsv=0, mask=None, wide=0, size=None):
    """`wide` makes the length longer than it must be, `size` makes it lie."""
    length, more = length_bytes(len(payload) if size is None else size, wide)
    head = bytes([fin << 7 | rsv << 4 | opcode,
                  (0x80 if mask else 0) | length]) + more
    if mask:
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + (mask or b"") + payload


def fragments(opcode, *parts, last=1):
    """One message in as many frames as there are parts."""
    return b"".join(
        frame(CONTINUATION if i else opcode, part,
              fin=last if i == len(parts) - 1 else 0)
        for i, part in enumerate(parts))


def close(code=None, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason if code else b"")


def single_bytes(data):
    return [data[i:i + 1] for i in range(len(data))]


# ---- The handshake -----------------------------------------------------------

def head(status, fields, version="1.1"):
    lines = [f"HTTP/{version} {status} Fault"]
    lines += [f"{name}: {value}" for name, value in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def accept_key(request):
    key = request.header("sec-websocket-key", "")
    magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + magic).encode())
                            .digest()).decode()


def switching(r, *more, upgrade="websocket", connection="Upgrade",
              accept=True, version="1.1"):
    """A 101 of which each part can be replaced, or left out with None."""
    fields = [("Upgrade", upgrade), ("Connection", connection),
              ("Sec-WebSocket-Accept", accept_key(r) if accept is True
               else accept), *more]
    return head(101, [f for f in fields if f[1] is not None], version)


def answer(status, body=b"", *fields):
    return head(status, [("Content-Length", len(body)), *fields]) + body


def wanted(r):
    """The fields that the request asks for."""
    return [tuple(part.strip() for part in field.partition(":")[::2])
            for field in r.query.get("h", [])]


def refusal(r):
    return answer(r.number("status", 403), r.get("body").encode(), *wanted(r))


def first_protocol(r):
    return r.header("sec-websocket-protocol", "").split(",")[0].strip()


def odd(r):
    return (b"HTTP/1.1 101\r\nuPGRADE:WebSocket  \r\n"
            b"CONNECTION:  keep-alive, UPGRADE\r\nX-Empty:\r\n"
            b"sec-websocket-ACCEPT:" + accept_key(r).encode() + b"\t\r\n\r\n")


def big(r):
    line = b"X-Filler: " + b"f" * 1000 + b"\r\n"
    return switching(r)[:-2] + line * (
        r.number("bytes", 10 << 20) // len(line) + 1) + b"\r\n"


def big_line(r):
    return (switching(r)[:-2] + b"X-Big: "
            + b"f" * r.number("bytes", 10 << 20) + b"\r\n\r\n")


def offers_deflate(r):
    return "permessage-deflate" in r.header("sec-websocket-extensions", "")


# ---- One connection ----------------------------------------------------------

class Peer:
    """The client as its frames show it."""

    def __init__(self, connection, request, live):
        self.c = connection
        self.request = request
        self.frames = []
        self.end = None
        self.closing = False
        # Answers must not get between the bytes of a frame.
        self.writing = asyncio.Lock()
        self.attempt = 1
        if request.key():
            siblings = live.setdefault(request.key(), [])
            siblings.append(self)
            self.attempt = len(siblings)

    def record(self):
        return {"frames": self.frames, "end": self.end}

    async def send(self, data, step=0):
        step = step or max(len(data), 1)
        async with self.writing:
            for start in range(0, len(data), step):
                await self.c.send(data[start:start + step])

    async def read_frame(self):
        read = self.c.reader.readexactly
        first, second = await read(2)
        wide = {126: 2, 127: 8}.get(second & 127, 0)
        size = int.from_bytes(await read(wide), "big") if wide \
            else second & 127
        mask = await read(4) if second & 128 else b""
        payload = await read(size)
        if mask:
            pad = (mask * (size // 4 + 1))[:size]
            payload = (int.from_bytes(payload, "big")
                       ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
        self.frames.append({
            "opcode": first & 15, "fin": bool(first & 128),
            "rsv": first >> 4 & 7, "masked": bool(mask), "mask": mask.hex(),
            "length_bytes": wide, "size": size,
            "payload": payload[:KEPT_BYTES].hex()})
        return first & 15, payload, first

    async def listen(self, handle):
        """Until the client is gone, or handle() says that it is enough."""
        try:
            while await handle(self, *await self.read_frame()):
                pass
            self.end = "local"
        except asyncio.IncompleteReadError:
            self.end = "fin"
        except OSError:
            self.end = "reset"


async def polite(peer, opcode, payload, first):
    if opcode == PING:
        await peer.send(frame(PONG, payload))
    elif opcode == CLOSE:
        # One who closes in the middle of a frame has stopped reading.
        if not peer.closing and not peer.writing.locked():
            await peer.send(frame(CLOSE, payload))
        return False
    elif opcode == TEXT and payload == b"frames":
        await peer.send(frame(TEXT, json.dumps(peer.frames).encode()))
    return True


async def silent(peer, opcode, payload, first):
    return True


async def differing(peer, opcode, payload, first):
    if opcode == CLOSE:
        await peer.send(close(3001, b"other"))
        return False
    return True


async def echoing(peer, opcode, payload, first):
    if opcode in (CONTINUATION, TEXT, BINARY) and payload != b"frames":
        await peer.send(frame(opcode, payload, fin=first >> 7))
        return True
    return await polite(peer, opcode, payload, first)


def counting_pongs(count):
    async def handle(peer, opcode, payload, first):
        pongs = [f for f in peer.frames if f["opcode"] == PONG]
        if opcode == PONG and len(pongs) == count:
            texts = [bytes.fromhex(f["payload"]).decode() for f in pongs]
            await peer.send(frame(TEXT, json.dumps(texts).encode()))
        return await polite(peer, opcode, payload, first)
    return handle


HANDLERS = {"listen": polite, "silent": silent, "echo": echoing,
            "differ": differing}


# ---- What follows a handshake ------------------------------------------------

async def play(peer, handshake, data=b"", handle=polite, step=0):
    """Sends while it listens: a client may have seen enough in the middle."""
    peer.closing = data[:1] == close()[:1]
    sending = asyncio.ensure_future(peer.send(handshake + data, step))
    await peer.listen(handle)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def drop(peer, data, how):
    """Ends the connection without a close frame."""
    await peer.send(data)
    if how == "rst":
        # A reset overtakes what has not been read yet.
        await asyncio.sleep(0.05)
        peer.end = "local"
        peer.c.reset()
    elif peer.c.writer.can_write_eof():
        # Reads on, for a close over unread bytes would be a reset.
        peer.c.writer.write_eof()
        await peer.listen(silent)
    else:
        peer.end = "local"


async def script(peer, r):
    data, then = bytes.fromhex(r.get("hex")), r.get("then", "listen")
    deal = [("Sec-WebSocket-Extensions", r.get("deal"))] if r.get("deal") \
        else []
    if then in ("fin", "rst"):
        await drop(peer, switching(r, *deal) + data, then)
    else:
        await play(peer, switching(r, *deal), data, HANDLERS[then],
                   r.number("each", 0))


async def slow(peer, r):
    await asyncio.sleep(r.number("ms", 1000) / 1000)
    await play(peer, switching(r), handle=echoing)


async def cut(peer, r, how="fin"):
    await drop(peer, switching(r)[:40], how)


async def stall(peer, r):
    await play(peer, switching(r)[:40], handle=silent)


async def never(peer, r):
    await play(peer, b"", handle=silent)


async def by_bytes(peer, r):
    await play(peer, switching(r) + frame(TEXT, b"first"), step=1,
               handle=echoing)


async def deaf(peer, r):
    sock = peer.c.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    peer.c.writer.transport.pause_reading()
    await peer.send(switching(r))
    await asyncio.sleep(HOUR)


async def too_big_fragments(peer, r):
    block = b"b" * 65536
    await play(peer, switching(r), fragments(
        TEXT, *[block] * (r.number("bytes", 20 << 20) // len(block) + 1),
        last=0))


def flood(r):
    size = r.number("size", 0)
    return b"".join(frame(TEXT, b"%d" % i if not size else b"f" * size)
                    for i in range(r.number("n", 10000)))


async def bomb(peer, r):
    if not offers_deflate(r):
        await play(peer, answer(400, b"offer permessage-deflate"))
        return
    # After a full flush nothing refers back, so that blocks can be repeated.
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = block * (r.number("bytes", 1 << 30) >> 20)
    await play(peer, switching(
        r, ("Sec-WebSocket-Extensions", "permessage-deflate")),
        frame(BINARY, data[:-4], rsv=4))


async def pings(peer, r):
    count = r.number("n", 10)
    burst = b"".join(frame(PING, b"ping %d" % i) for i in range(count))
    await play(peer, switching(r), burst, counting_pongs(count))


async def flaky(peer, r):
    how = r.get("how", "rst")
    if peer.attempt >= r.number("on", 3):
        await play(peer, switching(r), handle=echoing)
    elif how == "refuse" and peer.attempt > 1:
        await play(peer, answer(503))
    elif how == "close":
        await play(peer, switching(r), close(1012, b"restart"))
    else:
        await drop(peer, switching(r), "rst" if how == "rst" else "fin")


def close_as_told(r):
    if "code" not in r.query:
        return close()
    return frame(CLOSE, r.number("code", 0).to_bytes(2, "big")
                 + r.get("reason").encode())


def in_message(how, data):
    async def route(peer, r):
        await drop(peer, switching(r) + data, how)
    return route


# ---- The tables --------------------------------------------------------------

# Answers to the handshake; the client is then listened to.
HANDSHAKES = {
    "refuse": refusal,               # ?status=403&body=&h=Name:value
    "redirect": lambda r: answer(302, b"", ("Location", r.get("to"))),
    "200": lambda r: answer(200, b"no socket here"),
    "wrong-accept": lambda r: switching(
        r, accept=base64.b64encode(bytes(20)).decode()),
    "no-accept": lambda r: switching(r, accept=None),
    "no-upgrade": lambda r: switching(r, upgrade=None),
    "wrong-upgrade": lambda r: switching(r, upgrade="h2c"),
    "no-connection": lambda r: switching(r, connection=None),
    "wrong-connection": lambda r: switching(r, connection="close"),
    "unknown-protocol": lambda r: switching(
        r, ("Sec-WebSocket-Protocol", "never-offered")),
    "two-protocols": lambda r: switching(
        r, *[("Sec-WebSocket-Protocol", first_protocol(r))] * 2),
    "unknown-extension": lambda r: switching(
        r, ("Sec-WebSocket-Extensions", "x-never-offered")),
    "deflate-unasked": lambda r: switching(
        r, ("Sec-WebSocket-Extensions", "permessage-deflate")),
    "deflate-bad": lambda r: switching(
        r, ("Sec-WebSocket-Extensions",
            "permessage-deflate; server_max_window_bits=99")),
    "handshake-big": big,            # ?bytes=N, many lines
    "handshake-big-line": big_line,  # ?bytes=N, one line
    "handshake-http10": lambda r: switching(r, version="1.0"),
    "handshake-garbage": lambda r: os.urandom(64) + b"\r\n\r\n",
    "handshake-odd": odd,            # strange, but right
    "handshake-hints": lambda r: head(103, [("Link", "</a>")]) + switching(r),
    "garbage": lambda r: switching(r) + b"\xff\xfe no frame at all " * 8,
    "at-once": lambda r: switching(r) + frame(TEXT, b"first"),
}

# What is sent right after a good handshake: bytes, or made of the request.
FRAMES = {
    "masked": frame(TEXT, b"masked", mask=b"\x12\x34\x56\x78"),
    "rsv1": frame(TEXT, b"rsv", rsv=4),
    "rsv2": frame(TEXT, b"rsv", rsv=2),
    "rsv3": frame(TEXT, b"rsv", rsv=1),
    "opcode": lambda r: frame(r.number("n", 3), b"what"),
    "utf8-bad": frame(TEXT, b"bad " + BAD),
    "utf8-bad-split": fragments(TEXT, b"bad \xe4\xb8", b"\x28 split"),
    "utf8-bad-early": fragments(TEXT, b"bad " + BAD, last=0),
    "utf8-cut": frame(TEXT, b"cut \xe4\xb8"),
    "utf8-surrogate": frame(TEXT, b"\xed\xa0\x80"),
    "utf8-overlong": frame(TEXT, b"\xc0\xaf"),
    "utf8-beyond": frame(TEXT, b"\xf4\x90\x80\x80"),
    "utf8-split": fragments(TEXT, *single_bytes(HELLO)),
    "long-ping": frame(PING, b"p" * 126),
    "long-close": frame(CLOSE, b"\x03\xe8" + b"c" * 124),
    "fragmented-ping": fragments(PING, b"pi", b"ng"),
    "continuation": frame(CONTINUATION, b"of nothing"),
    "data-in-fragments": frame(TEXT, b"one ", fin=0) + frame(TEXT, b"two"),
    "length-16": frame(TEXT, b"short", wide=2),
    "length-64": frame(TEXT, b"short", wide=8),
    "length-top": frame(BINARY, size=1 << 63),
    "too-big": lambda r: frame(BINARY, size=r.number("bytes", 20 << 20)),
    "close": close_as_told,          # ?code=N&reason=text
    "close-1": frame(CLOSE, b"\x03"),
    "close-bad-reason": close(1000, b"bad " + BAD),
    "close-then-data": close(1000, b"bye") + frame(TEXT, b"too late"),
    "ping-between": (frame(TEXT, b"one ", fin=0) + frame(PING, b"between")
                     + frame(CONTINUATION, b"two")),
    "flood": flood,                  # ?n=FRAMES&size=BYTES
}

# The others.
PLAYS = {
    "handshake-cut": cut,
    "handshake-reset": lambda peer, r: cut(peer, r, "rst"),
    "handshake-never": never,
    "handshake-stall": stall,        # silence in the header
    "handshake-slow": slow,          # ?ms=N
    "handshake-bytes": by_bytes,     # one at a time, and a text behind
    "close-stay": lambda peer, r: play(
        peer, switching(r), close(1000, b"stay"), silent),
    "fin": in_message("fin", b""),
    "rst": in_message("rst", b""),
    "fin-in-message": in_message("fin", frame(TEXT, b"half", size=100)),
    "rst-in-message": in_message("rst", frame(TEXT, b"half", size=100)),
    "fin-between-fragments": in_message("fin", frame(TEXT, b"one", fin=0)),
    "silent": lambda peer, r: play(peer, switching(r), handle=silent),
    "deaf": deaf,
    "too-big-fragments": too_big_fragments,  # ?bytes=N
    "bomb": bomb,                    # ?bytes=N, inflated
    "pings": pings,                  # ?n=N
    # ?h=Name:value
    "echo": lambda peer, r: play(peer, switching(r, *wanted(r)),
                                 handle=echoing),
    # ?hex=&each=N&then=listen|echo|silent|differ|fin|rst&deal=EXTENSION
    "script": script,
    # ?key=K&on=N&how=rst|fin|close|refuse; refuse drops the first
    "flaky": flaky,
}


def after_handshake(name):
    async def route(peer, r):
        data = FRAMES[name]
        await play(peer, switching(r), data(r) if callable(data) else data)
    return route


def instead_of_handshake(name):
    return lambda peer, r: play(peer, HANDSHAKES[name](r))


def routes(live):
    """What fault_server.py serves; `live` keeps the clients by their keys."""
    plays = {**{name: instead_of_handshake(name) for name in HANDSHAKES},
             **{name: after_handshake(name) for name in FRAMES}, **PLAYS}

    def route(play_it):
        async def run(c, r):
            await play_it(Peer(c, r, live), r)
        return run

    async def frames(c, r):
        """?of=K, once ?wait=N connections of that key have ended."""
        while True:
            peers = live.get(r.get("of"), [])
            if sum(p.end is not None for p in peers) >= r.number("wait", 0):
                break
            await asyncio.sleep(0.01)
        await c.reply_json([peer.record() for peer in peers])

    return ({f"/ws/{name}": route(one) for name, one in plays.items()},
            {"/ws-frames": frames})
