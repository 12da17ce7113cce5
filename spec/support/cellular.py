"""The other end of two networks, in a network namespace of its own.

    netns.py --cell ... starts it and moves two interfaces into it. It is
    10.80.0.1 behind both, and answers each request with the address that the
    connection came from; who asks for a WebSocket gets one that says nothing.
"""

import base64
import hashlib
import socket
import subprocess
import sys
import threading
import time

# name here, name there, the network; the first is the way that all go
LINKS = (("w0", "w1", "10.78.0"), ("cell0", "cell1", "10.79.0"))
SERVER = "10.80.0.1"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def wait_for_carrier(name):
    """The kernel says so in its own time."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = subprocess.run(["ip", "-br", "link", "show", "dev", name],
                               check=True, capture_output=True, text=True)
        if state.stdout.split()[1] == "UP":
            return
        time.sleep(0.01)
    sys.exit(f"cellular.py: {name} has no carrier")


class Control:
    """What netns.py has of it."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["unshare", "-n", sys.executable, __file__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        for metric, (here, there, net) in enumerate(LINKS, 1):
            ip("link", "add", here, "type", "veth", "peer", "name", there,
               "netns", str(self.process.pid))
            ip("address", "add", f"{net}.1/24", "dev", here)
            ip("link", "set", here, "up")
            ip("route", "add", SERVER, "via", f"{net}.2", "dev", here,
               "metric", str(metric))
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.port = self.process.stdout.readline().strip()
        for here, _, _ in LINKS:
            wait_for_carrier(here)

    def environment(self):
        return {"NETTASK_TEST_CELL": f"http://{SERVER}:{self.port}"}

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def accept_of(head):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"sec-websocket-key:"):
            key = line.partition(b":")[2].strip()
            return base64.b64encode(hashlib.sha1(key + GUID).digest())


def serve(connection, peer):
    data = b""
    with connection:
        while piece := connection.recv(4096):
            data += piece
            if b"\r\n\r\n" not in data:
                continue
            accept = accept_of(data)
            data = b""
            if accept:
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket"
                    b"\r\nConnection: Upgrade\r\nX-Peer: " + peer.encode()
                    + b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
                connection.recv(4096)  # its close frame, or the end
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                               % len(peer) + peer.encode())


def accept(listener):
    while True:
        connection, (peer, _) = listener.accept()
        threading.Thread(target=serve, args=(connection, peer),
                         daemon=True).start()


def main():
    print("here", flush=True)
    sys.stdin.readline()
    ip("link", "set", "lo", "up")
    ip("address", "add", f"{SERVER}/32", "dev", "lo")
    for _, there, net in LINKS:
        ip("address", "add", f"{net}.2/24", "dev", there)
        ip("link", "set", there, "up")
    listener = socket.create_server((SERVER, 0))
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
