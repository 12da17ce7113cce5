"""The servers that the specs talk to, and the certificates that they show.

Everything lives in one temporary folder and on free ports of 127.0.0.1. Each
server is a child process that `stop()` ends by its pid; start() belongs to the
main thread, for the death of the thread that forked ends some of them.
`environment()` is what spec/helper.lua reads.
"""

import http.client
import json
import os
import pathlib
import select
import socket
import string
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_SECONDS = 30
# nginx and gunicorn do not read their stdin; the kernel tells them when this
# process is gone, however it went.
ENDS_WITH_US = ["setpriv", "--pdeathsig", "TERM"]
PROXY_LOGIN = "user:pass-word"


ZONE = """$ORIGIN example.
$TTL 300
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
game A 127.0.0.1
alias 30 CNAME game
six AAAA ::1
both A 127.0.0.1
both AAAA ::1
first A 127.0.0.1
second A 127.0.0.1
brief 1 A 127.0.0.1
empty TXT "no address"
"""

UNBOUND_CONFIG = """
server:
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "$folder"
  use-syslog: no
  log-queries: yes
  num-threads: 1
  interface: 127.0.0.1@$port
  https-port: $port
  tls-service-key: "$folder/tls/valid.key"
  tls-service-pem: "$folder/tls/valid.pem"
  module-config: "iterator"
  local-zone: "." static
  local-zone: "example." transparent
auth-zone:
  name: "example."
  zonefile: "$folder/example.zone"
  for-downstream: yes
  for-upstream: no
remote-control:
  control-enable: no
"""


class ServerError(Exception):
    pass


def free_ports(count):
    """Free when we look; whoever binds them must cope with a thief."""
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


# ---- Certificates ------------------------------------------------------------

CA_CONFIG = """
[ca]
default_ca = here
[here]
dir = $dir
database = $dir/index.txt
new_certs_dir = $dir
serial = $dir/serial
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""

GOOD = "DNS:localhost,IP:127.0.0.1,IP:::1"
# name: (subjectAltName, not before, not after)
CERTIFICATES = {
    "valid": (GOOD, "20240101000000Z", "20490101000000Z"),
    "expired": (GOOD, "20200101000000Z", "20200201000000Z"),
    "future": (GOOD, "20480101000000Z", "20490101000000Z"),
    "wronghost": ("DNS:wrong.example", "20240101000000Z", "20490101000000Z"),
}


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise ServerError(f"openssl {arguments[0]}: {done.stderr}")


def request_certificate(folder, name, names, *more):
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
            f"/CN=nettask {name}", "-addext", f"subjectAltName={names}",
            "-keyout", f"{folder}/{name}.key", *more)


def make_certificates(folder):
    folder.mkdir()
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        string.Template(CA_CONFIG).substitute(dir=folder))
    request_certificate(folder, "ca", "DNS:ca.example", "-x509", "-days",
                        "3650", "-out", f"{folder}/ca.pem")
    request_certificate(folder, "selfsigned", GOOD, "-x509", "-days", "3650",
                        "-out", f"{folder}/selfsigned.pem")
    for name, (names, start, end) in CERTIFICATES.items():
        request_certificate(folder, name, names, "-out",
                            f"{folder}/{name}.csr")
        openssl("ca", "-batch", "-notext", "-config", f"{folder}/ca.cnf",
                "-cert", f"{folder}/ca.pem", "-keyfile", f"{folder}/ca.key",
                "-startdate", start, "-enddate", end, "-in",
                f"{folder}/{name}.csr", "-out", f"{folder}/{name}.pem")


# ---- Processes ---------------------------------------------------------------

class Server:
    """A child process; its stdin is a pipe, so that it can notice our end."""

    def __init__(self, name, command, folder, env=None, stdout=None):
        self.name = name
        self.log = folder / f"{name}.log"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=stdout or log,
                stderr=log, cwd=ROOT, env=env, start_new_session=True)

    def failed(self, why):
        text = self.log.read_text(errors="replace")[-2000:]
        return ServerError(f"{self.name}: {why}\n{text}")

    def read_ports(self):
        """The line of JSON that our own servers print."""
        ready, _, _ = select.select([self.process.stdout], [], [],
                                    START_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            raise self.failed("did not say where it listens")
        return json.loads(line)

    def wait_for_http(self, port, path):
        self.wait_for(lambda: answers(port, path))

    def wait_for(self, ready):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self.failed(f"ended with {self.process.returncode}")
            if ready():
                return
            time.sleep(0.05)
        raise self.failed("does not answer")

    def end(self):
        """Our own servers end with their stdin; a signal would race it."""
        if self.process.poll() is None:
            self.process.stdin.close()
            if self.process.stdout is None:
                self.process.terminate()

    def join(self):
        """Returns the exit status; None when it had to be killed."""
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


def answers(port, path):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        connection.getresponse().read()
        connection.close()
        return True
    except OSError:
        return False


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    except OSError:
        return False


class Servers:
    def __init__(self, folder, build, env=None, wrap=()):
        self.folder = pathlib.Path(folder)
        self.build = pathlib.Path(build)
        # For the program of our own build, which may be a sanitized one.
        self.env = env or {}
        self.wrap = list(wrap)
        self.running = []
        self.ports = {}

    def start(self):
        self.folder.mkdir(exist_ok=True)
        make_certificates(self.folder / "tls")
        for name, server in [("demo", self.start_demo()),
                             ("fault", self.start_ours("fault_server")),
                             ("pyws", self.start_ours("ws_echo_server"))]:
            self.ports[name] = server.read_ports()
        self.start_httpbin()
        self.start_nginx()
        self.start_proxies()
        self.on_free_ports(["dns"], self.run_dnsmasq)
        self.on_free_ports(["doh"], self.run_unbound)

    def launch(self, name, command, **options):
        server = Server(name, command, self.folder, **options)
        self.running.append(server)
        return server

    def start_demo(self):
        return self.launch(
            "demo", self.wrap + [self.build / "demo-server", "--no-announce",
                                 "--until-eof"],
            env={**os.environ, **self.env}, stdout=subprocess.PIPE)

    def start_ours(self, name):
        tls = self.folder / "tls"
        return self.launch(name, [
            sys.executable, HERE / f"{name}.py", "--cert",
            tls / "valid.pem", "--key", tls / "valid.key"],
            stdout=subprocess.PIPE)

    def start_httpbin(self):
        port, = free_ports(1)
        server = self.launch("httpbin", ENDS_WITH_US + [
            sys.executable, "-m", "gunicorn.app.wsgiapp", "-b",
            f"127.0.0.1:{port}", "--threads", "4", "--worker-tmp-dir",
            self.folder, "httpbin:app"])
        server.wait_for_http(port, "/status/200")
        self.ports["httpbin"] = port

    def on_free_ports(self, names, run):
        for attempt in range(3):
            ports = dict(zip(names, free_ports(len(names))))
            try:
                return run(ports)
            except ServerError:
                if attempt == 2:
                    raise

    def start_nginx(self):
        www = self.folder / "www"
        www.mkdir()
        (www / "small").write_bytes(b"0123456789abcdef" * 64)
        (www / "medium").write_bytes(b"0123456789abcdef" * 4096)
        (www / "big").write_bytes(bytes(range(256)) * 4096)
        (www / "text.txt").write_text("the same line over and over\n" * 2000)
        names = ["http", "https", "https1", "expired", "future",
                 "selfsigned", "wronghost"]
        self.on_free_ports(names, self.run_nginx)

    def run_nginx(self, ports):
        template = string.Template((HERE / "nginx.conf").read_text())
        config = self.folder / "nginx.conf"
        config.write_text(template.safe_substitute(
            {f"port_{name}": port for name, port in ports.items()},
            folder=self.folder, httpbin=self.ports["httpbin"],
            fault=self.ports["fault"]["http"],
            demo=self.ports["demo"]["http"].rpartition(":")[2],
            user="user root;" if os.geteuid() == 0 else ""))
        server = self.launch("nginx", ENDS_WITH_US + [sbin_program("nginx"), "-p", self.folder,
                                       "-c", config, "-e",
                                       self.folder / "nginx.log"])
        server.wait_for_http(ports["http"], "/small")
        self.ports["nginx"] = ports

    def start_proxies(self):
        self.on_free_ports(["open", "auth"], self.run_proxies)

    def run_proxies(self, ports):
        for name, port in ports.items():
            login = f"BasicAuth {PROXY_LOGIN.replace(':', ' ')}\n"
            config = self.folder / f"proxy-{name}.conf"
            config.write_text(
                f"Listen 127.0.0.1\nPort {port}\nTimeout 3600\n"
                "MaxClients 1000\nLogLevel Notice\n"
                + (login if name == "auth" else ""))
            server = self.launch(f"proxy-{name}", ENDS_WITH_US + [
                "tinyproxy", "-d", "-c", config])
            server.wait_for_http(port, "/")
        self.ports["proxy"] = ports

    def run_dnsmasq(self, ports):
        """Knows what is written here, and asks nobody else."""
        server = self.launch("dnsmasq", ENDS_WITH_US + [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
            "--no-resolv", "--no-hosts", "--log-facility=-", "--pid-file=",
            "--user=", "--listen-address=127.0.0.1", "--bind-interfaces",
            f"--port={ports['dns']}", "--host-record=game.example,192.0.2.7",
            "--txt-record=game.example,hello"])
        server.wait_for(lambda: connects(ports["dns"]))
        self.ports["dns"] = ports["dns"]

    def run_unbound(self, ports):
        """DNS over HTTPS for the zone that is written here, and no other."""
        (self.folder / "example.zone").write_text(ZONE)
        config = self.folder / "unbound.conf"
        config.write_text(string.Template(UNBOUND_CONFIG).substitute(
            folder=self.folder, port=ports["doh"]))
        server = self.launch("unbound", ENDS_WITH_US + [
            sbin_program("unbound"), "-d", "-p", "-c", config])
        server.wait_for(lambda: connects(ports["doh"]))
        self.ports["doh"] = ports["doh"]

    def environment(self):
        """What spec/helper.lua documents."""
        nginx, fault, demo, pyws, proxy = (self.ports[name] for name in (
            "nginx", "fault", "demo", "pyws", "proxy"))
        env = {f"NGINX_{name.upper()}": url_of(name, port)
               for name, port in nginx.items()}
        env.update({f"FAULT_{name.upper()}": address_of(name, port)
                    for name, port in fault.items()})
        env.update({
            "NGINX_WSS": f"wss://127.0.0.1:{nginx['https1']}",
            "PYWS": f"ws://127.0.0.1:{pyws['plain']}",
            "PYWS_DEFLATE": f"ws://127.0.0.1:{pyws['deflate']}",
            "PYWS_TLS": f"wss://127.0.0.1:{pyws['tls']}",
            "PROXY": f"http://127.0.0.1:{proxy['open']}",
            "PROXY_AUTH": f"http://127.0.0.1:{proxy['auth']}",
            "DEMO": demo["http"],
            "DEMO_WS": demo.get("ws", ""),
            "DEMO_TCP": str(demo.get("tcp", "")),
            "DEMO_UDP": str(demo.get("udp", "")),
            "DNSMASQ": str(self.ports["dns"]),
            "DOH": f"https://127.0.0.1:{self.ports['doh']}/dns-query",
            "DOH_LOG": str(self.folder / "unbound.log"),
            "HTTPBIN": f"http://127.0.0.1:{self.ports['httpbin']}",
            "CA": str(self.folder / "tls" / "ca.pem"),
            "TLS_DIR": str(self.folder / "tls"),
            "TMP": str(self.folder),
        })
        return {f"NETTASK_TEST_{name}": value for name, value in env.items()}

    def stop(self):
        """Ends all; returns what went wrong with those of our own build."""
        complaints = []
        died = [s for s in self.running if s.process.poll() is not None]
        for server in self.running:
            server.end()
        for server in self.running:
            status = server.join()
            if server in died or (server.name == "demo" and status != 0):
                complaints.append(str(server.failed(f"ended with {status}")))
        self.running = []
        return complaints


RAW = ("tcp", "tcp_tls", "tcp6", "udp", "udp6")


def address_of(name, port):
    """Of the fault server's ports: those that speak no HTTP are numbers."""
    return str(port) if name in RAW else url_of(name, port)


def url_of(name, port):
    plain = ("http", "http6", "closing", "resetting", "silent", "refused",
             "blackhole")
    scheme = "http" if name in plain else "https"
    host = "[::1]" if name == "http6" else "127.0.0.1"
    return f"{scheme}://{host}:{port}"


def sbin_program(name):
    # /usr/sbin is not on everybody's path.
    path = f"/usr/sbin/{name}"
    return path if os.path.exists(path) else name
