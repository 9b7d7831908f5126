#!/bin/sh
# Measures beside Prometheus and rewrites the results in docs/performance.md. Called by `make bench`.
# OFFICIAL_BENCHMARK: etcd's own `benchmark`, to be measured beside it; no Debian package has the program, its source package
# builds it (`go build ./tools/benchmark` in the source of Debian's etcd).
# BENCH_SECONDS: length of the ingest measurement, after two scrapes to warm up.
set -eu
cd "$(dirname "$0")/.."
command -v prometheus >/dev/null && command -v promtool >/dev/null || {
    echo "missing for the comparison: prometheus, promtool (make test-deps)" >&2
    exit 1
}
cargo build --release --bin etcd-monitor --bench beside
beside=$(cargo build --release --bench beside --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"beside".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 benches/beside.py "$beside" target/release/etcd-monitor "$dir" "${BENCH_SECONDS:-90}" docs/performance.md
python3 benches/backups.py "$beside" target/release/etcd-monitor target/test-bin/etcd-3.5.30 docs/performance.md
python3 benches/loads.py "$beside" target/release/etcd-monitor target/test-bin/etcd-3.5.30 docs/performance.md
python3 benches/disks.py target/release/etcd-monitor docs/performance.md
python3 benches/advice.py "$beside" target/release/etcd-monitor docs/performance.md
