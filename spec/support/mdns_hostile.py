"""Packets that nobody should send, for the command `hostile` of mdns.py. Each
function returns a list of them, always the same."""

import random
import struct

import mdns_wire as wire

TYPE = wire.labels("_nettask._tcp.local")
HOST = (b"evil", b"local")
POINTER = 0xC000


def header(questions=0, answers=0, authorities=0, additional=0,
           flags=wire.RESPONSE | wire.AUTHORITATIVE):
    return struct.pack(">HHHHHH", 0, flags, questions, answers, authorities,
                       additional)


def rest(kind, data, size=None, ttl=120, klass=wire.IN):
    """Of a record, behind its name."""
    return struct.pack(">HHIH", kind, klass, ttl,
                       len(data) if size is None else size) + data


def announcement(label=b"evil", port=1, ttl=120, host=HOST, txt=b"\0",
                 flags=wire.RESPONSE | wire.AUTHORITATIVE):
    """A whole service; the label may be any bytes."""
    message = wire.Message(flags)
    name = (label, *TYPE)
    message.add_record((TYPE, wire.PTR, wire.IN, ttl, name))
    message.add_record((name, wire.SRV, wire.IN, ttl, (0, 0, port, host)), 3)
    message.add_record((name, wire.TXT, wire.IN, ttl, txt), 3)
    message.add_record((host, wire.A, wire.IN, ttl, bytes([10, 77, 0, 2])), 3)
    return message.pack()


def truncated():
    """Cut at every byte. The last of them lack but an address, so the service
    that they speak of is not found."""
    whole = announcement()
    return [whole[:size] for size in range(len(whole))]


def looping():
    """Names that point at themselves, at each other, forward and nowhere."""
    records = [
        struct.pack(">H", POINTER | 12),
        struct.pack(">HH", POINTER | 14, POINTER | 12),
        struct.pack(">H", POINTER | 0x3FFF),
        struct.pack(">H", POINTER | 40),
        b"\x01a" + struct.pack(">H", POINTER | 12),
        b"\x3f" + b"a" * 63 + struct.pack(">H", POINTER | 12),
        b"".join(struct.pack(">H", POINTER | (14 + 2 * i)) for i in range(200)),
        struct.pack(">H", POINTER | 0),
        b"\x40a\0", b"\x80a\0", b"\xc0",
    ]
    packets = [header(answers=1) + name + rest(wire.PTR, b"\0")
               for name in records]
    packets += [header(questions=1) + name + b"\0\x0c\0\x01"
                for name in records]
    pointed = wire.pack_name(TYPE)
    packets += [header(answers=1) + pointed + rest(wire.PTR, name)
                for name in records]
    return packets


def oversized():
    """Names, counts and packets beyond every limit."""
    long_name = (b"\x3f" + b"n" * 63) * 5 + b"\0"
    deep_name = b"\x01a" * 200 + b"\0"
    lies = [header(answers=0xFFFF) + wire.pack_name(TYPE),
            header(0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF),
            header(0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF) + b"\0" * 8000]
    names = [header(answers=1) + name + rest(wire.PTR, name)
             for name in (long_name, deep_name)]
    names += [header(answers=1) + wire.pack_name(TYPE) + rest(wire.PTR, name)
              for name in (long_name, deep_name)]
    txt = wire.pack_txt([b"k%03d=" % i + b"v" * 250 for i in range(30)])
    big = [announcement(b"big", txt=txt) + b"\0" * 500,
           announcement(b"huge", txt=wire.pack_txt([b"v" * 255] * 200)),
           header(answers=1) + b"\0" * 60000]
    return lies + names + big


def lying():
    """Data that is longer or shorter than its record says."""
    name = wire.pack_name((b"liar", *TYPE))
    packets = []
    for kind, data in ((wire.SRV, b"\0\0\0\0\0\x01" + wire.pack_name(HOST)),
                       (wire.TXT, b"\x05a=bcd"), (wire.A, b"\x0a\x4d\0\x02"),
                       (wire.AAAA, b"\xfd" + b"\0" * 15), (wire.PTR, name)):
        for size in (0, 1, 3, 5, len(data) - 1, len(data) + 1, 0xFFFF):
            packets.append(header(answers=1) + name + rest(kind, data, size))
        packets.append(header(answers=1) + name + rest(kind, b""))
    packets.append(header(answers=1) + name + rest(wire.TXT, b"\xffshort"))
    return packets


def strange():
    """Valid, but no answer to us: other codes, classes, types and names; and a
    query in which somebody else's service is known."""
    other = wire.Message()
    other.add_record((wire.labels("_other._tcp.local"), wire.PTR, wire.IN, 120,
                      (b"x", b"_other", b"_tcp", b"local")))
    chaos = wire.Message()
    chaos.add_record((TYPE, wire.PTR, 3, 120, (b"chaos", *TYPE)))
    foreign = wire.Message()
    foreign.add_record((TYPE, wire.PTR, wire.IN, 120,
                        (b"x", b"_other", b"_tcp", b"local")))
    short = wire.Message()
    short.add_record((TYPE, wire.PTR, wire.IN, 120, TYPE))
    known = announcement(b"query", flags=0)
    return [other.pack(), chaos.pack(), foreign.pack(), short.pack(), known,
            announcement(b"opcode", flags=0x8400 | 5 << 11),
            announcement(b"rcode", flags=0x8403), b"", b"\0" * 11, b"\0" * 12,
            b"\xff" * 12, b"\xff" * 1400]


def random_bytes(count=500, seed=1):
    source = random.Random(seed)
    return [source.randbytes(source.randrange(0, 600)) for _ in range(count)]


def mutated(count=1000, seed=2):
    """Of an announcement whose label says so; a few bytes are others. Some of
    them are whole services."""
    source = random.Random(seed)
    packets = []
    for _ in range(count):
        packet = bytearray(announcement(b"mutant"))
        for _ in range(source.randrange(1, 8)):
            packet[source.randrange(12, len(packet))] = source.randrange(256)
        packets.append(bytes(packet))
    return packets


def flood(count=5000, start=0):
    """Services without end, several a packet."""
    packets = []
    for first in range(start, start + count, 10):
        message = wire.Message()
        for i in range(first, first + 10):
            name = (b"flood %d" % i, *TYPE)
            message.add_record((TYPE, wire.PTR, wire.IN, 120, name))
            message.add_record((name, wire.SRV, wire.IN, 120,
                                (0, 0, 1 + i % 60000, HOST)))
        message.add_record((HOST, wire.A, wire.IN, 120, bytes([10, 77, 0, 2])))
        packets.append(message.pack())
    return packets


def flapping(count=1000, label="flap"):
    """One service that comes and goes."""
    come = announcement(label.encode())
    go = announcement(label.encode(), ttl=0)
    return [come, go] * count
