#!/usr/bin/python3
"""Plays http-cache-tests, the suite behind cache-tests.fyi, through net.request.

    spec/cache_suite/play.py --build build --lua 5.4
                             [--sanitize address|thread]

Fetches the suite from npm into build/cache-suite (nothing of it is ours to
keep), starts its server, and has client.lua play all tests three times, side by
side: against the cache in memory, against one with a folder, and against one
with a folder by requests that stream. Ends with `N passed, N failed`.
"""

import base64
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent))
import run as specs  # noqa: E402
import servers  # noqa: E402

NAME, VERSION = "http-cache-tests", "0.4.5"
SHA512 = ("DjuwN9nUZXLTW+wav1LRESCZNVxl8SshwOy4z1pxuWbWt5/ay6sM9QQ1lebBaDO6P1IM"
          "BoK6mdf+PuVP/QNL8A==")
NPM_SECONDS = 120
FOLDER = ROOT / "build" / "cache-suite"
TARBALL = FOLDER / f"{NAME}-{VERSION}.tgz"


class SuiteError(Exception):
    pass


# ---- The suite ---------------------------------------------------------------

def check_programs():
    missing = [p for p in ("node", "npm") if shutil.which(p) is None]
    if missing:
        raise SuiteError(f"not installed: {' '.join(missing)} (Debian: nodejs "
                         "npm)")


def is_whole():
    if not TARBALL.exists():
        return False
    digest = hashlib.sha512(TARBALL.read_bytes()).digest()
    return base64.b64encode(digest).decode() == SHA512


def fetch():
    """`npm pack` takes the package alone, without what it depends on."""
    if is_whole():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            ["npm", "pack", f"{NAME}@{VERSION}", "--pack-destination", FOLDER],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            cwd=FOLDER, timeout=NPM_SECONDS)
    except subprocess.TimeoutExpired:
        raise SuiteError(f"npm has not fetched {NAME}@{VERSION} within "
                         f"{NPM_SECONDS} s: is its registry in reach?")
    if done.returncode != 0:
        raise SuiteError(f"npm cannot fetch {NAME}@{VERSION}; its registry has "
                         f"to be in reach:\n{done.stderr}")
    if not is_whole():
        raise SuiteError(f"what npm fetched is not {NAME}@{VERSION}: {TARBALL}")


def unpack(folder):
    with tarfile.open(TARBALL) as archive:
        archive.extractall(folder)
    return folder / "package"


# ---- Playing -----------------------------------------------------------------

def start_server(folder):
    server = servers.Server(
        "cache-suite", ["node", HERE / "server.mjs", unpack(folder),
                        folder / "tests.json"],
        folder, stdout=subprocess.PIPE)
    return server, server.read_ports()["http"]


def start_client(options, folder, url, *words):
    sanitizer = specs.sanitizer_options(options.sanitize, folder)
    env = {**specs.lua_environment(options.build, options.lua), **sanitizer}
    return subprocess.Popen(
        specs.wrap(options.sanitize)
        + ["env", f"LD_PRELOAD={specs.preload(options)}",
           specs.interpreter(options.lua), HERE / "client.lua", url, *words],
        cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)


def counts(output):
    words = output.rstrip().rpartition("\n")[2].split()
    if len(words) == 4 and words[1::2] == ["passed,", "failed"]:
        return int(words[0]), int(words[2])
    return 0, 0


def play(options, folder, url):
    clients = {"memory": ["whole"],
               "folder": ["whole", folder / "cache"],
               "chunks": ["chunked", folder / "chunks"]}
    running = {name: start_client(options, folder, url, name, *words)
               for name, words in clients.items()}
    passed = failed = 0
    for name, client in running.items():
        output = client.communicate()[0]
        good, bad = counts(output)
        print(f"---- Cache: {name}\n{output}")
        passed += good
        failed += bad or int(client.returncode != 0)
    for report in sorted(folder.glob("san.*")):
        print(report.read_text(errors="replace"))
        failed += 1
    return passed, failed


def main():
    options = specs.parse()
    with tempfile.TemporaryDirectory(prefix="nettask-") as name:
        folder = pathlib.Path(name)
        try:
            check_programs()
            fetch()
            server, port = start_server(folder)
        except (SuiteError, servers.ServerError) as error:
            print(f"{error}\n0 passed, 1 failed")
            return 1
        try:
            passed, failed = play(options, folder, f"http://127.0.0.1:{port}")
        finally:
            server.end()
            server.join()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
