#!/bin/sh
# Makes sure that the build can run: a Rust of at least the MSRV, a C compiler, protoc with its includes.
# On Debian and its relatives, as root or with sudo, it installs what is missing. Elsewhere it names
# what is missing and the command that gets it, and stops.
set -eu
cd "$(dirname "$0")/.."
. infra/packages.sh

msrv=$(sed -n 's/^rust-version = "\([^"]*\)".*/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null 2>&1; then
    say "missing: Rust $msrv or newer. Get it from https://rustup.rs: curl https://sh.rustup.rs -sSf | sh"
    exit 1
fi
have=$(rustc --version | awk '{ print $2 }')
oldest=$(printf '%s\n%s\n' "$msrv" "${have%%-*}" | sort -V | head -n 1)
if [ "$oldest" != "$msrv" ]; then
    say "Rust $have is older than $msrv, which etcd-monitor needs. Get a newer one: rustup update stable"
    exit 1
fi

wanted=
command -v cc >/dev/null 2>&1 || wanted="$wanted gcc libc6-dev"
command -v protoc >/dev/null 2>&1 || wanted="$wanted protobuf-compiler"
# protoc without this include file builds nothing: Debian keeps it in a package of its own.
find /usr/include /usr/local/include /opt/homebrew/include -path '*google/protobuf/descriptor.proto' 2>/dev/null |
    grep -q . || wanted="$wanted libprotobuf-dev"
install_packages "to build" $wanted
