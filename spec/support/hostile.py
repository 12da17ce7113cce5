"""A network where every address exists, and what is contacted is known.

    hostile.py TCP UDP -- PROGRAM ARGUMENT...

Runs the program in a namespace of its own, as netns.py does. There each IPv4
and IPv6 address leads here: the servers listen on all of them, on so many TCP ports from
FIRST_TCP on and UDP ports from FIRST_UDP on (one a case), and those of SERVED.
A tap on every interface sees what is sent, be it to a server or into the void:
the first packet of a TCP connection, and each datagram. So an address that must
not be contacted needs no server of its own to know.

The resolver is dnsmasq. It knows the names of RECORDS, and for "rebind.test"
it asks a server of ours, which answers the first question for a name below it
with a public address and all further ones with a private one.

The program asks over two pipes, NETTASK_TEST_HOSTILE_ASK and _ANSWER: for the
line "contacts" it gets what was contacted since the last time, a line each,
"tcp ADDRESS PORT" or "udp ADDRESS PORT", and how many packets were lost.
"""

import asyncio
import base64
import hashlib
import ipaddress
import os
import pathlib
import resource
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.dont_write_bytecode = True
import netns
import servers

PUBLIC, OTHER, PUBLIC6 = "203.0.113.10", "203.0.113.20", "2001:db8::10"
FIRST_TCP, FIRST_UDP = 20000, 30000
SERVED = (80, 8081, 8082)
SERVED_TLS = (443, 8443)
DNS, AUTHORITY = 53, 5300
START_SECONDS = 20
MOST_HEADER_BYTES = 1 << 20

# All have the TTL 0. One that has several addresses has them in one answer.
RECORDS = {
    "good.test": PUBLIC, "sub.good.test": PUBLIC, "a.b.good.test": PUBLIC,
    "other.test": OTHER, "goodx.test": OTHER, "xgood.test": OTHER,
    "good.test.other.test": OTHER, "good.other.test": OTHER,
    "xn--god-sna.test": OTHER, "xn--good-43d.test": OTHER,
    "xn--e1azgd.test": OTHER, "six.test": PUBLIC6,
    "loop4.test": "127.0.0.1", "loop6.test": "::1", "any4.test": "0.0.0.0",
    "any6.test": "::", "mapped.test": "::ffff:127.0.0.1",
    "compat.test": "::127.0.0.1", "meta.test": "169.254.169.254",
    "link.test": "fe80::1", "site.test": "fec0::1", "ula.test": "fd00::5",
    "ten.test": "10.1.2.3", "lan.test": "192.168.1.1",
    "mid.test": "172.16.0.1", "cgn.test": "100.64.0.1",
    "zero.test": "0.1.2.3", "bench.test": "198.18.0.1",
    "ietf.test": "192.0.0.8", "group.test": "224.0.0.251",
    "group6.test": "ff02::fb", "last.test": "240.0.0.1",
    "cast.test": "255.255.255.255", "six2four.test": "2002:7f00:1::1",
    "nat64.test": "64:ff9b::7f00:1", "nat64l.test": "64:ff9b:1::7f00:1",
    "teredo.test": "2001::80ff:fffe",
    "both.test": f"10.1.2.3,{PUBLIC}", "both6.test": f"::1,{PUBLIC}",
    "pair.test": "10.1.2.3,192.168.1.1", "allowed.test": "10.9.9.1",
    "below.good.test": "10.1.2.3",
}
ALIASES = {"alias.test": "ten.test", "chain.test": "alias.test",
           "alias.good.test": "loop4.test", "fine.test": "good.test"}


# ---- The network -------------------------------------------------------------

def ip(*words):
    subprocess.run(["ip", *words], check=True)


def set_up(folder):
    netns.set_up(folder, "")
    netns.set_up_lan()
    # A link-local address is nobody's without a link.
    ip("address", "add", "fe80::1/64", "dev", "v0")
    ip("address", "add", f"{PUBLIC6}/128", "dev", "v0")
    ip("route", "add", "local", "0.0.0.0/0", "dev", "lo")
    ip("-6", "route", "add", "local", "::/0", "dev", "lo")


class Tap:
    """Remembers what is sent, on all interfaces, but for lookups and their
    answers."""

    TCP, UDP, SYN, ACK = 6, 17, 2, 16
    # Of Linux; Python does not name them.
    SOL_PACKET, PACKET_STATISTICS, ETH_P_ALL = 263, 6, 3

    def __init__(self):
        self.contacts = {}
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                  socket.htons(self.ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        self.sock.setblocking(False)

    def drain(self):
        while True:
            try:
                self.take(self.sock.recv(256))
            except BlockingIOError:
                return

    def take(self, packet):
        if packet[0] >> 4 == 4:
            protocol, start = packet[9], packet[0] % 16 * 4
            address = socket.inet_ntop(socket.AF_INET, packet[16:20])
        else:
            protocol, start = packet[6], 40
            address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        if protocol not in (self.UDP, self.TCP):
            return
        source, port = struct.unpack(">HH", packet[start:start + 4])
        if protocol == self.TCP:
            if packet[start + 13] & (self.SYN | self.ACK) == self.SYN:
                self.contacts["tcp", address, port] = True
        elif address != "127.0.0.1" or not {source, port} & {DNS, AUTHORITY}:
            self.contacts["udp", address, port] = True

    def answer(self):
        self.drain()
        lines = [f"{kind} {address} {port}"
                 for kind, address, port in self.contacts]
        self.contacts.clear()
        lost = struct.unpack("II", self.sock.getsockopt(
            self.SOL_PACKET, self.PACKET_STATISTICS, 8))[1]
        return "\n".join([*lines, f"lost {lost}"]) + "\n"


# ---- Names -------------------------------------------------------------------

class Authority(asyncio.DatagramProtocol):
    """Of rebind.test: a public address first, a private one from then on."""

    def __init__(self):
        self.asked = {}

    def connection_made(self, transport):
        self.transport = transport

    def addresses(self, name, kind):
        if kind != netns.A:
            return []
        count = self.asked.get(name, 0)
        self.asked[name] = count + 1
        private = "127.0.0.1" if name.startswith("loop") else "10.1.2.3"
        if name.startswith("always"):
            return [private]
        return [private if count else PUBLIC]

    def datagram_received(self, query, peer):
        question = query[12:query.index(b"\0", 12) + 5]
        name = netns.name_of(question).lower()
        kind = int.from_bytes(question[-4:-2], "big")
        self.transport.sendto(netns.answer(
            query, question, self.addresses(name, kind), ttl=0), peer)


def start_dnsmasq(folder):
    """It says what it is told to, whatever address that is, and keeps nothing
    in mind."""
    command = servers.ENDS_WITH_US + [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
        "--no-resolv", "--no-hosts", "--log-facility=-", "--pid-file=",
        "--user=", "--listen-address=127.0.0.1", "--bind-interfaces",
        f"--port={DNS}", "--cache-size=0",
        f"--server=/rebind.test/127.0.0.1#{AUTHORITY}",
        "--address=/localhost/127.0.0.1"]
    for name, addresses in RECORDS.items():
        for address in addresses.split(","):
            command.append(f"--host-record={name},{address},0")
    for name, target in ALIASES.items():
        command.append(f"--cname={name},{target},0")
    log = open(folder / "dnsmasq.log", "wb")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log)
    deadline = time.monotonic() + START_SECONDS
    while not servers.connects(DNS):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit((folder / "dnsmasq.log").read_text(errors="replace"))
        time.sleep(0.01)
    return process


# ---- Servers -----------------------------------------------------------------

def local_address(writer):
    address = ipaddress.ip_address(writer.get_extra_info("sockname")[0]
                                   .partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def response(target, address):
    """Tells where it came from, or leads elsewhere."""
    url = urllib.parse.urlsplit(target)
    query = urllib.parse.parse_qs(url.query, encoding="latin-1")
    if url.path == "/redirect":
        to = query["to"][0].encode("latin-1")
        return (b"HTTP/1.1 " + query["status"][0].encode() + b" Elsewhere\r\n"
                b"Location: " + to + b"\r\nContent-Length: 0\r\n\r\n")
    body = address.encode()
    return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body)


def upgrade(key, address):
    """The handshake's answer, and the address as a message."""
    accept = base64.b64encode(hashlib.sha1(
        key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    text = address.encode()
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept
            + b"\r\n\r\n\x81" + bytes([len(text)]) + text)


async def serve_one(reader, writer):
    """One request; whether another may follow."""
    first = await reader.readexactly(1)
    if not first.isalpha():  # TLS, or SOCKS
        return False
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    if head.startswith("CONNECT"):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        return True
    if head.startswith("tcp"):
        writer.write(local_address(writer).encode())
        return False
    lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in
              (line.partition(":") for line in lines[1:])}
    target = lines[0].split(" ")[1]
    address = local_address(writer)
    if "upgrade" in fields and not target.startswith("/redirect"):
        writer.write(upgrade(fields["sec-websocket-key"], address))
        await reader.read(1)  # of the close frame: all that it sends
        writer.write(b"\x88\x02\x03\xe8")
        return False
    await reader.readexactly(int(fields.get("content-length", 0)))
    writer.write(response(target, address))
    return True


async def serve(reader, writer):
    try:
        while await serve_one(reader, writer):
            pass
    except (asyncio.IncompleteReadError, OSError, ValueError):
        pass
    finally:
        writer.close()


def make_certificate(folder):
    """For the good names, from the authority that the specs trust."""
    tls = pathlib.Path(os.environ["NETTASK_TEST_TLS_DIR"])
    servers.request_certificate(
        folder, "good", f"DNS:good.test,DNS:*.good.test,DNS:six.test,"
        f"DNS:*.rebind.test,DNS:other.test,IP:{PUBLIC},IP:{PUBLIC6}",
        "-out", f"{folder}/good.csr")
    servers.openssl("x509", "-req", "-in", f"{folder}/good.csr", "-CA",
                    f"{tls}/ca.pem", "-CAkey", f"{tls}/ca.key",
                    "-set_serial", "77", "-days", "3650", "-copy_extensions",
                    "copy", "-out", f"{folder}/good.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/good.pem", f"{folder}/good.key")
    return context


async def start_server(port, context=None):
    sock = socket.create_server(("::", port), family=socket.AF_INET6,
                                dualstack_ipv6=True)
    await asyncio.start_server(serve, sock=sock, ssl=context,
                               limit=MOST_HEADER_BYTES)


def udp_socket(port):
    """Only there so that nobody is told that nobody is there."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    return sock


async def listen(tcp, udp, folder):
    context = make_certificate(folder)
    for port in (*SERVED, *range(FIRST_TCP, FIRST_TCP + tcp)):
        await start_server(port)
    for port in SERVED_TLS:
        await start_server(port, context)
    loop = asyncio.get_running_loop()
    for port in range(FIRST_UDP, FIRST_UDP + udp):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=(
            udp_socket(port)))
    await loop.create_datagram_endpoint(
        Authority, local_addr=("127.0.0.1", AUTHORITY))


class Servers:
    """In a thread with a loop of its own."""

    def __init__(self, tcp, udp, folder):
        self.tap = Tap()
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(listen(tcp, udp, folder))
        self.loop.add_reader(self.tap.sock, self.tap.drain)
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def contacts(self):
        async def ask():
            return self.tap.answer()
        return asyncio.run_coroutine_threadsafe(ask(), self.loop).result()


def answer_questions(pipes, found):
    """Until the program, which opens the pipes for each question, has ended."""
    while True:
        with open(pipes["ASK"]) as ask:
            ask.read()
        text = found.contacts()
        with open(pipes["ANSWER"], "w") as answer:
            answer.write(text)


def run(tcp, udp, program):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        set_up(folder)
        dnsmasq = start_dnsmasq(folder)
        found = Servers(tcp, udp, folder)
        pipes = {word: str(folder / word.lower()) for word in ("ASK", "ANSWER")}
        for path in pipes.values():
            os.mkfifo(path)
        threading.Thread(target=answer_questions, args=(pipes, found),
                         daemon=True).start()
        env = {f"NETTASK_TEST_HOSTILE_{word}": path
               for word, path in pipes.items()}
        status = subprocess.run(program, env={**os.environ, **env}).returncode
        dnsmasq.terminate()
        dnsmasq.wait()
    return 128 - status if status < 0 else status


def main():
    if netns.INSIDE not in os.environ:
        netns.enter()
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[4:]))


if __name__ == "__main__":
    main()
