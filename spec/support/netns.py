"""Runs a program in a network namespace of its own, with its own DNS.

    netns.py [--dns silent|nxdomain|answer|closed] [--hosts TEXT]
             [--preload LIBRARY] -- PROGRAM ARGUMENT...

Starts itself anew through unshare(1): as root in a network and a mount
namespace, otherwise in a user namespace too. Inside, 127.0.0.1 is all there is,
resolv.conf names it, and a fault server runs, which the program finds through
NETTASK_TEST_FAULT_*, and on port 80. Ends with the program's status, 128 + n
for a signal.
"""

import argparse
import json
import os
import pathlib
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


def answer(query, mode):
    """A DNS answer to a query with one question."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    is_a = question[-4:-2] == b"\0\1"
    found = mode == "answer"
    head = query[:2] + struct.pack(
        ">HHHHH", 0x8180 if found else 0x8183, 1, int(found and is_a), 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + b"\x7f\0\0\1"
    return head + question + (record if found and is_a else b"")


def serve_dns(sock, mode):
    while True:
        query, peer = sock.recvfrom(4096)
        if mode != "silent":
            sock.sendto(answer(query, mode), peer)


def start_dns(mode):
    if mode == "closed":
        return
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    threading.Thread(target=serve_dns, args=(sock, mode), daemon=True).start()


def start_fault_server():
    tls = pathlib.Path(os.environ["NETTASK_TEST_TLS_DIR"])
    server = subprocess.Popen(
        [sys.executable, str(HERE / "fault_server.py"), "--cert",
         str(tls / "valid.pem"), "--key", str(tls / "valid.key"),
         "--also", "80"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    from servers import url_of
    ports = json.loads(server.stdout.readline())
    return server, {f"NETTASK_TEST_FAULT_{name.upper()}": url_of(name, port)
                    for name, port in ports.items()}


def run(options):
    with tempfile.TemporaryDirectory() as folder:
        set_up(pathlib.Path(folder), options.hosts)
        start_dns(options.dns)
        server, env = start_fault_server()
        env = {**os.environ, **env}
        if options.preload:
            env["LD_PRELOAD"] = options.preload
        status = subprocess.run(options.program, env=env).returncode
        server.stdin.close()
        server.wait()
    return 128 - status if status < 0 else status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dns", default="silent",
                        choices=["silent", "nxdomain", "answer", "closed"])
    parser.add_argument("--hosts", default="")
    parser.add_argument("--preload", default="")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    if INSIDE not in os.environ:
        enter()
    sys.exit(run(options))


if __name__ == "__main__":
    main()
