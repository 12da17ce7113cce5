#!/usr/bin/python3
"""A server for specs of trust and secrets, over TLS and without.

    trust_server.py FIRST_CERT FIRST_KEY SECOND_CERT SECOND_KEY

Prints the ports "plain tls" and serves until /quit, three minutes at most.
Whatever is asked, without TLS or with it:
    /head           the head of the request, as it came
    /connections    how many connections the TLS port has had
    /part           half of a body, and the rest once somebody has asked /go
    /to?URL         a redirect
    /next           new connections get the second certificate and key
    an upgrade      a WebSocket that says in X-Head what it was asked, as hex;
                    /drop closes it at once
    CONNECT         a tunnel
"""

import base64
import hashlib
import socket
import ssl
import sys
import threading

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
go = threading.Event()
quits = threading.Event()
contexts = []
count = 0


def context(cert, key):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(cert, key)
    return made


def read_head(connection):
    """The head of a request whose body is read too; None: there is none."""
    data = b""
    end = -1
    size = 0
    while end < 0 or len(data) < end + 4 + size:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
        if end < 0:
            end = data.find(b"\r\n\r\n")
            size = int(field(data[:end], b"content-length") or 0)
    return data[:end + 4]


def field(head, name):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(name + b":"):
            return line.partition(b":")[2].strip()
    return None


def answer(connection, body, status=b"200 OK", more=b""):
    connection.sendall(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
        status, more, len(body), body))
    return True


def open_websocket(connection, head, path):
    key = field(head, b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\nX-Head: %s\r\n\r\n"
        % (accept, head.hex().encode()))
    if path != b"/drop":
        connection.recv(1)
    return False


def relay(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except (OSError, ValueError):
        pass


def tunnel(connection, target):
    host, _, port = target.partition(b":")
    with socket.create_connection((host.decode(), int(port))) as other:
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        back = threading.Thread(target=relay, args=(other, connection))
        back.start()
        relay(connection, other)
        back.join()
    return False


def send_in_two(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    go.wait(30)
    go.clear()
    connection.sendall(b"world")
    return True


def serve_one(connection, head):
    """False: the connection is of no more use."""
    method, target, _ = head.split(b"\r\n")[0].split(b" ")
    path, _, query = target.partition(b"?")
    if method == b"CONNECT":
        return tunnel(connection, target)
    if field(head, b"upgrade"):
        return open_websocket(connection, head, path)
    if path == b"/to":
        return answer(connection, b"", b"302 Found",
                      b"Location: %s\r\n" % query)
    if path == b"/part":
        return send_in_two(connection)
    if path == b"/go":
        go.set()
    elif path == b"/next":
        contexts.pop(0)
    elif path == b"/quit":
        answer(connection, b"")
        quits.set()
        return False
    elif path == b"/connections":
        return answer(connection, b"%d" % count)
    return answer(connection, head)


def serve(connection, tls):
    try:
        with connection:
            if tls:
                connection = contexts[0].wrap_socket(connection,
                                                     server_side=True)
            while head := read_head(connection):
                if not serve_one(connection, head):
                    break
            connection.close()
    except OSError:
        pass


def accept(listener, tls):
    global count
    while True:
        connection, _ = listener.accept()
        count += tls
        threading.Thread(target=serve, args=(connection, tls),
                         daemon=True).start()


def main():
    contexts.extend([context(*sys.argv[1:3]), context(*sys.argv[3:5])])
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    for listener, tls in zip(listeners, (False, True)):
        threading.Thread(target=accept, args=(listener, tls),
                         daemon=True).start()
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    quits.wait(180)


main()
