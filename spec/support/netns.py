"""Runs a program in a network namespace of its own, with its own DNS.

    netns.py [--dns silent|nxdomain|answer|closed|by-name] [--hosts TEXT]
             [--[no-]lan] [--[no-]cell] [--[no-]mdns] [--also PORTS]
             [--preload LIBRARY] -- PROGRAM ARGUMENT...

Starts itself anew through unshare(1): as root in a network and a mount
namespace, otherwise in a user namespace too. Inside, 127.0.0.1 is all there is,
resolv.conf names it, and a fault server runs, which the program finds through
NETTASK_TEST_FAULT_*, on port 80 and on those of --also. With --lan there is an
interface v0, too, which is 10.77.0.1 and the way to everywhere. With --cell two
lead to a server that is reached by cell0 only from who is bound to it: see
cellular.py. With --mdns there is one, too, with publishers behind it that the
program commands: see mdns.py. What the DNS server was asked stands, a line each, in the file that
NETTASK_TEST_DNS_LOG names. Ends with the program's status, 128 + n for a
signal.
"""

import argparse
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
INSIDE = "NETTASK_TEST_INSIDE_NETNS"


def enter():
    """Outside: the same command line again, behind unshare."""
    flags = "-mn" if os.geteuid() == 0 else "-rmn"
    os.execvpe("unshare", ["unshare", flags, sys.executable, *sys.argv],
               {**os.environ, INSIDE: "1"})


def replace_file(folder, path, text):
    """A file that is not there cannot be mounted over. Minimal systems lack
    some; what the C library assumes then is what we would write."""
    if not os.path.exists(path):
        return
    copy = folder / path.replace("/", "-")
    copy.write_text(text)
    subprocess.run(["mount", "--bind", str(copy), path], check=True)


def set_up(folder, hosts):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # One short try each, so that a silent server hangs no longer than a test.
    replace_file(folder, "/etc/resolv.conf",
                 "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n")
    if hosts and not os.path.exists("/etc/hosts"):
        sys.exit("netns.py: this machine has no /etc/hosts")
    replace_file(folder, "/etc/hosts", "127.0.0.1 localhost\n" + hosts + "\n")
    replace_file(folder, "/etc/nsswitch.conf", "hosts: files dns\n")


def set_up_lan():
    # Its IPv6 addresses may be used at once.
    pathlib.Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    for words in (["link", "add", "v0", "type", "veth", "peer", "name", "v1"],
                  ["address", "add", "10.77.0.1/24", "dev", "v0"],
                  ["link", "set", "v0", "up"], ["link", "set", "v1", "up"],
                  ["route", "add", "default", "dev", "v0"]):
        subprocess.run(["ip", *words], check=True)


A, AAAA = 1, 28


def name_of(question):
    labels, at = [], 0
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    return ".".join(labels)


def addresses_of(name, kind):
    """With --dns by-name; None: there is no such name."""
    known = {
        "two": {A: ["127.0.0.2", "127.0.0.1"]},
        "lan": {A: ["10.77.0.1"]},
        "six": {AAAA: ["::1"]},
        "both": {A: ["127.0.0.1"], AAAA: ["::1"]},
        "none": None,
    }
    found = known.get(re.match("[a-z]*", name)[0], {A: ["127.0.0.1"]})
    return found and found.get(kind, [])


def answer(query, question, addresses, ttl=60):
    """A DNS answer to a query with one question."""
    kind = question[-4:-2]
    head = query[:2] + struct.pack(
        ">HHHHH", 0x8183 if addresses is None else 0x8180, 1,
        len(addresses or ()), 0, 0)
    records = b""
    for address in addresses or ():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        records += (b"\xc0\x0c" + kind
                    + struct.pack(">HIH", 1, ttl, len(packed)) + packed)
    return head + question + records


class Dns:
    def __init__(self, mode, log):
        self.mode = mode
        self.log = log
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, peer = self.sock.recvfrom(4096)
            question = query[12:query.index(b"\0", 12) + 5]
            name = name_of(question).lower()
            kind = int.from_bytes(question[-4:-2], "big")
            with open(self.log, "a") as log:
                log.write({A: "A", AAAA: "AAAA"}.get(kind, str(kind))
                          + f" {name}\n")
            self.react(query, question, name, kind, peer)

    def react(self, query, question, name, kind, peer):
        """By name: silent*, slow*, and those of addresses_of()."""
        if self.mode == "silent" or (self.mode == "by-name"
                                     and name.startswith("silent")):
            return
        if self.mode == "by-name":
            addresses = addresses_of(name, kind)
        elif self.mode == "answer":
            addresses = ["127.0.0.1"] if kind == A else []
        else:
            addresses = None
        text = answer(query, question, addresses)
        slow = self.mode == "by-name" and name.startswith("slow")
        if not slow:
            self.sock.sendto(text, peer)
            return
        timer = threading.Timer(0.3, self.sock.sendto, [text, peer])
        timer.daemon = True
        timer.start()


def start_fault_server(also):
    tls = pathlib.Path(os.environ["NETTASK_TEST_TLS_DIR"])
    server = subprocess.Popen(
        [sys.executable, str(HERE / "fault_server.py"), "--cert",
         str(tls / "valid.pem"), "--key", str(tls / "valid.key"),
         "--also", ",".join(filter(None, ["80", also]))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    from servers import address_of
    ports = json.loads(server.stdout.readline())
    return server, {f"NETTASK_TEST_FAULT_{name.upper()}":
                    address_of(name, port) for name, port in ports.items()}


def run(options):
    with tempfile.TemporaryDirectory() as folder:
        set_up(pathlib.Path(folder), options.hosts)
        if options.lan:
            set_up_lan()
        cell = None
        if options.cell:
            import cellular
            cell = cellular.Control()
        publishers = None
        if options.mdns:
            import mdns
            publishers = mdns.Control(folder)
        log = pathlib.Path(folder) / "dns.log"
        log.touch()
        if options.dns != "closed":
            Dns(options.dns, log)
        server, env = start_fault_server(options.also)
        env = {**os.environ, **env, "NETTASK_TEST_DNS_LOG": str(log)}
        if publishers:
            env.update(publishers.environment())
        if cell:
            env.update(cell.environment())
        if options.preload:
            env["LD_PRELOAD"] = options.preload
        status = subprocess.run(options.program, env=env).returncode
        server.stdin.close()
        server.wait()
        if publishers:
            publishers.stop()
        if cell:
            cell.stop()
    return 128 - status if status < 0 else status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dns", default="silent",
                        choices=["silent", "nxdomain", "answer", "closed",
                                 "by-name"])
    parser.add_argument("--hosts", default="")
    parser.add_argument("--lan", action=argparse.BooleanOptionalAction)
    parser.add_argument("--cell", action=argparse.BooleanOptionalAction)
    parser.add_argument("--mdns", action=argparse.BooleanOptionalAction)
    parser.add_argument("--also", default="")
    parser.add_argument("--preload", default="")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    if INSIDE not in os.environ:
        enter()
    sys.exit(run(options))


if __name__ == "__main__":
    main()
