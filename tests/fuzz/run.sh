#!/bin/sh
# Fuzzes the reader of saved databases: tests/fuzz/run.sh [SECONDS]. Needs a nightly Rust and a C++ compiler.
# A find lies in tests/fuzz/artifacts/; what reaches new code is gathered in tests/fuzz/corpus/ (not kept in git).
set -eu
cd "$(dirname "$0")/../.."
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --version 0.13.1 cargo-fuzz
mkdir -p tests/fuzz/corpus/database
for seed in tests/fuzz/seeds/*.db.zst; do
    zstd -dqf "$seed" -o "tests/fuzz/corpus/database/$(basename "$seed" .zst)"
done
# Memory is safe without `unsafe`: no sanitizer, and several times as many tries.
exec cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz --sanitizer none database -- \
    -max_total_time="${1:-600}" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
