#!/bin/sh
# Unpacks the etcd 3.5 versions of the tests into target/test-bin (3.4 is the system's own package): 3.5.16
# and 3.5.30 as Debian's later suites have them, from the mirror that this system's apt uses. The system's
# apt state is not touched. Does nothing when they are there.
set -eu
cd "$(dirname "$0")/../.."
. infra/packages.sh
bin=$PWD/target/test-bin
mkdir -p "$bin"

mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | grep -v security | head -n 1)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^(http|https|mirror)/) { print $i; exit } }' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)

# unpack SUITE NAME: the suite's etcd-server, etcd-client into $bin/NAME. Fails quietly.
unpack() {
    suite=$1 name=$2
    apt=$(mktemp -d)
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/root"
    : >"$apt/status"
    echo "deb [trusted=yes] $mirror $suite main" >"$apt/sources.list"
    options="-o Dir::Etc::sourcelist=$apt/sources.list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$apt/lists
        -o Dir::State::status=$apt/status -o Dir::Cache=$apt/cache -o APT::Sandbox::User=root -o Acquire::Languages=none"
    # The options are words on purpose.
    # shellcheck disable=SC2086
    if apt-get $options update -qq >"$apt/log" 2>&1 &&
        (cd "$apt" && apt-get $options download -qq etcd-server etcd-client) >>"$apt/log" 2>&1; then
        for deb in "$apt"/*.deb; do dpkg-deb -x "$deb" "$apt/root"; done
        mkdir -p "$bin/$name"
        cp "$apt/root/usr/bin/"etcd* "$bin/$name/"
        rm -rf "$apt"
        return 0
    fi
    tail -n 5 "$apt/log" >&2
    rm -rf "$apt"
    return 1
}

want() {
    suite=$1 name=$2
    [ -x "$bin/$name/etcd" ] && return 0
    say "fetching etcd for the tests: $name (Debian $suite)"
    unpack "$suite" "$name" || { say "could not fetch etcd from Debian $suite"; return 1; }
    "$bin/$name/etcd" --version | head -n 1 >&2
}

want trixie etcd-3.5 || exit 1
# Testing moves on; the tests that need it say so when it is not there.
want forky etcd-3.5-auth || exit 1
