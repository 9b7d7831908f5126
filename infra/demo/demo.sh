#!/bin/sh
# Starts a 3-member etcd on loopback, watches it with etcd-monitor, serves the report and prints its URL.
# Ctrl-C stops everything and removes what it made. DEMO_SECONDS=N ends it after N seconds, for tests.
set -eu
cd "$(dirname "$0")/../.."
. infra/packages.sh

set --
has etcd || set -- "$@" etcd-server
has python3 || set -- "$@" python3-minimal
if [ $# -gt 0 ]; then
    has apt-get || say "or watch a cluster you have: cargo run -- run --endpoints http://HOST:2379"
    install_packages "for the demo" "$@"
fi

say "building; the first time takes some minutes"
# The dev profile builds in a fraction of the release profile's time and keeps up with three members easily.
quiet=--quiet
[ ! -t 2 ] || quiet=
cargo build $quiet

dir=$(mktemp -d)
pids=
stop() {
    trap - EXIT INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    for pid in $pids; do wait "$pid" 2>/dev/null || :; done
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 0' INT TERM

# Seven free ports, held together so that none is given out twice.
ports=$(python3 -c '
import socket
held = [socket.socket() for _ in range(7)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')
set -- $ports
http=$7
peers="demo-1=http://127.0.0.1:$4,demo-2=http://127.0.0.1:$5,demo-3=http://127.0.0.1:$6"
endpoints="http://127.0.0.1:$1,http://127.0.0.1:$2,http://127.0.0.1:$3"

member() {
    etcd --name "demo-$1" --data-dir "$dir/etcd-$1" \
        --listen-client-urls "http://127.0.0.1:$2" --advertise-client-urls "http://127.0.0.1:$2" \
        --listen-peer-urls "http://127.0.0.1:$3" --initial-advertise-peer-urls "http://127.0.0.1:$3" \
        --initial-cluster "$peers" --initial-cluster-state new --initial-cluster-token demo \
        >"$dir/etcd-$1.log" 2>&1 &
    pids="$pids $!"
}
member 1 "$1" "$4"
member 2 "$2" "$5"
member 3 "$3" "$6"
say "etcd on $endpoints (logs in $dir)"

target/debug/etcd-monitor run --cluster demo --endpoints "$endpoints" --store "$dir/store" --serve "127.0.0.1:$http" &
monitor=$!
pids="$pids $monitor"
if [ -n "${DEMO_SECONDS:-}" ]; then
    (sleep "$DEMO_SECONDS" && kill $monitor 2>/dev/null) &
    pids="$pids $!"
fi
wait $monitor
