"""How long it takes to find a local service: scans of ours and avahi-browse in
turn, in a network namespace of their own that a veth pair joins to another,
where an avahi-daemon publishes the service.

    discovery.py LUA SCANS

Prints a line of JSON: for each of ours, cold and warm a list of milliseconds
from the start of the process until the line with the address was read.

avahi-browse asks a daemon that keeps what it has heard. Ours keeps nothing from
one scan to the next, so the daemon is a new one for each scan (cold); how long
it takes when the daemon knows the answer already is told, too (warm). A
responder does not repeat itself within a second (RFC 6762, 6), so the scans are
kept apart.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "spec" / "support"))
import mdns  # noqa: E402  (its namespaces and links)

INSIDE = "NETTASK_BENCH_INSIDE"
TYPE, NAME = "_nettask-bench._tcp", "bench peer"
APART_SECONDS = 1.5
SCAN_SECONDS = 10

CONFIG = """[server]
host-name={host}
allow-interfaces={link}
enable-dbus={dbus}
use-ipv4=yes
use-ipv6=yes
[wide-area]
enable-wide-area=no
[publish]
disable-publishing={silent}
publish-hinfo=no
publish-workstation=no
"""

SERVICE = f"""<service-group><name>{NAME}</name><service><type>{TYPE}</type>
<port>4242</port><txt-record>path=/</txt-record></service></service-group>"""

BUS = """<busconfig><type>system</type><listen>unix:path={path}</listen>
<auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"""

# The daemon's folders have fixed names. The mounts are of that process alone.
START = """
mount -t tmpfs none /run && mkdir /run/avahi-daemon &&
mount --bind "$0" /etc/avahi &&
exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --no-proc-title
"""


def enter():
    """Outside: the same command line again, behind unshare."""
    flags = "-mn" if os.geteuid() == 0 else "-rmn"
    os.execvpe("unshare", ["unshare", flags, sys.executable, *sys.argv],
               {**os.environ, INSIDE: "1"})


# ---- Processes ---------------------------------------------------------------

def start(command, log):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                            stderr=subprocess.STDOUT)


def wait_for(log, text):
    deadline = time.monotonic() + SCAN_SECONDS
    while time.monotonic() < deadline:
        said = pathlib.Path(log.name).read_text(errors="replace")
        if text in said:
            return
        time.sleep(0.01)
    sys.exit(f"bench: {log.name}: {said[-1500:]}")


@contextlib.contextmanager
def running(command, log_path, ready, run=lambda work: work()):
    with open(log_path, "w") as log:
        process = run(lambda: start(command, log))
        try:
            wait_for(log, ready)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def make_files(folder):
    for name, values in (
            ("far", {"host": "benchfar", "link": "v1", "dbus": "no",
                     "silent": "no"}),
            ("near", {"host": "benchnear", "link": "v0", "dbus": "yes",
                      "silent": "yes"})):
        (folder / name / "services").mkdir(parents=True)
        (folder / name / "avahi-daemon.conf").write_text(
            CONFIG.format(**values))
    (folder / "far" / "services" / "bench.service").write_text(SERVICE)
    (folder / "bus.conf").write_text(BUS.format(path=folder / "bus"))


def avahi(folder, name, ready, run=lambda work: work()):
    return running(["unshare", "-m", "sh", "-c", START, folder / name],
                   folder / f"{name}.log", ready, run)


# ---- Scans -------------------------------------------------------------------

def until_line(command, is_it):
    """Milliseconds until the program said that line, and the line."""
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE) as process:
        try:
            for line in process.stdout:
                if is_it(line):
                    return (time.monotonic() - began) * 1000, line
        finally:
            process.kill()
    sys.exit(f"bench: {command[0]} found nothing")


def browse():
    ms, _ = until_line(
        ["avahi-browse", "-r", "-p", TYPE],
        lambda line: line.startswith(b"=;v0;") and b";4242;" in line)
    return ms


def cold(folder):
    with avahi(folder, "near", "Server startup complete"):
        return browse()


def warm(folder, count):
    with avahi(folder, "near", "Server startup complete"):
        browse()
        return [browse() for _ in range(count)]


def ours(lua):
    ms, line = until_line([lua, "bench/discovery.lua", TYPE, NAME],
                          lambda line: line.startswith(b"{"))
    if json.loads(line)["port"] != 4242:
        sys.exit(f"bench: not what was published: {line}")
    return ms


def measure(folder, lua, count):
    results = {"ours": [], "cold": []}
    for _ in range(count):
        time.sleep(APART_SECONDS)
        results["cold"].append(cold(folder))
        time.sleep(APART_SECONDS)
        results["ours"].append(ours(lua))
    time.sleep(APART_SECONDS)
    return {**results, "warm": warm(folder, count)}


def run(folder, lua, count):
    make_files(folder)
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={folder / 'bus'}"
    mdns.settings()
    mdns.ip("link", "set", "lo", "up")
    peer = mdns.Namespace()
    peer.run(lambda: (mdns.settings(), mdns.ip("link", "set", "lo", "up")))
    mdns.make_link(peer, "v")
    bus = ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork",
           "--print-address"]
    with running(bus, folder / "bus.log", "unix:"), \
            avahi(folder, "far", "successfully established", peer.run):
        return measure(folder, lua, count)


def main():
    if INSIDE not in os.environ:
        enter()
    # Not below a folder that the daemons' mounts would hide.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        print(json.dumps(run(pathlib.Path(folder), sys.argv[1],
                             int(sys.argv[2]))))


if __name__ == "__main__":
    main()
