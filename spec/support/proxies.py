"""Proxies in front of which connections are counted, for support/proxies.lua.

    proxies.py FOLDER TINYPROXY TINYPROXY_AUTH CERTIFICATE KEY

TINYPROXY are ports. Writes FOLDER/ready with a line "name port" for each front:
http and http_auth lead to tinyproxy, https and https_auth too, behind TLS;
socks and socks_auth to two dante servers, which this program starts. The
password of all is that of servers.py. FOLDER/<name> has a byte for each
connection. Ends with its stdin.

dante asks the system for passwords, so it gets a passwd and a shadow of its own
in a mount namespace.
"""

import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
from servers import ENDS_WITH_US, PROXY_LOGIN, free_ports  # noqa: E402

DANTE = """
logoutput: {log}
errorlog: {log}
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: {method}
user.privileged: root
user.unprivileged: root
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def write_users(folder):
    user, password = PROXY_LOGIN.split(":")
    coded = subprocess.run(["openssl", "passwd", "-6", password], check=True,
                           capture_output=True, text=True).stdout.strip()
    for name, text in (
            ("passwd", f"root:x:0:0::/:/bin/sh\n{user}:x:0:0::/:/bin/false\n"),
            ("shadow", f"root:*:1::::::\n{user}:{coded}:1::::::\n"),
            ("nsswitch.conf", "passwd: files\nshadow: files\nhosts: files\n")):
        (folder / name).write_text(text)
    return "; ".join(f"[ ! -e /etc/{name} ] || mount --bind {folder}/{name}"
                     f" /etc/{name}"
                     for name in ("passwd", "shadow", "nsswitch.conf"))


def start_dante(folder, name, method, mounts):
    flags = "-m" if os.geteuid() == 0 else "-rm"
    for _ in range(10):
        port, = free_ports(1)
        config = folder / f"{name}.conf"
        config.write_text(DANTE.format(log=folder / f"{name}.log", port=port,
                                       method=method))
        server = subprocess.Popen(
            [*ENDS_WITH_US, "unshare", flags, "sh", "-c",
             f"set -e; {mounts}; exec danted -f {config}"
             f" -p {folder}/{name}.pid"], stdin=subprocess.DEVNULL)
        while server.poll() is None:
            if connects(port):
                return server, port
            time.sleep(0.02)
    sys.exit("proxies.py: dante does not start: "
             + (folder / f"{name}.log").read_text())


def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        pass
    for sock in (source, target):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def relay(connection, port, log, tls):
    with log.open("ab") as file:
        file.write(b".")
    try:
        if tls:
            connection = tls.wrap_socket(connection, server_side=True)
        with connection, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=pump, args=(far, connection),
                                    daemon=True)
            back.start()
            pump(connection, far)
            back.join()
    except OSError:
        pass


def accept(listener, *rest):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=relay, args=(connection, *rest),
                         daemon=True).start()


def main():
    folder = pathlib.Path(sys.argv[1])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*sys.argv[4:6])
    mounts = write_users(folder)
    plain, auth = int(sys.argv[2]), int(sys.argv[3])
    servers, targets = [], {
        "http": (plain, None), "http_auth": (auth, None),
        "https": (plain, tls), "https_auth": (auth, tls)}
    for name, method in (("socks", "none"), ("socks_auth", "username")):
        server, port = start_dante(folder, name, method, mounts)
        servers.append(server)
        targets[name] = (port, None)
    lines = []
    for name, (port, context) in targets.items():
        (folder / name).touch()
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=accept, daemon=True, args=(
            listener, port, folder / name, context)).start()
        lines.append(f"{name} {listener.getsockname()[1]}\n")
    (folder / "ready.new").write_text("".join(lines))
    (folder / "ready.new").rename(folder / "ready")
    sys.stdin.read()
    for server in servers:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
