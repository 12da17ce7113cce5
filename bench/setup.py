"""What the bench needs beside Debian's packages: undici and ws, from npm, the C
module that the Lua programs share, and the servers and the peers in C of the
rows of sockets, each in a folder of the build.

Packages come from tools/deps.sh; what is missing all the same is named here, so
that a machine without apt gets a clear answer.
"""

import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PROGRAMS = ["wrk", "h2load", "curl", "strace", "taskset", "node", "npm",
            "openssl", "unshare", "ip", "make", "avahi-daemon",
            "avahi-browse", "dbus-daemon"]
# Debian has lua-http and copas for 5.1 and 5.2 alone. They are pure Lua and run
# on 5.4, whose C modules they need are there.
OTHER_LUA_PATH = ("/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua;"
                  "/usr/share/lua/5.1/?.lua")


class SetupError(Exception):
    pass


def check_programs():
    missing = [p for p in PROGRAMS if shutil.which(p) is None]
    if missing:
        raise SetupError("not installed: " + ", ".join(missing) + " (Debian: "
                         "wrk nghttp2-client curl strace util-linux nodejs "
                         "npm openssl iproute2 avahi-daemon avahi-utils "
                         "dbus-daemon)")


def interpreter(lua):
    return "luajit" if lua == "jit" else f"lua{lua}"


def run(command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, cwd=ROOT, **options)
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise SetupError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


# ---- Packages of node --------------------------------------------------------

def node_packages():
    """Version 7 of undici needs node 20.18."""
    version = run(["node", "-p", "process.versions.node"]).strip()
    major, minor = (int(part) for part in version.split(".")[:2])
    return {"undici": "7" if (major, minor) >= (20, 18) else "6", "ws": "8"}


def install_node_packages(folder):
    wanted = node_packages()
    if all((folder / "node_modules" / name / "package.json").exists()
           for name in wanted):
        return
    folder.mkdir(parents=True, exist_ok=True)
    run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund",
         "--no-save", *(f"{name}@{v}" for name, v in wanted.items())])


# ---- Programs that do without nettask ----------------------------------------

# folder: what its programs link
PROGRAMS_IN_C = {
    "ws": {"server": ["libssl", "libcrypto"], "peer_uv": ["libuv"],
           "peer_lws": ["libwebsockets"]},
    "net": {"server": [], "peer_tcp": [], "peer_udp": []},
}


def is_built(target, sources):
    newest = max(path.stat().st_mtime for path in sources)
    return target.exists() and target.stat().st_mtime > newest


def build_programs(build, folder):
    target = build / "bench" / folder
    target.mkdir(parents=True, exist_ok=True)
    headers = [HERE / "measure.h", HERE / folder / "load.h"]
    for name, packages in PROGRAMS_IN_C[folder].items():
        source = HERE / folder / f"{name}.c"
        if is_built(target / name, [source, *headers]):
            continue
        flags = (run(["pkg-config", "--cflags", "--libs", *packages]).split()
                 if packages else [])
        run([os.environ.get("CC", "gcc"), "-std=c11", "-D_GNU_SOURCE", "-O2",
             "-Wall", "-Wextra", "-Wpedantic", source, "-o", target / name,
             *flags])


# ---- Lua ---------------------------------------------------------------------

def build_baseline(build, lua):
    source = HERE / "lua" / "baseline.c"
    target = build / "bench" / f"lua{lua}" / "bench" / "baseline.so"
    if target.exists() and target.stat().st_mtime > source.stat().st_mtime:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = run(["pkg-config", "--cflags", interpreter(lua)]).split()
    run([os.environ.get("CC", "gcc"), "-std=c11", "-D_GNU_SOURCE", "-O2",
         "-Wall", "-Wextra", "-Wpedantic", "-fPIC", "-shared", *flags, source,
         "-o", target])


def build_module(build, lua):
    run(["make", "--no-print-directory", "module", f"LUA={lua}",
         f"BUILD={build}"], env={k: v for k, v in os.environ.items()
                                 if k not in ("MAKEFLAGS", "MAKELEVEL")})


def lua_environment(build, lua):
    """For nettask and for the peers that are written in Lua."""
    return {
        "LUA_PATH": "./?.lua;lua-module/?.lua;lua-module/?/init.lua;;"
                    + OTHER_LUA_PATH,
        "LUA_CPATH": f"{build}/lua{lua}/?.so;{build}/bench/lua{lua}/?.so;;",
    }


def prepare(build, luas):
    check_programs()
    install_node_packages(build / "bench" / "node")
    for folder in PROGRAMS_IN_C:
        build_programs(build, folder)
    for lua in luas:
        build_baseline(build, lua)
        build_module(build, lua)
    return {"BENCH_NODE_MODULES": str((build / "bench" / "node").resolve()
                                      / "node_modules")}
