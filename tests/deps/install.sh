#!/bin/sh
# Installs everything the tests start: etcd 3.4 and 3.5, Prometheus, Alertmanager, S3, Azure and SMTP servers, DuckDB, Chromium;
# fio; what cuts networks between members and slows their disks.
# Safe to run again: what is there stays.
set -eu
cd "$(dirname "$0")/../.."
. infra/packages.sh

wanted=
need() { command -v "$1" >/dev/null 2>&1 || wanted="$wanted $2"; }
need etcd etcd-server
need etcdctl etcd-client
need prometheus prometheus
need promtool prometheus
need prometheus-alertmanager prometheus-alertmanager
need prometheus-node-exporter prometheus-node-exporter
need chromium chromium
need node nodejs
need npm npm
need python3 python3
need curl curl
need dpkg-deb dpkg
need ip iproute2
need iptables iptables
need strace strace
need fio fio
[ -d /usr/share/fonts/truetype/dejavu ] || wanted="$wanted fonts-dejavu-core"
python3 -c 'import venv, ensurepip' 2>/dev/null || wanted="$wanted python3-venv"
install_packages "for the tests" $wanted

tests/deps/etcd.sh
tests/deps/python.sh
# Azure's blob storage, into target/ as the others.
if ! cmp -s tests/deps/azurite/package-lock.json target/azurite/package-lock.json || [ ! -x target/azurite/node_modules/.bin/azurite-blob ]; then
    mkdir -p target/azurite
    cp tests/deps/azurite/package.json tests/deps/azurite/package-lock.json target/azurite/
    (cd target/azurite && npm ci --ignore-scripts --no-audit --no-fund --silent)
fi
cd tests/e2e && npm ci --ignore-scripts --no-audit --no-fund --silent
