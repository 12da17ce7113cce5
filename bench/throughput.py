"""Rows in which two clients do the same work: T1 to T9, files at once, T12 to
T15, and T17 to T20.

Every client of a group runs once a round, one after the other, starting with
another one each round; so each comparison is between neighbours in time.
"""

import table
from lab import Client, LabError, parse_curl, parse_curls, parse_h2load, parse_wrk

SECONDS = "1.0"
SPIN_MICROS = "100"


def wrk(in_flight):
    return Client(["wrk", "-t1", f"-c{in_flight}", "-d1s", "{http}/small"],
                  parse_wrk)


def core(in_flight):
    return Client(["{build}/bench/core_get", "{http}/small", str(in_flight),
                   SECONDS])


def bare_curl(in_flight, *more):
    return Client(["{build}/bench/peer_curl", "{http}/small", str(in_flight),
                   SECONDS, *more])


def lua(in_flight):
    return Client(["{lua}", "bench/get.lua", "{http}/small", str(in_flight),
                   SECONDS])


def lua_spinning(in_flight):
    """Two threads that spin need a core each; the server shares one then."""
    return Client(["{lua}", "bench/get.lua", "{http}/small", str(in_flight),
                   SECONDS, SPIN_MICROS], pinned=False)


def lua_peer(name, in_flight):
    return Client(["{lua}", f"bench/peer_{name}.lua", "127.0.0.1", "{port}",
                   "/small", str(in_flight), SECONDS])


def undici(in_flight):
    return Client(["node", "bench/peer_undici.mjs", "{http}", "/small",
                   str(in_flight), SECONDS])


def fetch(in_flight):
    return Client(["node", "bench/peer_fetch.mjs", "{http}/small",
                   str(in_flight), SECONDS])


H2_STREAMS = "64"


def h2_clients():
    return {
        "core": Client(["{build}/bench/core_get", "{https}/small", H2_STREAMS,
                        SECONDS, "h2", "{ca}"]),
        "curl": Client(["{build}/bench/peer_curl", "{https}/small", H2_STREAMS,
                        SECONDS, "h2", "{ca}"]),
        "h2load": Client(["h2load", "-D", "1", "-t", "1", "-c", "1", "-m",
                          H2_STREAMS, "{https}/small"], parse_h2load),
        "http2": Client(["node", "bench/peer_http2.mjs", "{https}", "/small",
                         H2_STREAMS, SECONDS, "{ca}"]),
    }


def get_clients(in_flight):
    return {
        "wrk": wrk(in_flight), "core": core(in_flight), "lua": lua(in_flight),
        "lua_http": lua_peer("lua_http", in_flight),
        "undici": undici(in_flight), "fetch": fetch(in_flight),
        "luv": lua_peer("luv", in_flight),
        "copas": lua_peer("copas", in_flight),
        "curl": bare_curl(in_flight),
        "least": bare_curl(in_flight, "least"),
    }


def cached_clients():
    """10 KB that are fresh in the cache, and the same that are fetched."""
    words = ["{lua}", "bench/get.lua", "{http}/stored/ten", "64", SECONDS, "0",
             "10240"]
    core = ["{build}/bench/core_get", "{http}/stored/ten", "64", SECONDS]
    return {"hit": Client(words + ["default"]),
            "fetch": Client(words + ["no-store"]),
            "core_hit": Client(core + ["cache", "", "10240"]),
            "core_fetch": Client(core + ["plain", "", "10240"])}


def stored_clients(how):
    """100 MB, six times, which are stored or not; by a thread that writes, so
    the client has both cores."""
    words = ["{lua}", "bench/stored.lua", "{http}/stored/hundred", "6", how]
    return {"stored": Client(words + ["{folder}/cache"], pinned=False,
                             fills_memory=True),
            "plain": Client(words, pinned=False, fills_memory=True)}


def stream_clients():
    return {
        "lua": Client(["{lua}", "bench/stream.lua", "{http}/big"]),
        "curl": Client([
            "curl", "-sS", "-o", "/dev/null", "-w",
            '{{"bytes":%{{size_download}},"seconds":%{{time_total}}}}',
            "{http}/big"], parse_curl),
    }


CURL_FORMAT = ('{{"bytes":%%{{size_%s}},"seconds":%%{{time_total}}}}'
               "\\n")


def curl_files(url, count, parse, place):
    """Its files are new ones each time, as ours are."""
    names = [f"{place}/curl-{i}" for i in range(count)]
    outputs = [word for name in names for word in ("-o", name, url)]
    words = ["curl", "-sS", "--parallel-immediate", "--parallel",
             "--parallel-max", str(count)] if count > 1 else ["curl", "-sS"]
    return Client(["sh", "-c", 'rm -f "$0"/curl-*; exec "$@"', place, *words,
                   "-w", CURL_FORMAT % "download", *outputs], parse,
                  fills_memory=True)


def lua_files(url, count, host, place):
    return Client(["{lua}", "bench/transfer.lua", host, "down", place, url,
                   str(count)], fills_memory=True)


def file_clients(path, count, host, place="{disk}"):
    url = "{http}/" + path
    return {"lua": lua_files(url, count, host, place),
            "curl": curl_files(url, count, parse_curls, place)}


UPLOADS = 8  # of half a gigabyte, for a sample of a second


def upload_clients():
    source = "{folder}/www/upload"
    return {
        "lua": Client(["{lua}", "bench/transfer.lua", "run", "up", source,
                       "http://127.0.0.1:{net_upload}/"], runs=UPLOADS),
        "curl": Client(["curl", "-sS", "-o", "/dev/null", "-w",
                        CURL_FORMAT % "upload", "-F", f"file=@{source}",
                        "http://127.0.0.1:{net_upload}/"], parse_curls,
                       runs=UPLOADS),
    }


def ws_clients(kind, size, in_flight, tls=False):
    """See bench/ws/load.h; the server is bench/ws/server.c."""
    words = ["127.0.0.1", "{wss}" if tls else "{ws}", kind, str(size),
             str(in_flight), SECONDS] + (["{ca}"] if tls else [])
    commands = {
        "core": ["{build}/bench/core_ws"],
        "lua": ["{lua}", "bench/ws.lua"],
        "ws": ["node", "bench/ws/peer_ws.mjs"],
        "websockets": ["{system_python}", "bench/ws/peer_websockets.py"],
        "lua_http": ["{lua}", "bench/ws/peer_lua_http.lua"],
        "lws": ["{build}/bench/ws/peer_lws"],
        "uv": ["{build}/bench/ws/peer_uv"],
    }
    return {name: Client(command + words)
            for name, command in commands.items()}


def tcp_clients(mode):
    """Bytes one way, in calls of 64 KB; see bench/net/server.c."""
    port = "{net_source}" if mode == "in" else "{net_sink}"
    rest = ["127.0.0.1", port, "0", "65536", SECONDS]
    return {
        "lua": Client(["{lua}", "bench/tcp.lua", mode, "127.0.0.1", port,
                       "65536", SECONDS]),
        "luasocket": Client(["{lua}", "bench/net/peer_luasocket.lua",
                             f"tcp-{mode}", *rest]),
        "c": Client(["{build}/bench/net/peer_tcp", mode, *rest]),
    }


def udp_clients(mode):
    """Datagrams of 64 bytes; see bench/net/server.c. What a peer cannot do in
    bursts it does one by one."""
    ports = (["{net_udp_source}", "0"] if mode == "in" else
             ["{net_udp_sink}", "{net_udp_sink2}"])
    rest = ["127.0.0.1", *ports, "64", SECONDS]
    theirs = "one" if mode == "burst" else mode
    way = "in" if mode == "in" else "out"
    return {
        "lua": Client(["{lua}", "bench/udp.lua", mode, *rest], datagrams=way),
        "luv": Client(["{lua}", "bench/net/peer_luv.lua", theirs, *rest],
                      datagrams=way),
        "luasocket": Client(["{lua}", "bench/net/peer_luasocket.lua", theirs,
                             *rest], datagrams=way),
        "c": Client(["{build}/bench/net/peer_udp", mode, *rest],
                    datagrams=way),
    }


# (row, work, ours, peer's name, peer, target, goal)
def get_rows(n):
    return [
        ("T1", f"GET 1 KB, {n} in flight, core", "core", "wrk", "wrk", .9, .95),
        ("T1", f"GET 1 KB, {n} in flight, core", "core", "bare libcurl on "
         "libuv: a ceiling", "curl", None, None),
        ("T1", f"GET 1 KB, {n} in flight, bare libcurl on libuv", "curl", "wrk",
         "wrk", None, None),
        ("T1", f"GET 1 KB, {n} in flight, the same with nothing but a URL",
         "least", "wrk", "wrk", None, None),
        ("T2", f"GET 1 KB, {n} in flight, Lua", "lua", "wrk", "wrk", .55, .7),
        ("T3", f"GET 1 KB, {n} in flight, Lua", "lua", "lua-http", "lua_http",
         1.15, 1.5),
        ("T4", f"GET 1 KB, {n} in flight, Lua", "lua", "undici", "undici",
         1.25, 1.7),
        ("T4", f"GET 1 KB, {n} in flight, Lua", "lua", "node fetch", "fetch",
         10, 20),
        ("T2", f"GET 1 KB, {n} in flight, Lua", "lua", "by hand on luv: a "
         "ceiling", "luv", None, None),
        ("T2", f"GET 1 KB, {n} in flight, Lua", "lua", "by hand on copas: a "
         "ceiling", "copas", None, None),
    ]


ONE = "GET 1 KB, 1 in flight, "
WS_SMALL = "WebSocket 64 B text, 64 in flight, "
WS_LARGE = "WebSocket 64 KB binary, 8 in flight, "
WSS_LARGE = "wss 64 KB binary, 8 in flight, "
WS_UV = "same frames on bare uv_tcp"
WS_OTHERS = [("lua-http", "lua_http"), ("python-websockets", "websockets"),
             ("bare libwebsockets", "lws")]


def ws_others(row, work, ours, left_out=()):
    """Peers without a target."""
    return [(row, work + ("core" if ours == "core" else "Lua"), ours, name,
             peer, None, None)
            for name, peer in WS_OTHERS if peer not in left_out]


def tcp_rows(mode):
    work = f"TCP bulk {mode}, Lua"
    return [("T17", work, "lua", "luasocket", "luasocket", 2, 2.5),
            ("T17", work, "lua", "C on epoll", "c", .75, .95)]


UDP_ONE = "UDP 64 B out, one a frame, Lua"
UDP_TURN = "UDP 64 B out, to two peers in turn, Lua"
UDP_BURST = "UDP 64 B out, bursts of 64 to one peer, Lua"
UDP_IN = "UDP 64 B in, Lua"


def udp_one_rows(work):
    return [("T18", work, "lua", "luv", "luv", 1.1, 1.3),
            ("T18", work, "lua", "luasocket", "luasocket", 1.1, 1.3),
            ("T18", work, "lua", "sendto() in C", "c", None, None)]


GROUPS = [
    (get_clients(16), get_rows(16)),
    (get_clients(64), get_rows(64)),
    ({"wrk": wrk(1), "lua": lua(1), "lua_http": lua_peer("lua_http", 1),
      "core": core(1), "spinning": lua_spinning(1)},
     [("T5", ONE + "Lua", "lua", "wrk", "wrk", .65, None),
      ("T5", ONE + "Lua", "lua", "lua-http", "lua_http", 1.0, None),
      ("T5", ONE + "Lua, spinning", "spinning", "wrk", "wrk", None, 1.2),
      ("T5", ONE + "Lua, spinning", "spinning", "lua-http", "lua_http", None,
       1.7),
      ("T5", ONE + "core", "core", "wrk", "wrk", None, None)]),
    (h2_clients(),
     [("T6", "GET over h2+TLS, 64 streams, core", "core", "h2load", "h2load",
       .5, .65),
      ("T6", "GET over h2+TLS, 64 streams, core", "core", "bare libcurl on "
       "libuv: a ceiling", "curl", None, None),
      ("T6", "GET over h2+TLS, 64 streams, bare libcurl on libuv", "curl",
       "h2load", "h2load", None, None),
      ("T6", "GET over h2+TLS, 64 streams, core", "core", "node http2",
       "http2", 2, 3)]),
    (cached_clients(),
     [("C1", "GET 10 KB, 64 in flight, fresh in the cache, Lua", "hit",
       "the same over keep-alive", "fetch", 3, None),
      ("C1", "GET 10 KB, 64 in flight, fresh in the cache, core", "core_hit",
       "the same over keep-alive", "core_fetch", 3, None)]),
    (stored_clients("chunks"),
     [("C2", "GET 100 MB to a chunk listener, stored on disk", "stored",
       "the same, not stored", "plain", None, None)]),
    (stored_clients("whole"),
     [("C2", "GET 100 MB as one body, stored on disk", "stored",
       "the same, not stored", "plain", .87, None)]),
    (stream_clients(),
     [("T7", "1 GB to a Lua chunk listener", "lua", "curl to null", "curl",
       .8, 1.2)]),
    (file_clients("big", 1, "frames"),
     [("T8", "1 GB to a file, host at 60 fps", "lua", "curl", "curl", 1.5,
       2.2)]),
    (file_clients("big", 1, "frames", "{folder}/out"),
     [("T8", "the same, to a file system in memory", "lua", "curl", "curl",
       None, None)]),
    (upload_clients(),
     [("T9", "512 MB multipart upload, Lua", "lua", "curl -F",
       "curl", 1.1, 1.5)]),
    (file_clients("part", 8, "run"),
     [("files", "8 files of 128 MB at once, Lua", "lua",
       "curl --parallel", "curl", 1, None)]),
    (ws_clients("text", 64, 64),
     [("T12", WS_SMALL + "core", "core", "ws", "ws", 5, 6),
      ("T12", WS_SMALL + "core", "core", WS_UV, "uv", .85, .95),
      *ws_others("T12", WS_SMALL, "core"),
      ("T13", WS_SMALL + "Lua", "lua", "ws", "ws", 3, 5),
      ("T13", WS_SMALL + "Lua", "lua", "lua-http", "lua_http", 10, 15),
      *ws_others("T13", WS_SMALL, "lua", {"lua_http"})]),
    (ws_clients("binary", 64 << 10, 8),
     [("T14", WS_LARGE + "Lua", "lua", "ws", "ws", 4, 7),
      ("T14", WS_LARGE + "Lua", "lua", WS_UV, "uv", .5, .75),
      *ws_others("T14", WS_LARGE, "lua"),
      ("T14", WS_LARGE + "core", "core", WS_UV, "uv", None, None)]),
    (ws_clients("binary", 64 << 10, 8, tls=True),
     [("T15", WSS_LARGE + "Lua", "lua", "ws", "ws", 1.5, 3),
      *ws_others("T15", WSS_LARGE, "lua"),
      ("T15", WSS_LARGE + "core", "core", "ws", "ws", None, None)]),
    (tcp_clients("in"), tcp_rows("in")),
    (tcp_clients("out"), tcp_rows("out")),
    (udp_clients("one"), udp_one_rows(UDP_ONE)),
    (udp_clients("turn"), udp_one_rows(UDP_TURN)),
    (udp_clients("burst"),
     [("T19", UDP_BURST, "lua", "luasocket", "luasocket", 3, 5),
      ("T19", UDP_BURST, "lua", "luv", "luv", None, None),
      ("T19", UDP_BURST, "lua", "UDP_SEGMENT in C", "c", None, None)]),
    (udp_clients("in"),
     [("T20", UDP_IN, "lua", "luv", "luv", 1, 1.3),
      ("T20", UDP_IN, "lua", "luasocket", "luasocket", None, None),
      ("T20", UDP_IN, "lua", "recvmmsg() in C", "c", None, None)]),
]
PER_BYTE = {"C2", "T7", "T8", "T9", "T17", "files"}


def take_samples(lab, clients, title, rounds, say):
    """By name; those that failed are missing, and told to `say.failed`."""
    samples = {name: [] for name in sorted(clients)}
    for i in range(rounds):
        names = sorted(samples)
        start = i % len(names) if names else 0
        for name in names[start:] + names[:start]:
            say(f"round {i + 1}/{rounds}: {title}: {name}")
            try:
                samples[name].append(lab.sample(clients[name]))
            except LabError as error:
                say.failed(error)
                del samples[name]
    return samples


def run_group(lab, clients, rows, rounds, say):
    used = {name: clients[name] for row in rows for name in (row[2], row[4])}
    samples = take_samples(lab, used, rows[0][1], rounds, say)
    return [table.compare(row, work, against, target, goal, samples[ours],
                          samples[theirs], row in PER_BYTE)
            for row, work, ours, against, theirs, target, goal in rows
            if ours in samples and theirs in samples]


def run(lab, wanted, rounds, say):
    lines = []
    for clients, rows in GROUPS:
        rows = [row for row in rows if row[0] in wanted]
        if rows:
            lines += run_group(lab, clients, rows, rounds, say)
    return lines
