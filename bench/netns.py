"""Runs a command where no name can be looked up: in a network and a mount
namespace of its own, with a resolver that takes queries and never answers, and
with the bench's nginx.

    netns.py NGINX_FOLDER -- PROGRAM ARGUMENT...

Starts itself anew through unshare(1). nginx runs with the configuration that
lab.py made, so it listens on the same ports, of the other 127.0.0.1.
"""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
import lab  # noqa: E402
from lab import servers  # noqa: E402

INSIDE = "NETTASK_BENCH_INSIDE"


def enter():
    """Outside: the same command line again, behind unshare."""
    flags = "-mn" if os.geteuid() == 0 else "-rmn"
    os.execvpe("unshare", ["unshare", flags, sys.executable, *sys.argv],
               {**os.environ, INSIDE: "1"})


def use_resolver(folder):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, text in (
            ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30\n"),
            ("nsswitch.conf", "hosts: files dns\n")):
        copy = pathlib.Path(folder) / name
        copy.write_text(text)
        subprocess.run(["mount", "--bind", copy, f"/etc/{name}"], check=True)


def be_silent():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))

    def read():
        while True:
            sock.recvfrom(4096)

    threading.Thread(target=read, daemon=True).start()


def run(nginx_folder, program):
    nginx_folder = pathlib.Path(nginx_folder)
    with tempfile.TemporaryDirectory() as folder:
        use_resolver(folder)
        be_silent()
        nginx = servers.Server("nginx-inside", lab.nginx_command(nginx_folder),
                               pathlib.Path(folder))
        try:
            nginx.wait_for_http(lab.port_of(nginx_folder), "/small")
            status = subprocess.run(program).returncode
        finally:
            nginx.end()
            nginx.join()
            for name in ("resolv.conf", "nsswitch.conf"):
                subprocess.run(["umount", f"/etc/{name}"], check=True)
    return status


def main():
    if INSIDE not in os.environ:
        enter()
    split = sys.argv.index("--")
    sys.exit(abs(run(sys.argv[1], sys.argv[split + 1:])))


if __name__ == "__main__":
    main()
