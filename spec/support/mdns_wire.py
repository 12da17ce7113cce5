"""DNS messages for mdns.py: as much of RFC 1035 and RFC 6762 as a responder
needs. What cannot be read raises an IndexError or a struct.error.

A name is a tuple of labels, each bytes. A record is (name, type, class, ttl,
data), a question (name, type, class).
"""

import ipaddress
import struct

A, PTR, TXT, AAAA, SRV, NSEC, ANY = 1, 12, 16, 28, 33, 47, 255
TYPES = {A: "A", PTR: "PTR", TXT: "TXT", AAAA: "AAAA", SRV: "SRV", ANY: "ANY"}
IN = 1
FLUSH = UNICAST = 0x8000  # in the class: of a record, of a question
RESPONSE, AUTHORITATIVE, TRUNCATED = 0x8000, 0x0400, 0x0200


def labels(text):
    """Of a name without special characters: "_http._tcp.local"."""
    return tuple(part.encode() for part in text.split(".") if part)


def lower(name):
    return tuple(label.lower() for label in name)


def pack_name(name):
    return b"".join(bytes([len(label)]) + label for label in name) + b"\0"


def pack_txt(strings):
    return b"".join(bytes([len(s)]) + s for s in strings) or b"\0"


class Message:
    """One that is being written; names are compressed."""

    def __init__(self, flags=RESPONSE | AUTHORITATIVE, number=0):
        self.flags = flags
        self.number = number
        self.counts = [0, 0, 0, 0]
        self.body = bytearray()
        self.known = {}

    def add_name(self, name):
        for i in range(len(name)):
            at = self.known.get(name[i:])
            if at is not None:
                self.body += struct.pack(">H", 0xC000 | at)
                return
            if 12 + len(self.body) < 0x4000:
                self.known[name[i:]] = 12 + len(self.body)
            self.body += bytes([len(name[i])]) + name[i]
        self.body += b"\0"

    def add_question(self, question):
        name, kind, klass = question
        self.add_name(name)
        self.body += struct.pack(">HH", kind, klass)
        self.counts[0] += 1

    def add_record(self, record, section=1):
        name, kind, klass, ttl, data = record
        self.add_name(name)
        self.body += struct.pack(">HHIH", kind, klass, ttl, 0)
        start = len(self.body)
        if kind == PTR:
            self.add_name(data)
        elif kind == SRV:
            self.body += struct.pack(">HHH", *data[:3])
            self.add_name(data[3])
        else:
            self.body += data
        struct.pack_into(">H", self.body, start - 2, len(self.body) - start)
        self.counts[section] += 1

    def pack(self):
        return struct.pack(">HHHHHH", self.number, self.flags,
                           *self.counts) + bytes(self.body)


def address(ip):
    ip = ipaddress.ip_address(ip)
    return (A if ip.version == 4 else AAAA), ip.packed


def read_name(data, at):
    name, end = [], None
    for _ in range(200):
        if data[at] == 0:
            return tuple(name), end or at + 1
        if data[at] >= 0xC0:
            end = end or at + 2
            at = struct.unpack_from(">H", data, at)[0] & 0x3FFF
        else:
            name.append(data[at + 1:at + 1 + data[at]])
            at += 1 + data[at]
    raise IndexError("a name without end")


def read_query(data):
    """Questions and known answers."""
    number, flags, questions, answers = struct.unpack_from(">HHHH", data)
    at, asked, known = 12, [], []
    for _ in range(questions):
        name, at = read_name(data, at)
        asked.append((name, *struct.unpack_from(">HH", data, at)))
        at += 4
    for _ in range(answers):
        name, at = read_name(data, at)
        kind, klass, ttl, size = struct.unpack_from(">HHIH", data, at)
        at += 10
        value = read_name(data, at)[0] if kind == PTR else data[at:at + size]
        known.append((name, kind, klass, ttl, value))
        at += size
    return number, flags, asked, known
