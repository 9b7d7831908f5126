#!/bin/sh
# The randomised tests, longer than `make test` has time for. Seeds and counts are settings:
#   ETCD_MONITOR_SOAK_SEEDS=5000 ETCD_MONITOR_SOAK_KILLS=200 PROPTEST_CASES=5000 make soak
#   ETCD_MONITOR_SOAK_INCIDENTS=50000 for the receivers that fail three times in ten
set -eu
cd "$(dirname "$0")/.."
export ETCD_MONITOR_SOAK_SEEDS="${ETCD_MONITOR_SOAK_SEEDS:-2000}"
export ETCD_MONITOR_SOAK_KILLS="${ETCD_MONITOR_SOAK_KILLS:-100}"
export ETCD_MONITOR_SOAK_INCIDENTS="${ETCD_MONITOR_SOAK_INCIDENTS:-30000}"
export ETCD_MONITOR_SOAK_PAGES="${ETCD_MONITOR_SOAK_PAGES:-20}"
export ETCD_MONITOR_SOAK_INSPECTIONS="${ETCD_MONITOR_SOAK_INSPECTIONS:-500}"
export PROPTEST_CASES="${PROPTEST_CASES:-2000}"
cargo="${CARGO:-cargo}"

# Pure code: every law with more cases.
"$cargo" test --lib
# Deliveries by seed, then a daemon that is killed again and again.
"$cargo" test --test it -- --nocapture simulation failing_receivers sigkill
# Hashes of healthy members under writes and compactions.
"$cargo" test --test it -- --nocapture nobody_is_accused
# Every recorded fault again, on real clusters.
ETCD_MONITOR_FAULTS=live "$cargo" test --test it -- --nocapture faults_of_real_clusters
# Scrapes of members that can be reached: all but one in a thousand are good.
ETCD_MONITOR_SOAK_SCRAPES="${ETCD_MONITOR_SOAK_SCRAPES:-1800}" "$cargo" test --test it -- --nocapture scrapes_of_members
# Saved databases, damaged in more ways, after more kinds of work.
ETCD_MONITOR_SOAK_MUTATIONS="${ETCD_MONITOR_SOAK_MUTATIONS:-100000}" "$cargo" test --test it -- --nocapture backup_database
# Backups of members that are used in more ways.
ETCD_MONITOR_SOAK_WORKLOADS="${ETCD_MONITOR_SOAK_WORKLOADS:-100}" "$cargo" test --test it -- --nocapture backup_workloads
# Backups killed at every request of theirs.
ETCD_MONITOR_SOAK_BACKUP_KILLS=1 "$cargo" test --test it -- --nocapture backup_kills
# Sequences over a store that fails.
"$cargo" test --test it -- any_interleaving
# PromQL beside Prometheus, with queries that nobody has seen yet.
for seed in 101 102 103; do
    ETCD_MONITOR_SOAK_QUERIES="${ETCD_MONITOR_SOAK_QUERIES:-20000}" ETCD_MONITOR_SOAK_TEMPLATES=20000 ETCD_MONITOR_SOAK_SEED=$seed \
        "$cargo" test --test it -- --nocapture generated_queries annotations_read
done
