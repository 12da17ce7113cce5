"""Publishers of local services, for specs that run in netns.py --mdns.

The querier's namespace has a link v0 (10.77.0.1) to a peer's, where it is v1
(10.77.0.2); another, w0 (10.78.0.1) to w1, comes when it is asked for. In the
peer's namespace run, as commands say, an avahi-daemon, a python3-zeroconf, and
a responder of our own that does whatever it is told to. A command is a POST of
a JSON object to http://127.0.0.1:PORT/COMMAND, in NETTASK_TEST_MDNS; the
methods of Control are the commands. All processes end with us.
"""

import concurrent.futures
import ctypes
import http.server
import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib

import mdns_hostile
import mdns_wire as wire

HERE = pathlib.Path(__file__).resolve().parent
GROUP4, GROUP6, PORT = "224.0.0.251", "ff02::fb", 5353
CLONE_NEWNET = 0x40000000
START_SECONDS = 20

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


# ---- Namespaces --------------------------------------------------------------

class Namespace:
    """A network namespace without a process: a descriptor keeps it."""

    def __init__(self):
        self.file = None
        self.in_thread(self.make)
        self.path = f"/proc/{os.getpid()}/fd/{self.file.fileno()}"

    def make(self):
        check(libc.unshare(CLONE_NEWNET))
        self.file = open("/proc/thread-self/ns/net", "rb")

    @staticmethod
    def in_thread(work):
        """Only that thread enters another namespace, so it ends with it."""
        box = []

        def run():
            try:
                box.append((work(), None))
            except BaseException as error:
                box.append((None, error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        result, error = box[0]
        if error:
            raise error
        return result

    def run(self, work):
        """work() inside: what it opens and starts stays there."""
        def enter():
            check(libc.setns(self.file.fileno(), CLONE_NEWNET))
            return work()
        return self.in_thread(enter)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def settings():
    """Addresses can be used at once, and nothing is dropped for its source."""
    for path, value in (("ipv6/conf/default/accept_dad", "0"),
                        ("ipv4/conf/all/rp_filter", "0"),
                        ("ipv4/conf/default/rp_filter", "0")):
        pathlib.Path("/proc/sys/net", path).write_text(value)


LINKS = {"v": 77, "w": 78}


def address_of(link, end):
    """0 is the querier's end."""
    return f"10.{LINKS[link]}.0.{end + 1}"


def make_link(peer, link):
    near, far = link + "0", link + "1"
    ip("link", "add", near, "type", "veth", "peer", "name", far, "netns",
       peer.path)
    for run, end, name in ((lambda work: work(), 0, near), (peer.run, 1, far)):
        run(lambda end=end, name=name: (
            ip("address", "add", address_of(link, end) + "/24", "dev", name),
            ip("address", "add", f"fd00:{LINKS[link]}::{end + 1}/64", "dev",
               name),
            ip("link", "set", name, "up")))
    peer.run(lambda: wait_for_address(far))


def wait_for_address(name):
    """Sends over IPv6 need the link-local one; it comes with the carrier."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        shown = subprocess.run(
            ["ip", "-6", "address", "show", "dev", name, "scope", "link",
             "-tentative"], capture_output=True, text=True).stdout
        if "fe80::" in shown:
            return
        time.sleep(0.01)
    raise OSError(f"{name} has no link-local address")


# ---- Our own responder -------------------------------------------------------

def open_socket(family, link, port=PORT, source=None):
    """That sends to the group over one link, and hears it when bound to 5353.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # A flood is not held up by us.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    index = socket.if_nametoindex(link + "1")
    if family == socket.AF_INET:
        near = socket.inet_aton(address_of(link, 1))
        sock.bind((source or "", port))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, near)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sock.setsockopt(socket.IPPROTO_IP, 49, 0)  # IP_MULTICAST_ALL
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                        socket.inet_aton(GROUP4) + near)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((source or "", port))
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.setsockopt(socket.IPPROTO_IPV6, 29, 0)  # IPV6_MULTICAST_ALL
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                        socket.inet_pton(socket.AF_INET6, GROUP6)
                        + struct.pack("i", index))
    return sock


class Service:
    """`mute` are types that are never told, `sparse` leaves out what was not
    asked for."""

    def __init__(self, name, type="_nettask._tcp", host="peer", port=1234,
                 txt=(), ips=("10.77.0.2",), ttl=120, mute=(), sparse=False):
        self.type = wire.labels(type + ".local")
        self.name = (name.encode(), *self.type)
        self.host = (host.encode(), b"local")
        self.port = port
        self.txt = [s.encode() for s in txt]
        self.ips = ips
        self.ttl = ttl
        self.mute = set(mute)
        self.sparse = sparse

    def records(self, ttl=None):
        """By kind."""
        ttl = self.ttl if ttl is None else ttl
        unique = wire.IN | wire.FLUSH
        found = [
            (self.type, wire.PTR, wire.IN, ttl, self.name),
            (self.name, wire.SRV, unique, ttl, (0, 0, self.port, self.host)),
            (self.name, wire.TXT, unique, ttl, wire.pack_txt(self.txt))]
        for text in self.ips:
            kind, data = wire.address(text)
            found.append((self.host, kind, unique, ttl, data))
        return [r for r in found if wire.TYPES[r[1]] not in self.mute]


class Responder:
    """Answers on all links, in a thread of its own, and notes what was asked.
    """

    def __init__(self, peer):
        self.peer = peer
        self.lock = threading.Lock()
        self.services = {}
        self.queries = []
        self.socks = {}
        self.deaf = False
        self.wake, other = socket.socketpair()
        self.waking = other
        self.open("v")
        threading.Thread(target=self.serve, daemon=True).start()

    def open(self, link):
        for family in (socket.AF_INET, socket.AF_INET6):
            sock = self.peer.run(lambda f=family: open_socket(f, link))
            self.socks[sock] = (link, family)
        self.waking.send(b"x")

    def close(self, link):
        for sock in [s for s, of in self.socks.items() if of[0] == link]:
            del self.socks[sock]
            self.waking.send(b"x")

    def serve(self):
        while True:
            ready, _, _ = select.select([self.wake, *self.socks], [], [])
            for sock in ready:
                if sock is self.wake:
                    self.wake.recv(100)
                    continue
                try:
                    data, source = sock.recvfrom(9000)
                except OSError:
                    continue
                if sock in self.socks and len(data) >= 12 \
                        and not data[2] & 0x80:
                    self.on_query(sock, data, source)

    def on_query(self, sock, data, source):
        try:
            number, flags, asked, known = wire.read_query(data)
        except (IndexError, struct.error):
            return  # our own hostile packets come back
        link, family = self.socks[sock]
        with self.lock:
            self.queries.append({
                "ms": time.monotonic() * 1000, "link": link,
                "family": 4 if family == socket.AF_INET else 6,
                "port": source[1], "bytes": len(data),
                "truncated": bool(flags & wire.TRUNCATED),
                "questions": [{
                    "name": text_of(name), "type": wire.TYPES.get(kind, kind),
                    "unicast": bool(klass & wire.UNICAST)}
                    for name, kind, klass in asked],
                "known": [{"name": text_of(r[4]), "ttl": r[3]}
                          for r in known if r[1] == wire.PTR]})
            if self.deaf:
                return
            self.answer(sock, number, asked, known, source)

    def matching(self, asked, known):
        suppressed = {(wire.lower(r[0]), r[4]) for r in known
                      if r[1] == wire.PTR}
        answers, more = [], []
        for service in self.services.values():
            records = service.records()
            hits = [r for r in records if (wire.lower(r[0]), r[4])
                    not in suppressed and any(
                        wire.lower(r[0]) == wire.lower(name)
                        and kind in (r[1], wire.ANY)
                        for name, kind, _ in asked)]
            answers += hits
            if any(r[1] == wire.PTR for r in hits) and not service.sparse:
                more += [r for r in records if r not in hits]
        return answers, more

    def answer(self, sock, number, asked, known, source):
        answers, more = self.matching(asked, known)
        if not answers:
            return
        legacy = source[1] != PORT
        message = wire.Message(number=number if legacy else 0)
        if legacy:
            for question in asked:
                message.add_question(question)
        for record in answers:
            message.add_record(record)
        for record in more:
            message.add_record(record, 3)
        unicast = legacy or all(q[2] & wire.UNICAST for q in asked)
        self.give(sock, message.pack(), source if unicast else None)

    def give(self, sock, data, to=None):
        group = (GROUP4 if sock.family == socket.AF_INET else GROUP6, PORT)
        try:
            sock.sendto(data, to or group)
        except OSError as error:
            print("mdns.py:", error, file=sys.stderr)

    def tell(self, records, family=None):
        """Unasked, on all links."""
        message = wire.Message()
        for record in records:
            message.add_record(record)
        for sock in list(self.socks):
            if family in (None, sock.family):
                self.give(sock, message.pack())


def text_of(name):
    return ".".join(label.decode(errors="replace") for label in name)


# ---- The other publishers ----------------------------------------------------

AVAHI = """[server]
host-name={host}
use-ipv4=yes
use-ipv6=yes
enable-dbus=no
allow-interfaces={interfaces}
ratelimit-interval-usec=0
disallow-other-stacks={exclusive}
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
[reflector]
[rlimits]
"""

# The daemon's folders have fixed names and belong to its user, who has to be us
# in a user namespace, which knows nobody else. The mounts are of that process
# alone.
AVAHI_START = """
mount -t tmpfs none /run && mkdir /run/avahi-daemon &&
mount --bind "$0" /etc/avahi &&
mount --bind "$0/passwd" /etc/passwd &&
mount --bind "$0/group" /etc/group &&
exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --no-proc-title
"""


def escape(text):
    for char, name in (("&", "amp"), ("<", "lt"), (">", "gt")):
        text = text.replace(char, f"&{name};")
    return text


def service_file(service):
    subtypes = "".join(f"<subtype>{name}</subtype>"
                       for name in service.get("subtypes", ()))
    records = "".join(f"<txt-record>{escape(text)}</txt-record>"
                      for text in service.get("txt", ()))
    return (f"<service-group><name>{escape(service['name'])}</name><service>"
            f"<type>{service.get('type', '_nettask._tcp')}</type>{subtypes}"
            f"<port>{service.get('port', 1234)}</port>{records}"
            "</service></service-group>")


def write_services(folder, services):
    """The daemon publishes anew what was written anew."""
    wanted = {f"{zlib.crc32(one['name'].encode())}.service": service_file(one)
              for one in services}
    have = {path.name: path for path in (folder / "services").iterdir()}
    for name in have.keys() - wanted.keys():
        have[name].unlink()
    for name in wanted.keys() - have.keys():
        (folder / "services" / name).write_text(wanted[name])


class Process:
    """A publisher that says on its output when it has published."""

    def __init__(self, command, log, run, text=None):
        self.log = open(log, "w+")
        self.process = run(lambda: subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self.log,
            stderr=subprocess.STDOUT, text=True))
        if text is not None:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()

    def wait_for(self, text, count):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            said = pathlib.Path(self.log.name).read_text(errors="replace")
            if said.count(text) >= count:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise OSError(f"{self.log.name}: {said[-1500:]}")

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.log.close()


def zeroconf_main():
    """The publisher: a line of JSON with its services comes first. Ends with
    goodbyes when its input ends, and on a SIGKILL without."""
    import zeroconf

    given = json.loads(sys.stdin.readline())
    server = zeroconf.Zeroconf(interfaces=given["interfaces"],
                               ip_version=zeroconf.IPVersion.V4Only)
    infos = []
    for service in given["services"]:
        kind = service.get("type", "_nettask._tcp") + ".local."
        ttl = {}
        if "ttl" in service:
            ttl = {"host_ttl": service["ttl"], "other_ttl": service["ttl"]}
        infos.append(zeroconf.ServiceInfo(
            kind, f"{service['name']}.{kind}",
            port=service.get("port", 1234), properties=service.get("txt", {}),
            server=service.get("host", "zeropeer") + ".local.",
            parsed_addresses=service.get("ips", ["10.77.0.2"]), **ttl))
    for info in infos:
        server.register_service(info, cooperating_responders=True)
        print("registered", flush=True)
    sys.stdin.read()
    server.close()


# ---- Commands ----------------------------------------------------------------

class Control:
    """Each public method is a command: its arguments are the fields of the
    object that was posted."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.processes = {}
        settings()
        self.peer = Namespace()
        self.peer.run(lambda: (settings(), ip("link", "set", "lo", "up")))
        make_link(self.peer, "v")
        self.responder = Responder(self.peer)
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                    self.handler())
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def environment(self):
        port = self.http.server_address[1]
        return {"NETTASK_TEST_MDNS": f"http://127.0.0.1:{port}"}

    def handler(control):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                size = int(self.headers["content-length"])
                given = json.loads(self.rfile.read(size))
                name = self.path[1:]
                try:
                    result = getattr(control, name)(**given)
                    status, result = 200, result or {}
                except Exception as error:
                    status, result = 500, {"error": f"{name}: {error!r}"}
                data = json.dumps(result).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass
        return Handler

    def stop(self):
        for name in list(self.processes):
            self.end(name)

    def together(self, commands):
        """Several, each a name and its fields, at the same time."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for future in [pool.submit(getattr(self, name), **fields)
                           for name, fields in commands]:
                future.result()

    # Our own responder.

    def add(self, quiet=False, **service):
        """A service, announced unless it is quiet."""
        one = Service(**service)
        with self.responder.lock:
            self.responder.services[service["name"]] = one
        if not quiet:
            self.responder.tell(one.records())

    def remove(self, name, goodbye=False):
        with self.responder.lock:
            one = self.responder.services.pop(name)
        if goodbye:
            self.responder.tell(one.records(0))

    def clear(self):
        """As it was in the beginning, but for the log of queries."""
        with self.responder.lock:
            self.responder.services.clear()
            self.responder.deaf = False

    def deafen(self, deaf=True):
        self.responder.deaf = deaf

    def queries(self, clear=False):
        with self.responder.lock:
            found = list(self.responder.queries)
            if clear:
                self.responder.queries.clear()
        return {"queries": found}

    def send(self, packets, port=PORT, source=None, to=None, family=4):
        """Packets in hex, to the group or to an address, from a port and
        perhaps an address of their own."""
        family = socket.AF_INET if family == 4 else socket.AF_INET6
        if source:
            self.peer.run(lambda: subprocess.run(
                ["ip", "address", "replace", f"{source}/32", "dev", "v1"],
                check=True))
        sock = self.peer.run(lambda: open_socket(family, "v", port, source))
        with sock:
            for packet in packets:
                self.responder.give(sock, bytes.fromhex(packet),
                                    (to, PORT) if to else None)

    def response(self, **service):
        """The packet that announces a service, in hex."""
        message = wire.Message()
        for record in Service(**service).records():
            message.add_record(record)
        return {"packet": message.pack().hex()}

    def hostile(self, kind, port=PORT, family=4, after=0, **more):
        """The packets of that kind in mdns_hostile.py, in so many seconds."""
        packets = getattr(mdns_hostile, kind)(**more)
        given = ([p.hex() for p in packets], port, None, None, family)
        if after:
            threading.Timer(after, self.send, given).start()
        else:
            self.send(*given)
        return {"sent": len(packets)}

    # The link.

    def link(self, name, up=True):
        """Adds a second one, or takes one away."""
        if up:
            make_link(self.peer, name)
            self.responder.open(name)
        else:
            self.responder.close(name)
            ip("link", "delete", name + "0")

    # Other publishers.

    def avahi(self, services=(), name="avahi", near=False, exclusive=False,
              host="avahipeer"):
        """In the peer's namespace, or near the querier."""
        folder = self.folder / name
        (folder / "services").mkdir(parents=True, exist_ok=True)
        write_services(folder, services)
        (folder / "hosts").touch()
        (folder / "passwd").write_text("avahi:x:0:0::/:/bin/sh\n")
        (folder / "group").write_text("avahi:x:0:\n")
        (folder / "avahi-daemon.conf").write_text(AVAHI.format(
            host=host, interfaces="v0" if near else "v1",
            exclusive="yes" if exclusive else "no"))
        daemon = Process(
            ["unshare", "-m", "sh", "-c", AVAHI_START, str(folder)],
            self.folder / f"{name}.log",
            Namespace.in_thread if near else self.peer.run)
        self.processes[name] = daemon
        daemon.wait_for("successfully established", len(services))
        if not services:
            daemon.wait_for("Server startup complete", 1)

    def reload(self, services, name="avahi"):
        """Of an avahi: other services."""
        write_services(self.folder / name, services)
        self.processes[name].process.send_signal(signal.SIGHUP)

    def zeroconf(self, services, name="zeroconf", interfaces=("10.77.0.2",)):
        text = json.dumps({"services": services, "interfaces": interfaces})
        server = Process([sys.executable, str(HERE / "mdns.py")],
                         self.folder / f"{name}.log", self.peer.run, text)
        self.processes[name] = server
        server.wait_for("registered", len(services))

    def end(self, name, kill=False):
        """With goodbyes, or killed without."""
        process = self.processes.pop(name)
        if kill:
            process.end(signal.SIGKILL)
        elif name.startswith("zeroconf"):
            process.process.stdin.close()
            process.process.wait(10)
            process.log.close()
        else:
            process.end()


if __name__ == "__main__":
    zeroconf_main()
