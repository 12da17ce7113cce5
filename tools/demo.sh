#!/bin/sh
# Runs examples against a demo server of their own, one after the other.
#
#   tools/demo.sh SERVER LUA_BUILD LUA "EXAMPLE.lua..." ARGUMENTS-OF-THEM...
#
# The server ends with us whatever happens: its stdin is a pipe that only this
# shell holds open.
set -eu

server=$1
lua_build=$2
lua=$3
examples=$4
shift 4

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
mkfifo "$dir/life"
exec 3<>"$dir/life"
"$server" --until-eof <"$dir/life" >"$dir/ready" 3>&- &
pid=$!

# Its one line of JSON says where it listens.
tries=0
until url=$(sed -n 's/.*"http": *"\([^"]*\)".*/\1/p' "$dir/ready") &&
  [ -n "$url" ]; do
  tries=$((tries + 1))
  if [ $tries -gt 200 ] || ! kill -0 $pid 2>/dev/null; then
    echo "demo: the server did not start" >&2
    exit 1
  fi
  sleep 0.05
done

port() {
  sed -n 's/.*"'"$1"'": *\([0-9]*\).*/\1/p' "$dir/ready"
}

# Empty when the server could not announce itself.
service() {
  sed -n 's/.*"service": *"\([^"]*\)".*/\1/p' "$dir/ready"
}

export LUA_PATH="lua-module/?.lua;lua-module/?/init.lua;;"
export LUA_CPATH="$lua_build/?.so;;"
status=0
for example in $examples; do
  "$lua" "$example" "$url" --tcp "$(port tcp)" --udp "$(port udp)" \
    --service "$(service)" "$@" 3>&- || status=$?
done

exec 3>&-
served=0
wait $pid || served=$?
if [ $served != 0 ]; then
  echo "demo: the server ended with status $served" >&2
  [ $status != 0 ] || status=1
fi
exit $status
