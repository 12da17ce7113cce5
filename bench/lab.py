"""The place where clients are measured: nginx on one core, the client with all
of its threads on another, and what a client's output means.

A client ends with a line of JSON {"ops", "seconds", "cpu"}; wrk, h2load and
curl are translated. CPU is the client's own, of all threads, in the measured
window where the client can tell, else of the whole process.
"""

import json
import os
import pathlib
import re
import signal
import socket
import string
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "spec" / "support"))
import servers  # noqa: E402  (its certificates, processes and free ports)

CLIENT_SECONDS = 120
BIG_BYTES = 1 << 30
UPLOAD_BYTES = 512 << 20
PART_BYTES = 128 << 20  # of eight files at once


class LabError(Exception):
    pass


class Sample:
    """One run of one client. `sent` and `lost` are of datagrams, of the whole
    run."""

    def __init__(self, ops, seconds, cpu, sent=0):
        if ops <= 0 or seconds <= 0:
            raise LabError("a client did nothing")
        self.ops = ops
        self.seconds = seconds
        self.rate = ops / seconds
        self.cpu = cpu / ops
        self.sent = sent
        self.lost = None


def together(samples):
    """Short runs, one after the other, as one."""
    return Sample(sum(s.ops for s in samples), sum(s.seconds for s in samples),
                  sum(s.cpu * s.ops for s in samples))


# ---- Output of foreign clients -----------------------------------------------

def find(pattern, text):
    match = re.search(pattern, text)
    if match is None:
        raise LabError(f"no {pattern!r} in: {text}")
    return float(match.group(1))


def parse_json(text, _cpu):
    values = json.loads(text.strip().splitlines()[-1])
    return Sample(values["ops"], values["seconds"], values["cpu"],
                  values.get("sent", 0))


def parse_wrk(text, cpu):
    if "Non-2xx" in text or "Socket errors" in text:
        raise LabError(text)
    ops = find(r"(\d+) requests in", text)
    return Sample(ops, ops / find(r"Requests/sec:\s+([\d.]+)", text), cpu)


def parse_h2load(text, cpu):
    ops = find(r"(\d+) 2xx", text)
    if find(r"(\d+) failed", text) or find(r"(\d+) errored", text):
        raise LabError(text)
    return Sample(ops, ops / find(r"([\d.]+) req/s", text), cpu)


def parse_curl(text, cpu):
    values = json.loads(text)
    return Sample(values["bytes"], values["seconds"], cpu)


def parse_curls(text, cpu):
    """Several transfers side by side, a line for each."""
    lines = [json.loads(line) for line in text.splitlines()]
    return Sample(sum(line["bytes"] for line in lines),
                  max(line["seconds"] for line in lines), cpu)


# ---- Running -----------------------------------------------------------------

class Client:
    """A command whose {names} are filled in from the lab. `datagrams` is "out"
    or "in" when what the server counts of them tells how many were lost. Of
    one that fills memory, which is also the page cache of a file on a disk, the
    best of three runs counts: where the host of a virtual machine has taken
    free memory back, the first to use it pays for that, which is several times
    what writing costs. `runs` of one that is over too soon make a sample."""

    def __init__(self, command, parse=parse_json, pinned=True, datagrams=None,
                 fills_memory=False, runs=1):
        self.command = command
        self.parse = parse
        self.pinned = pinned
        self.datagrams = datagrams
        assert not (datagrams or fills_memory) or runs == 1
        self.fills_memory = fills_memory
        self.runs = runs


def two_cores():
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise LabError("the bench needs two cores, one for the server")
    return cores[0], cores[-1]


def read_once(path):
    """Into the page cache, or the first client of all would do that."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def nginx_command(folder):
    return servers.ENDS_WITH_US + [
        servers.sbin_program("nginx"), "-p", folder, "-c", folder / "nginx.conf",
        "-e", folder / "nginx.log"]


def port_of(folder):
    """The plain port in the configuration that was made there."""
    return int(find(r"listen 127\.0\.0\.1:(\d+) backlog",
                    (folder / "nginx.conf").read_text()))


def make_bundle(folder):
    """The system's authorities and ours: as large as what people have."""
    system = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    ours = (folder / "tls" / "ca.pem").read_text()
    (folder / "bundle.pem").write_text(system.read_text() + ours)


class Lab:
    """`folder` is in memory, for what a disk should not slow down; `disk` is
    where files go that somebody wants to have."""

    def __init__(self, folder, disk, build, lua_name, environment):
        self.folder = pathlib.Path(folder)
        self.server_core, self.client_core = two_cores()
        self.environment = environment
        self.names = {"build": build, "lua": lua_name,
                      "ca": self.folder / "tls" / "ca.pem",
                      "bundle": self.folder / "bundle.pem",
                      "folder": self.folder, "disk": disk,
                      "python": sys.executable,
                      # Whose packages are Debian's.
                      "system_python": "/usr/bin/python3"}
        self.nginx = None
        self.ws = None
        self.net = None

    # -- The server --

    def make_files(self):
        www = self.folder / "www"
        www.mkdir()
        (www / "small").write_bytes(b"0123456789abcdef" * 64)
        (www / "ten").write_bytes(b"0123456789" * 1024)
        (www / "medium").write_bytes(b"0123456789abcdef" * 4096)
        items = [{"id": i, "name": f"item {i}", "price": i * 1.25,
                  "tags": ["a", "b", "c"], "stock": i % 7 == 0}
                 for i in range(2000)]
        text = json.dumps(items)[:60000]
        items = items[:text.count('"id"') - 1]
        (www / "medium.json").write_text(json.dumps(items))
        for name, size in (("big", BIG_BYTES), ("part", PART_BYTES),
                           ("upload", UPLOAD_BYTES), ("hundred", 100 << 20)):
            with open(www / name, "wb") as file:
                file.truncate(size)  # without blocks: no disk is measured
            read_once(www / name)
        (self.folder / "out").mkdir()

    def start(self):
        self.folder.mkdir(exist_ok=True)
        servers.make_certificates(self.folder / "tls")
        make_bundle(self.folder)
        self.make_files()
        self.start_nginx()
        self.start_ws()
        self.start_net()

    def start_ws(self):
        """Echoes WebSocket messages faster than the demo server could: that
        one runs libwebsockets, which is what would be measured."""
        tls = self.folder / "tls"
        self.ws = servers.Server("ws", [
            "taskset", "-c", str(self.server_core),
            self.names["build"] / "bench" / "ws" / "server",
            tls / "valid.pem", tls / "valid.key"], self.folder,
            stdout=subprocess.PIPE)
        self.names.update(self.ws.read_ports())

    def start_net(self):
        """The other side of TCP and UDP sockets."""
        self.net = servers.Server("net", [
            "taskset", "-c", str(self.server_core),
            self.names["build"] / "bench" / "net" / "server"], self.folder,
            stdout=subprocess.PIPE)
        self.names.update(self.net.read_ports())

    def datagrams(self):
        """What the server has got and sent, once no more are on their way."""
        counts = None
        for _ in range(50):
            with socket.create_connection(
                    ("127.0.0.1", self.names["net_count"]), 5) as asked:
                now = [int(word) for word in asked.recv(100).split()]
            if now == counts:
                break
            counts = now
            time.sleep(0.1)
        return counts

    def start_nginx(self):
        http, https = servers.free_ports(2)
        template = string.Template((HERE / "nginx.conf").read_text())
        (self.folder / "nginx.conf").write_text(template.substitute(
            folder=self.folder, port_http=http, port_https=https,
            cpu_mask=format(1 << self.server_core, "b"),
            user="user root;" if os.geteuid() == 0 else ""))
        self.nginx = servers.Server("nginx", nginx_command(self.folder),
                                    self.folder)
        self.nginx.wait_for_http(http, "/small")
        self.names.update(port=http, http=f"http://127.0.0.1:{http}",
                          https=f"https://127.0.0.1:{https}",
                          tls_port=https)

    def stop(self):
        for server in (self.nginx, self.ws, self.net):
            if server is not None:
                server.end()
                server.join()

    # -- Clients --

    def words(self, command):
        return [word.format(**self.names) for word in command]

    def execute(self, command, pinned=True, environment=None):
        """Runs to the end; returns stdout and the CPU seconds it took."""
        words = self.words(command)
        if pinned:
            words = ["taskset", "-c", str(self.client_core)] + words
        env = {**os.environ, **self.environment, **(environment or {})}
        with subprocess.Popen(words, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, cwd=ROOT, env=env,
                              start_new_session=True) as process:
            timer = threading.Timer(CLIENT_SECONDS, end_group, [process.pid])
            timer.start()
            try:
                # Both are short, well below what a pipe holds.
                out, err = process.stdout.read(), process.stderr.read()
                _, status, use = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            finally:
                timer.cancel()
        if process.returncode != 0:
            raise LabError(f"{' '.join(words)}: {process.returncode}\n"
                           f"{out}{err}")
        return out, use.ru_utime + use.ru_stime

    def sample(self, client):
        if client.fills_memory:
            return max((self.sample_once(client) for _ in range(3)),
                       key=lambda sample: sample.rate)
        if client.runs > 1:
            return together([self.sample_once(client)
                             for _ in range(client.runs)])
        return self.sample_once(client)

    def sample_once(self, client):
        before = self.datagrams() if client.datagrams else None
        out, cpu = self.execute(client.command, client.pinned)
        sample = client.parse(out, cpu)
        if before:
            after = self.datagrams()
            taken, given = (b - a for a, b in zip(before, after))
            if client.datagrams == "out":
                sample.lost = 1 - taken / sample.sent
            else:
                sample.lost = 1 - sample.sent / given
        return sample

    def values(self, command, **options):
        """Of a program that prints one line of JSON with its own figures."""
        out, _ = self.execute(command, **options)
        return json.loads(out.strip().splitlines()[-1])

    def values_in_netns(self, command, **options):
        """The same where no name can be looked up."""
        return self.values(["{python}", "bench/netns.py", "{folder}", "--",
                            *command], **options)


def end_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)  # a session of its own: only ours
    except ProcessLookupError:
        pass
