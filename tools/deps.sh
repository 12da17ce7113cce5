#!/bin/sh
# Finds out which Debian packages are missing, and installs just those.
#
#   tools/deps.sh install GROUP...   installs; needs root and apt-get
#   tools/deps.sh check GROUP...     asks pkg-config, and only tells
#
# Groups: core server test suite bench lint fuzz, and lua5.1 ... lua5.4 luajit.
# When nothing is missing this costs one dpkg-query. sudo is never used: what
# to run is printed instead. DEPS=skip does nothing at all.
set -eu

packages() {
  case $1 in
    core) echo gcc make pkgconf libc6-dev libuv1-dev libcurl4-openssl-dev \
      zlib1g-dev libsqlite3-dev libpsl-dev libjansson-dev ca-certificates ;;
    server) echo libwebsockets-dev libwebsockets-evlib-uv \
      libssl-dev ;;
    test) echo python3 openssl nginx python3-httpbin gunicorn \
      python3-websockets tinyproxy-bin dante-server dnsmasq-base unbound \
      avahi-daemon python3-zeroconf \
      lua-busted libcmocka-dev iproute2 util-linux mount procps ;;
    # Node is often there from elsewhere.
    suite) command -v npm >/dev/null || echo nodejs npm ;;
    bench) echo python3 python3-websockets wrk nginx nghttp2-client curl strace openssl \
      util-linux iproute2 lua-http lua-luv lua-copas lua-socket \
      avahi-daemon avahi-utils dbus-daemon ;;
    lint) echo clang-format clang-tidy lua-check luarocks ;;
    fuzz) echo clang libclang-rt-14-dev ;;
    lua5.1) echo lua5.1 liblua5.1-0-dev ;;
    lua5.2 | lua5.3 | lua5.4) echo "$1" "lib$1-dev" ;;
    luajit) echo luajit libluajit-5.1-dev ;;
    *) echo "tools/deps.sh: no group $1" >&2; exit 2 ;;
  esac
}

# What pkg-config has to know before a group can be compiled.
modules() {
  case $1 in
    core) echo libuv=libuv1-dev libcurl=libcurl4-openssl-dev \
      zlib=zlib1g-dev sqlite3=libsqlite3-dev libpsl=libpsl-dev \
      jansson=libjansson-dev ;;
    server) echo libuv=libuv1-dev jansson=libjansson-dev \
      libwebsockets=libwebsockets-dev libcrypto=libssl-dev \
      zlib=zlib1g-dev ;;
    luajit) echo luajit=libluajit-5.1-dev ;;
    lua5.1) echo lua5.1=liblua5.1-0-dev ;;
    lua*) echo "$1=lib$1-dev" ;;
  esac
}

wanted() {
  for g; do packages "$g"; done | tr ' ' '\n' | sort -u
}

missing() {
  have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" \
    2>/dev/null | sed -n 's/ installed$//p') || true
  for p; do
    case "
$have
" in
      *"
$p
"*) ;;
      *) echo "$p" ;;
    esac
  done
}

# A package that starts its service at once (nginx, avahi) must not do so here:
# the tests run their own. Debian's way to say so is policy-rc.d.
quiet_services() {
  policy=/usr/sbin/policy-rc.d
  [ ! -e $policy ] || return 0
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  trap 'exit 130' INT TERM
}

install_groups() {
  all=$(wanted "$@" | tr '\n' ' ')
  if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "nettask: this is not a Debian system. Install what corresponds to:" \
      "$all" "and run make again with DEPS=skip" >&2
    exit 1
  fi
  # shellcheck disable=SC2086
  need=$(missing $all | tr '\n' ' ')
  [ -n "$need" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "nettask: these packages are missing. As root, run:" >&2
    echo "  apt-get install --no-install-recommends $need" >&2
    exit 1
  fi
  echo "nettask: installing $need"
  quiet_services
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  # shellcheck disable=SC2086
  apt-get -qq install -y --no-install-recommends $need >/dev/null
}

# A list of what is not there, as far as can be told without installing.
lacking() {
  if ! command -v pkg-config >/dev/null 2>&1; then
    command -v dpkg-query >/dev/null 2>&1 || { echo pkg-config; return; }
    # shellcheck disable=SC2046
    missing $(wanted "$@")
    return
  fi
  for g; do
    for m in $(modules "$g"); do
      pkg-config --exists "${m%%=*}" || echo "${m#*=}"
    done
  done
}

check_groups() {
  need=$(lacking "$@" | sort -u | tr '\n' ' ')
  [ -n "$need" ] || return 0
  echo "nettask: cannot build, these are missing. As root, run:" >&2
  echo "  apt-get install --no-install-recommends $need" >&2
  exit 1
}

[ "${DEPS:-}" != skip ] || exit 0
action=$1
shift
case $action in
  install) install_groups "$@" ;;
  check) check_groups "$@" ;;
  *) echo "usage: tools/deps.sh install|check GROUP..." >&2; exit 2 ;;
esac
