"""TCP and UDP servers that do as they are told: the raw part of fault_server.py.

The first line of a TCP connection says what it is to do, as `verb name=value
name=value` (VERBS below), so every connection is scripted by who makes it.
What follows the line belongs to the verb. A datagram is told by its first word
(see Datagrams). Who adds key=K may ask later, over HTTP, what came:

    /tcp-seen?of=K&wait=1   the connections with that key, once one has ended
    /udp-seen?of=K&wait=N   the datagrams with that key, once there are N
    /tcp-release?of=K       lets those go on that wait for it

Bytes of a pattern are i % 251, counted from the end of the first line.
"""

import asyncio
import os
import socket
import struct

PERIOD = bytes(range(251))
BLOCK = PERIOD * 261  # whole periods: every block of it continues the last
HOUR = 3600
IP_RECVTTL = 12  # of Linux; Python does not name it
KEPT_BYTES = 65536


def pattern(size, at=0):
    skip = at % len(PERIOD)
    text = PERIOD * ((size + skip) // len(PERIOD) + 1)
    return text[skip:skip + size]


class State:
    def __init__(self):
        self.seen = {}
        self.gates = {}
        self.datagrams = {}
        self.accepted = 0


STATE = State()


def gate(key):
    return STATE.gates.setdefault(key, asyncio.Event())


# ---- TCP ---------------------------------------------------------------------

class Peer:
    """One connection, and what is known of the other side."""

    def __init__(self, reader, writer, line):
        words = line.decode("latin-1").split()
        self.reader = reader
        self.writer = writer
        self.verb = words[0] if words else ""
        self.options = dict(word.partition("=")[::2] for word in words[1:])
        self.key = self.options.get("key")
        self.size = 0
        self.head = b""
        self.follows = True  # all bytes so far are those of the pattern
        self.end = None
        if self.key:
            STATE.seen.setdefault(self.key, []).append(self)

    def number(self, name, default=0):
        return int(self.options.get(name, default))

    def record(self):
        return {"bytes": self.size, "pattern": self.follows, "end": self.end,
                "text": self.head.decode("latin-1")}

    def take(self, data):
        if self.follows and data != pattern(len(data), self.size):
            self.follows = False
        self.size += len(data)
        self.head += data[:max(0, KEPT_BYTES - len(self.head))]

    async def read(self, most=1 << 18):
        """b"" at the end, whichever it is."""
        try:
            data = await self.reader.read(most)
        except OSError:
            self.end = "reset"
            return b""
        if not data:
            self.end = "fin"
        self.take(data)
        return data

    async def read_all(self):
        while await self.read():
            pass

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def narrow(self):
        """Leaves room= bytes for what was not read yet."""
        room = self.number("room")
        if room:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)

    def deafen(self):
        self.narrow()
        self.writer.transport.pause_reading()

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def echo(p):
    while data := await p.read():
        await p.send(data)


async def sink(p):
    await p.read_all()


async def slow_sink(p):
    """Reads a little now and then."""
    p.narrow()
    while await p.read(p.number("size", 65536)):
        await asyncio.sleep(p.number("every", 1) / 1000)


async def push(p):
    """n blocks of the pattern, each of `size` bytes; then reads on."""
    size, at = p.number("size", 4096), 0
    for _ in range(p.number("n", 1)):
        await p.send(pattern(size, at))
        at += size
        if p.number("every"):
            await asyncio.sleep(p.number("every") / 1000)
    then = p.options.get("then", "fin")
    if then == "rst":
        # The bytes must be read before the reset overtakes them.
        await asyncio.sleep(p.number("ms", 50) / 1000)
        p.reset()
    elif then == "fin":
        p.writer.write_eof()
        await p.read_all()
    else:
        await p.read_all()


async def say(p):
    """The hex bytes, one write each for the parts between commas."""
    for part in p.options.get("hex", "").split(","):
        await p.send(bytes.fromhex(part))
        await asyncio.sleep(p.number("every") / 1000)
    await p.read_all()


async def name(p):
    """How we see the other side: IP PORT."""
    host, port = p.writer.get_extra_info("peername")[:2]
    await p.send(f"{host} {port}\n".encode())
    await p.read_all()


async def fin(p):
    """Closes at once, both ways."""


async def rst(p):
    p.reset()


async def cut(p):
    """Ends the TCP connection under TLS, which is not told."""
    await p.send(b"partial")
    await asyncio.sleep(0.05)
    sock = p.writer.get_extra_info("socket")
    fd = os.dup(sock.fileno())
    with socket.socket(fileno=fd) as below:
        below.shutdown(socket.SHUT_WR)
    await p.read_all()


async def rst_on_data(p):
    await p.read()
    p.reset()


async def half(p):
    """Ends its side at once and reads the other to the end."""
    p.writer.write_eof()
    await p.read_all()


async def half_deaf(p):
    """Ends its side when something comes, and reads on once it is let go."""
    await p.read(1)
    p.deafen()
    p.writer.write_eof()
    await gate(p.key).wait()
    p.writer.transport.resume_reading()
    await p.read_all()


async def half_rst(p):
    """Ends its side when something comes, and resets after a while."""
    await p.read(1)
    p.deafen()
    p.writer.write_eof()
    await asyncio.sleep(p.number("ms", 100) / 1000)
    p.reset()


async def deaf(p):
    """Reads nothing; with a key until it is let go."""
    p.deafen()
    await (gate(p.key).wait() if p.key else asyncio.sleep(HOUR))
    p.writer.transport.resume_reading()
    await p.read_all()


async def deaf_rst(p):
    """Reads nothing, and resets after a while."""
    p.deafen()
    await asyncio.sleep(p.number("ms", 100) / 1000)
    p.reset()


async def stay(p):
    """Reads to the end and does not end itself until it is let go."""
    await p.read_all()
    await (gate(p.key).wait() if p.key else asyncio.sleep(HOUR))


VERBS = {
    "echo": echo,
    "sink": sink,                # counts
    "slow-sink": slow_sink,      # size= every=MS room=BYTES
    "push": push,                # n= size= every=MS then=fin|rst|stay ms=
    "say": say,                  # hex=6162,63 every=MS
    "name": name,
    "fin": fin,
    "rst": rst,
    "cut": cut,                  # over TLS
    "rst-on-data": rst_on_data,
    "half": half,
    "half-deaf": half_deaf,      # room=BYTES
    "half-rst": half_rst,        # room=BYTES ms=
    "deaf": deaf,                # room=BYTES
    "deaf-rst": deaf_rst,        # room=BYTES ms=
    "stay": stay,
}


async def serve(reader, writer):
    STATE.accepted += 1
    writer.transport.set_write_buffer_limits(high=65536)
    peer = None
    try:
        line = await reader.readuntil(b"\n")
        peer = Peer(reader, writer, line)
        await VERBS[peer.verb](peer)
    except (EOFError, OSError, KeyError, asyncio.LimitOverrunError):
        pass
    finally:
        if peer and not peer.end:
            peer.end = "ours"
        writer.close()


# ---- UDP ---------------------------------------------------------------------

class Datagrams:
    """Answers what the first word of a datagram asks for:

        echo ...          the same again
        note K ...        nothing; /udp-seen tells
        both K ...        the same again, and /udp-seen tells
        push N SIZE       N datagrams, numbered, filled up to SIZE bytes
        name ...          our own address, as "IP PORT"
    """

    def __init__(self, family, host):
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if family == socket.AF_INET6:
            self.sock.setsockopt(socket.IPPROTO_IPV6,
                                 socket.IPV6_RECVHOPLIMIT, 1)
        else:
            self.sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        self.sock.bind((host, 0))
        asyncio.get_running_loop().add_reader(self.sock, self.on_readable)

    def port(self):
        return self.sock.getsockname()[1]

    def on_readable(self):
        for _ in range(256):
            try:
                data, more, _, peer = self.sock.recvmsg(65536, 64)
            except OSError:
                return
            # The number of hops is an int, whatever the family.
            hops = struct.unpack("i", more[0][2])[0] if more else 0
            self.take(data, peer, hops)

    def take(self, data, peer, hops):
        words = data[:200].split(b" ")
        verb = words[0]
        if verb in (b"note", b"both"):
            STATE.datagrams.setdefault(words[1].decode("latin-1"), []).append({
                "size": len(data), "ip": peer[0], "port": peer[1],
                "hops": hops, "text": data[:1000].decode("latin-1")})
        if verb in (b"echo", b"both"):
            self.answer(data, peer)
        elif verb == b"push":
            for i in range(int(words[1])):
                self.answer((b"%d " % i).ljust(int(words[2]), b"."), peer)
        elif verb == b"name":
            self.answer(b"%s %d" % (self.sock.getsockname()[0].encode(),
                                    self.port()), peer)

    def answer(self, data, peer):
        try:
            self.sock.sendto(data, peer)
        except OSError:
            pass  # as UDP may


# ---- Questions over HTTP -----------------------------------------------------

async def wait_for(condition):
    """5 seconds at most: then the answer is what there is."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)


async def tcp_seen(c, r):
    def peers():
        return STATE.seen.get(r.get("of"), [])

    count = r.number("wait", 1)
    await wait_for(lambda: sum(p.end is not None for p in peers()) >= count)
    await c.reply_json([p.record() for p in peers()])


async def tcp_release(c, r):
    gate(r.get("of")).set()
    await c.reply("ok")


async def tcp_accepted(c, r):
    await c.reply(str(STATE.accepted))


async def udp_seen(c, r):
    def datagrams():
        return STATE.datagrams.get(r.get("of"), [])

    await wait_for(lambda: len(datagrams()) >= r.number("wait", 1))
    await c.reply_json(datagrams())


QUESTIONS = {
    "/tcp-seen": tcp_seen,            # ?of=K&wait=N
    "/tcp-release": tcp_release,      # ?of=K
    "/tcp-accepted": tcp_accepted,
    "/udp-seen": udp_seen,            # ?of=K&wait=N
}
