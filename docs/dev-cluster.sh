#!/usr/bin/env bash
# Starts (or stops) three servers and a client on this machine, each on a
# loopback address of its own: 127.8.0.1 to 127.8.0.4. Needs Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=.dev-cluster

stop() {
  for pid in "$dir"/*.pid; do
    [ -e "$pid" ] || continue
    kill "$(cat "$pid")" 2>/dev/null || true
  done
  for pid in "$dir"/*.pid; do
    [ -e "$pid" ] || continue
    while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.1; done
    rm -f "$pid"
  done
}

start() {
  mkdir -p "$dir"
  for i in 1 2 3 4; do
    args=(-node="server-$i" -server -bootstrap-expect=3 -ui)
    [ "$i" = 4 ] && args=(-node=client)
    bin/muster agent "${args[@]}" -data-dir="$dir/$i" -bind="127.8.0.$i" -client="127.8.0.$i" \
      -retry-join=127.8.0.1 -retry-join=127.8.0.2 -retry-interval=1s >"$dir/$i.log" 2>&1 &
    echo $! >"$dir/$i.pid"
  done
  until curl -sf 'http://127.8.0.4:8500/v1/catalog/nodes' | grep -q '"client"'; do sleep 0.2; done
  cat <<TXT
Three servers and a client are running. Logs and data: $dir

  export CONSUL_HTTP_ADDR=127.8.0.4:8500
  bin/muster members
  http://127.8.0.1:8500/ui/

Stop them: make dev-cluster-stop
TXT
}

case "${1:-}" in
  start) stop; start ;;
  stop) stop ;;
  *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
