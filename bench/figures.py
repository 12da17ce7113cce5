"""Rows that are measured by programs of their own: stalls, frames, dispatch,
memory, system calls. Each function returns its lines of the table; each runs
its program once a round.
"""

import pathlib
import re
import statistics
import tempfile

import setup
from lab import LabError
from table import Line, short

SECONDS = "1.0"


def rounds_of(measure, rounds):
    return [measure() for _ in range(rounds)]


def column(results, name):
    return [result[name] for result in results]


def middle(results, name):
    return short(statistics.median(column(results, name)))


# ---- Stalls of the loop ------------------------------------------------------

def tls_stall(lab, rounds, _say):
    words = ["{https}/closing/small", "{bundle}", SECONDS]
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(lab.values(["{build}/bench/tls_stall", *words]))
        theirs.append(lab.values(["{build}/bench/tls_stall_curl", *words]))
    values = [a["median_ms"] / b["median_ms"] for a, b in zip(ours, theirs)]
    note = (f"{middle(ours, 'median_ms')} : {middle(theirs, 'median_ms')} ms; "
            f"the first {middle(ours, 'first_ms')} : "
            f"{middle(theirs, 'first_ms')} ms, after a context warmed up for "
            f"{middle(ours, 'settling_ms')} ms")
    return [Line("T10", "stall of the loop by a new TLS connection",
                 "curl's defaults", 0.1, 0.03, False, values=values,
                 note=note)]


def lookup_stall(lab, rounds, _say):
    results = rounds_of(lambda: lab.values_in_netns(
        ["{build}/bench/lookup_stall", SECONDS]), rounds)
    note = f"without any lookup: {middle(results, 'control_ms')} ms"
    lines = [Line("T11", f"stall of the loop while a lookup {what}", "", 5, 1,
                  False, "ms", column(results, name), note)
             for what, name in (("hangs", "hanging_ms"),
                                ("is cancelled", "cancelled_ms"),
                                ("times out", "timed_out_ms"))]
    for what, name in (("abort of a request", "abort_ms"),
                       ("nt_close()", "close_ms")):
        lines.append(Line("T11", f"{what} in a hanging lookup, core", "", 50,
                          None, False, "ms", column(results, name)))
    return lines


# ---- Round trips -------------------------------------------------------------

SPIN_MICROS = "100"


def tcp_ping(lab, rounds, say):
    rest = ["64", SECONDS]
    commands = {
        "lua": ["{lua}", "bench/tcp.lua", "ping", "127.0.0.1", "{net_echo}",
                *rest],
        "c": ["{build}/bench/net/peer_tcp", "ping", "127.0.0.1",
              "{net_echo}", "0", *rest],
        "luasocket": ["{lua}", "bench/net/peer_luasocket.lua", "tcp-ping",
                      "127.0.0.1", "{net_echo}", "0", *rest],
    }
    # Two threads that spin need a core each; the server shares one then.
    commands["spinning"] = commands["lua"] + [SPIN_MICROS]
    results = {name: [] for name in commands}
    for i in range(rounds):
        for name, command in commands.items():
            say(f"round {i + 1}/{rounds}: T16: {name}")
            results[name].append(lab.values(command,
                                            pinned=name != "spinning"))
    lines = []
    for ours, theirs, what, against, target, goal in [
            ("lua", "c", "Lua", "C, blocking", 1.8, None),
            ("lua", "luasocket", "Lua", "luasocket", None, None),
            ("spinning", "c", "Lua, spinning", "C, blocking", None, 0.5)]:
        values = [a["p50_us"] / b["p50_us"]
                  for a, b in zip(results[ours], results[theirs])]
        pair = [results[ours], results[theirs]]
        note = ", ".join(
            f"{text} {' : '.join(middle(r, name) for r in pair)} us"
            for text, name in (("p50", "p50_us"), ("p99", "p99_us"),
                               ("CPU", "cpu_us")))
        lines.append(Line("T16", f"TCP 64 B round trip, p50, {what}", against,
                          target, goal, False, values=values, note=note))
    return lines


# ---- Local services ----------------------------------------------------------

SCANS = 20
SCANS_A_RUN = 5


def discovery(lab, _rounds, say):
    runs = SCANS // SCANS_A_RUN
    times = {"ours": [], "cold": [], "warm": []}
    for i in range(runs):
        say(f"round {i + 1}/{runs}: mdns")
        results = lab.values(["{python}", "bench/discovery.py", "{lua}",
                              str(SCANS_A_RUN)], pinned=False)
        for name, values in results.items():
            times[name] += values
    p50 = {name: statistics.median(values) for name, values in times.items()}

    def line(name, what, target):
        note = (f"p50 of {len(times['ours'])} scans, {short(p50['ours'])} : "
                f"{short(p50[name])} ms, max {short(max(times['ours']))} : "
                f"{short(max(times[name]))} ms; from the start of a process")
        return Line("mdns", "a local service found, Lua", what, target, None,
                    False, values=[p50["ours"] / p50[name]], note=note)

    return [line("cold", "avahi-browse -r, its daemon new", 1.2),
            line("warm", "avahi-browse -r, its daemon knows", None)]


# ---- update() ----------------------------------------------------------------

def idle(lab, rounds, _say):
    results = rounds_of(lambda: lab.values(
        ["{lua}", "bench/idle.lua", "{http}/small", SECONDS]), rounds)
    values = [r["update_ns"] / r["empty_ns"] for r in results]
    note = (f"{middle(results, 'update_ns')} : {middle(results, 'empty_ns')} "
            f"ns; one that returns two numbers, as update() does: "
            f"{middle(results, 'empty_two_ns')} ns")
    return [Line("T21", "idle update() from Lua", "an empty C function", 1.2,
                 1.05, False, values=values, note=note)]


def dispatch(lab, rounds, _say):
    lines = []
    luas = {lab.names["lua"]: {}}
    luas["luajit"] = setup.lua_environment(lab.names["build"], "jit")
    for lua, environment in luas.items():
        results = rounds_of(lambda: lab.values(
            [lua, "bench/dispatch.lua", "{http}/small", "200", SECONDS],
            environment=environment), rounds)
        values = [r["update"] / r["full"] for r in results]
        note = (f"{middle(results, 'update')} : {middle(results, 'full')} a "
                f"ms; with 4 fields, no header, no profile: "
                f"{middle(results, 'lean')}")
        lines.append(Line("T22", f"results dispatched, 1 KB, {lua}",
                          "a bare pcall in C, same table", 0.8, 0.95,
                          values=values, note=note))
    return lines


def promises(lab, rounds, _say):
    lines = []
    luas = {lab.names["lua"]: {}}
    luas["luajit"] = setup.lua_environment(lab.names["build"], "jit")
    for lua, environment in luas.items():
        results = rounds_of(lambda: lab.values(
            [lua, "bench/promise.lua", SECONDS], environment=environment),
            rounds)
        lines.append(Line("promise", f"a step of a chain, {lua}", "", 2, None,
                          False, "us", column(results, "step_us")))
        note = (f"a callback and what it begins "
                f"{middle(results, 'callback_us')} us; next() in its place "
                f"{middle(results, 'next_us')} us more")
        lines.append(Line("promise", f"an await, {lua}",
                          "beyond the callback", 3, None, False, "us",
                          column(results, "await_us"), note))
    return lines


BUDGET_LOADS = [
    ("1 KB text", "text", "small", "2000"),
    ("64 KB text", "text", "medium", "500"),
    ("60 KB of JSON", "json", "medium.json", "100"),
    ("64 KB in chunks", "chunk", "medium", "500"),
]


def budget(lab, rounds, _say):
    lines = []
    for what, kind, path, count in BUDGET_LOADS:
        results = rounds_of(lambda: lab.values(
            ["{lua}", "bench/budget.lua", kind, "{http}/" + path, count,
             SECONDS]), rounds)
        note = (f"{middle(results, 'frames')} frames a round, p50 "
                f"{middle(results, 'p50_ms')} ms, max "
                f"{short(max(column(results, 'max_ms')))} ms; p99.9 in CPU "
                f"time {middle(results, 'cpu_p999_ms')} ms; with the "
                f"collector at rest {middle(results, 'rest_p999_ms')} ms, "
                f"CPU {middle(results, 'rest_cpu_p999_ms')} ms")
        if "step_p999_ms" in results[0]:
            note += (f"; with small steps of the collector "
                     f"{middle(results, 'step_p999_ms')} ms, CPU "
                     f"{middle(results, 'step_cpu_p999_ms')} ms")
        lines.append(Line("T23", f"update(budget), p99.9 overrun, {what}", "",
                          0.3, 0.1, False, "ms", column(results, "p999_ms"),
                          note))
    return lines


def spread(results, name):
    """Of all rounds: medians of p50 and p99, the largest of the maxima."""
    return (f"p50 {middle(results, name + '_p50')}, max "
            f"{short(max(column(results, name + '_max')))} ms")


def frame(lab, rounds, _say):
    """On both cores: what counts is how long a frame has to wait, and a game
    does not put its own loop on the core where all others work."""
    command = ["{lua}", "bench/frames.lua", "{http}/small", "2.0"]
    plain = rounds_of(lambda: lab.values(command, pinned=False), rounds)
    stuck = rounds_of(lambda: lab.values_in_netns(
        command + ["http://stuck.example/"], pinned=False), rounds)
    work = "60 fps, 64 requests in flight: "
    lines = [
        Line("frame", work + "update(), p99", "", None, None, False, "ms",
             column(plain, "update_p99"), spread(plain, "update")),
        Line("frame", work + "request(), p99", "", None, None, False, "ms",
             column(plain, "request_p99"), spread(plain, "request")),
        Line("frame", work + "update(), p99, a lookup hangs", "", 1, None,
             False, "ms", column(stuck, "update_p99"),
             spread(stuck, "update")),
    ]
    for what, name in (("abort() of it", "abort_ms"), ("close()", "close_ms")):
        lines.append(Line("frame", f"{what} while a lookup hangs, Lua", "", 50,
                          None, False, "ms", column(stuck, name)))
    return lines


# ---- Files -------------------------------------------------------------------

def files(lab, rounds, _say):
    lines = []
    for what, command in (
            ("a download of 1 GB", ["down", "{disk}", "{http}/big", "1"]),
            ("8 downloads of 128 MB", ["down", "{disk}", "{http}/part", "8"]),
            ("an upload of 512 MB", ["up", "{folder}/www/upload",
                                     "http://127.0.0.1:{net_upload}/"])):
        results = rounds_of(lambda: lab.values(
            ["{lua}", "bench/transfer.lua", "frames", *command]), rounds)
        note = f"max {middle(results, 'update_max')} ms"
        lines.append(Line("files", f"update(), p99, during {what}", "", 0.5,
                          None, False, "ms", column(results, "update_p99"),
                          note))
        # One task's buffers; eight have theirs.
        lines.append(Line("files", f"memory above idle, {what}", "",
                          16 if "8" not in what else None, None, False, "MB",
                          column(results, "memory_mb")))
    return lines


# ---- Memory, system calls ----------------------------------------------------

def idle_connections(lab, rounds):
    results = rounds_of(lambda: lab.values(
        ["{build}/bench/idle_memory", "{http}/small", "{http}/closing/small",
         "200"]), rounds)
    note = (f"resident pages; {middle(results, 'heap_kb')} KB of heap in use; "
            f"{middle(results, 'connections')} connections")
    return [Line("T24", "memory of an idle keep-alive connection", "", 10, 9,
                 False, "KB", column(results, "resident_kb"), note)]


def idle_sockets(lab, rounds, count, seconds, *, tls=False):
    words = ["{build}/bench/idle_sockets", "127.0.0.1",
             "{wss}" if tls else "{ws}", str(count), seconds]
    return rounds_of(lambda: lab.values(words + (["{ca}"] if tls else [])),
                     rounds)


SOCKETS = 1000
MANY_SOCKETS = 10000


def idle_memory(lab, rounds, _say):
    lines = idle_connections(lab, rounds)
    for scheme, goal in (("ws", 2), ("wss", None)):
        results = idle_sockets(lab, rounds, SOCKETS, "0.2",
                               tls=scheme == "wss")
        note = (f"resident pages; {middle(results, 'heap_kb')} KB of heap in "
                f"use; {SOCKETS} sockets")
        lines.append(Line("T24", f"memory of an idle WebSocket, {scheme}", "",
                          12 if scheme == "ws" else None, goal, False, "KB",
                          column(results, "resident_kb"), note))
    results = idle_sockets(lab, min(rounds, 2), MANY_SOCKETS, "2")
    note = (f"of one core, over 2 s; opened in "
            f"{middle(results, 'open_seconds')} s, "
            f"{middle(results, 'resident_kb')} KB each, all echo afterwards")
    lines.append(Line("T24", f"CPU of {MANY_SOCKETS:,} idle WebSockets in one "
                      "context", "", 1, 0.1, False, "%",
                      column(results, "idle_cpu_percent"), note))
    return lines


FRAMES = 1000


def calls_between_marks(folder):
    """System calls of the host thread, and of the process's other threads,
    whose traces have no marks but times."""
    begin = end = host = None
    calls = {}
    for path in folder.iterdir():
        thread = int(path.suffix[1:])
        calls[thread] = []
        for line in path.read_text(errors="replace").splitlines():
            time, text = line.split(None, 1)
            mark = re.search(r'"/bench-mark/(begin/(\d+)|end)"', text)
            if mark is None:
                calls[thread].append(float(time))
            elif mark.group(2):
                begin, host = float(time), int(mark.group(2))
            else:
                end = float(time)
    if end is None:
        raise LabError("strace: no marks in the trace")
    inside = {thread: sum(begin < time < end for time in times)
              for thread, times in calls.items()}
    return inside.pop(host), sum(inside.values())


def idle_calls(lab, rounds, _say):
    ours, others = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            lab.execute(["strace", "-ff", "-ttt", "-o", f"{folder}/trace",
                         "{lua}", "bench/idle_trace.lua", "{http}/small",
                         str(FRAMES)])
            host, rest = calls_between_marks(pathlib.Path(folder))
        ours.append(host)
        others.append(rest)
    return [Line("T25", f"system calls of the host thread, {FRAMES} idle "
                 "frames", "", 0, 0, False, values=ours,
                 note=f"other threads: {statistics.median(others):g}")]


ROWS = [("T10", tls_stall), ("T11", lookup_stall), ("T16", tcp_ping),
        ("mdns", discovery),
        ("T21", idle),
        ("T22", dispatch), ("promise", promises), ("T23", budget),
        ("T24", idle_memory), ("T25", idle_calls), ("frame", frame), ("files", files)]
