#!/usr/bin/python3
"""Runs the specs, each file in an interpreter of its own, and the C tests.

    spec/run.py --build build --lua 5.4 [--sanitize address|thread] [--ctests]
                [--stress] [--timeout SECONDS] [spec/x_spec.lua ...]

Starts the servers once (spec/support/servers.py), runs ten files at a time
(most of them wait), prints a line for each and the output of those that failed,
and ends with `N passed, N failed`. A file fails also when it has no test,
crashes, hangs, leaves a process behind or makes a sanitizer complain. Needs
Debian's python3, for httpbin and gunicorn come from there.
"""

import argparse
import concurrent.futures
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "spec" / "support"))
import servers  # noqa: E402

JOBS = 10
SLOW_JOBS = 5
# What takes longest is started first, or the end is spent waiting for it.
LONG = ["test_websocket_held", "tcp_patience_spec", "test_mdns",
        "websocket_held_spec",
        "stress/websocket_spec", "stress/exit_spec", "stress/close_spec",
        "lifecycle_spec", "timeouts_spec", "tcp_faults_spec",
        "endpoint_life_spec", "dns_hang_spec", "udp_names_spec",
        "stress/gc_spec", "stress/sockets_spec", "stress/resume_spec",
        "upload_spec", "websocket_life_spec", "websocket_flow_spec",
        "mdns_zeroconf_spec", "mdns_change_spec", "mdns_life_spec",
        "mdns_time_spec", "mdns_beside_spec", "mdns_spec",
        "mdns_hostile_spec", "dns_spec", "test_quota", "websocket_close_spec",
        "websocket_alive_spec", "tcp_spec", "faults_spec"]
# With one thread there is no race to look for.
ONE_THREAD = ["test_cache_key", "test_cookie", "test_cookie_jar",
              "test_dns_message", "test_dns_query", "test_gate",
              "test_header", "test_sha1",
              "test_sha256", "test_table", "test_url", "test_utf8",
              "test_ws_deflate", "test_ws_frame", "test_ws_handshake"]
SUPPORT = ROOT / "spec" / "support"


# ---- Sanitizers --------------------------------------------------------------

def library(name):
    path = subprocess.run(["gcc", f"-print-file-name={name}"], text=True,
                          capture_output=True, check=True).stdout.strip()
    if not os.path.isabs(path):
        sys.exit(f"spec/run.py: gcc has no {name}")
    return os.path.realpath(path)


def sanitizer_options(kind, folder):
    """The environment of a program that was built with it."""
    common = f"log_path={folder}/san:exitcode=99"
    if kind == "address":
        return {
            "ASAN_OPTIONS": common + ":detect_leaks=1:handle_abort=1",
            "UBSAN_OPTIONS": common + ":print_stacktrace=1",
            "LSAN_OPTIONS": f"suppressions={SUPPORT}/lsan.supp"
                            ":print_suppressions=0",
        }
    if kind == "thread":
        return {"TSAN_OPTIONS": common + ":second_deadlock_stack=1"
                f":suppressions={SUPPORT}/tsan.supp"}
    return {}


def preload(options):
    """The interpreter is not sanitized, so the runtime comes first."""
    names = {"address": "libasan.so", "thread": "libtsan.so"}
    if not options.sanitize:
        return ""
    return f"{library(names[options.sanitize])}:{options.build}/unpreload.so"


def wrap(kind):
    """ThreadSanitizer cannot map its shadow under strong randomization."""
    return ["setarch", platform.machine(), "-R"] if kind == "thread" else []


# ---- One program -------------------------------------------------------------

class Result:
    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0
        self.seconds = 0.0
        self.problems = []
        self.output = ""

    def problem(self, text):
        self.failed += 1
        self.problems.append(text)


class Runner:
    """Starts a program, waits for it, and tells what became of it."""

    def __init__(self, folder, env, timeout):
        self.folder = pathlib.Path(folder)
        self.env = env
        self.timeout = timeout
        self.lock = threading.Lock()
        self.running = set()
        self.stopping = False

    def run(self, name, command, env, count):
        """`count(output)` fills in the result's passed and failed."""
        result = Result(name)
        log = self.folder / (re.sub(r"\W+", "-", name) + ".log")
        started = time.monotonic()
        with open(log, "w+b") as out:
            status = self.wait(result, command, {**self.env, **env}, out)
        result.seconds = time.monotonic() - started
        result.output = log.read_text(errors="replace")
        count(result)
        if status < 0:
            result.problem(f"ended by {signal.Signals(-status).name}")
        elif status != 0 and result.failed == 0:
            result.problem(f"ended with status {status}")
        elif result.passed + result.failed == 0:
            result.problem("no test ran")
        return result

    def wait(self, result, command, env, out):
        with self.lock:
            if self.stopping:
                return -signal.SIGTERM
            process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            self.running.add(process)
        try:
            process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            result.problem(f"hung for {self.timeout:.0f} s\n"
                           + stacks(process.pid))
            kill_group(process)
        self.collect(result, process)
        return process.returncode

    def collect(self, result, process):
        # A child may still be on its way out.
        deadline = time.monotonic() + 2
        while group_lives(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if group_lives(process.pid):
            result.problem("left a process behind\n"
                           + group_members(process.pid))
            kill_group(process)
        with self.lock:
            self.running.discard(process)
        for report in sorted(self.folder.glob(f"san.{process.pid}*")):
            result.problem(report.read_text(errors="replace"))
            report.unlink()

    def stop(self):
        with self.lock:
            self.stopping = True
            for process in self.running:
                kill_group(process)


def group_lives(pgid):
    try:
        os.killpg(pgid, 0)
        return True
    except ProcessLookupError:
        return False


def group_members(pgid):
    listing = subprocess.run(["ps", "-o", "pid,args", "--no-headers", "-g",
                              str(pgid)], capture_output=True, text=True)
    return listing.stdout


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def stacks(pid):
    """Where each thread of a hung program is."""
    if shutil.which("gdb"):
        dump = subprocess.run(
            ["gdb", "-p", str(pid), "-batch", "-nx", "-ex",
             "thread apply all bt 30"], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120)
        return "\n".join(line for line in dump.stdout.splitlines()
                         if line.startswith(("#", "Thread")))
    lines = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        try:
            lines.append(" ".join((task / name).read_text().strip()
                                  for name in ("comm", "wchan", "syscall")))
        except OSError as error:
            lines.append(f"{task.name}: {error}")
    return "\n".join(lines + ["(install gdb for stacks)"])


# ---- Specs and C tests -------------------------------------------------------

def interpreter(lua):
    return "luajit" if lua == "jit" else f"lua{lua}"


def slow_collector():
    return "NETTASK_TEST_GC" in os.environ


def lua_environment(build, lua):
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("LUA_PATH", "LUA_CPATH", "LUA_INIT"))}
    source = ROOT / "lua-module"
    env.update({
        "LUA_PATH": f"{source}/?.lua;{source}/?/init.lua;{ROOT}/spec/?.lua;;",
        "LUA_CPATH": f"{build}/lua{lua}/?.so;;",
        "LC_ALL": "C.UTF-8",
        "NETTASK_TEST_LUA": interpreter(lua),
        "NETTASK_TEST_BUILD": str(build),
    })
    env.setdefault("STRESS_SCALE", "0.02" if slow_collector() else "0.05")
    return env


def spec_counter(report):
    def count(result):
        # Names of tests may hold any bytes.
        text = report.read_text(errors="replace") if report.exists() else ""
        started = None
        for line in text.split("\n")[:-1]:
            status, _, name = line.partition(" ")
            if status == "start":
                started = name
                continue
            started = None
            if status == "success":
                result.passed += 1
            elif status == "pending":
                result.problem(f"pending: {name}")
            else:
                result.failed += 1
        if started:
            result.problem(f"did not end: {started}")
    return count


def run_spec(runner, options, path):
    name = str(pathlib.Path(path).resolve().relative_to(ROOT))
    report = runner.folder / (re.sub(r"\W+", "-", name) + ".report")
    loader = preload(options)
    env = {"NETTASK_TEST_REPORT": str(report), "NETTASK_TEST_PRELOAD": loader}
    command = wrap(options.sanitize) + [
        "env", f"LD_PRELOAD={loader}", interpreter(options.lua),
        "/usr/bin/busted", "-o", str(SUPPORT / "report.lua"), name]
    return runner.run(name, command, env, spec_counter(report))


def count_tap(result):
    for line in result.output.splitlines():
        if "# SKIP" in line:
            result.problem(line)
        elif re.match(r"\s*ok \d+", line):
            result.passed += 1
        elif re.match(r"\s*not ok \d+", line):
            result.failed += 1


def run_ctest(runner, options, path):
    name = str(pathlib.Path(path).relative_to(options.build))
    return runner.run(name, wrap(options.sanitize) + [str(path)],
                      {"CMOCKA_MESSAGE_OUTPUT": "TAP"}, count_tap)


def rank(job):
    path = pathlib.Path(job[1])
    place = [i for i, name in enumerate(LONG)
             if str(path.with_suffix("")).endswith("/" + name)]
    return place[0] if place else len(LONG)


def jobs(options):
    stress = sorted((ROOT / "spec" / "stress").glob("*_spec.lua"))
    if options.files:
        specs = options.files
    elif options.stress:
        specs = stress
    else:
        specs = sorted((ROOT / "spec").glob("*_spec.lua")) + stress
    tests = sorted(ROOT.glob("c-core/test/test_*.c")) if options.ctests else []
    if options.sanitize == "thread":
        tests = [t for t in tests if t.stem not in ONE_THREAD]
    return sorted([(run_ctest, options.build / "test" / t.stem) for t in tests]
                  + [(run_spec, spec) for spec in specs], key=rank)


# ---- All together ------------------------------------------------------------

def show(result):
    word = "ok  " if result.failed == 0 else "FAIL"
    failed = f"{result.failed} failed" if result.failed else ""
    print(f"{word} {result.name:40} {result.passed:4} passed "
          f"{failed:10} {result.seconds:6.1f} s", flush=True)
    if result.failed:
        text = "\n".join([result.output] + result.problems).strip()
        print("    " + text.replace("\n", "\n    "), flush=True)


def run_all(options, runner):
    results = []
    at_once = SLOW_JOBS if options.sanitize else JOBS
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(function, runner, options, path)
                   for function, path in jobs(options)]
        try:
            for future in concurrent.futures.as_completed(futures):
                results.append(future.result())
                show(results[-1])
        except BaseException:
            runner.stop()
            raise
    return results


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--lua", default="5.4")
    parser.add_argument("--sanitize", choices=["address", "thread"])
    parser.add_argument("--ctests", action="store_true")
    parser.add_argument("--stress", action="store_true")
    parser.add_argument("--timeout", type=float)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    options.build = options.build.resolve()
    return options


def slowness(options):
    """How much longer deadlines are than on a plain build."""
    return (4 if options.sanitize else 1) * (2 if slow_collector() else 1)


def run(options, folder):
    sanitizer = sanitizer_options(options.sanitize, folder)
    group = servers.Servers(pathlib.Path(folder) / "servers", options.build,
                            sanitizer, wrap(options.sanitize))
    slow = slowness(options)
    try:
        group.start()
        env = {**lua_environment(options.build, options.lua),
               **group.environment(), **sanitizer,
               "NETTASK_TEST_SLOW": str(slow)}
        runner = Runner(folder, env, options.timeout or 60 * slow)
        results = run_all(options, runner)
    finally:
        complaints = group.stop()
    for report in sorted(pathlib.Path(folder).glob("san.*")):
        complaints.append(report.read_text(errors="replace"))
    for complaint in complaints:
        result = Result("servers")
        result.problem(complaint)
        show(result)
        results.append(result)
    return results


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    options = parse()
    sys.stdout.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, interrupted)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nettask-") as folder:
        try:
            results = run(options, folder)
        except servers.ServerError as error:
            print(f"FAIL servers: {error}")
            results = [Result("servers")]
            results[0].failed = 1
        except KeyboardInterrupt:
            print("interrupted")
            return 130
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    if passed + failed == 0:
        failed = 1
    print(f"{time.monotonic() - started:.1f} s with "
          f"{interpreter(options.lua)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
