#!/bin/sh
# Makes sure that the build can run: a Rust of at least the MSRV, a C compiler, protoc with its includes.
# On Debian and its relatives, as root or with sudo, it installs what is missing. Elsewhere it names
# what is missing and the command that gets it, and stops.
set -eu
cd "$(dirname "$0")/.."
. infra/packages.sh

msrv=$(sed -n 's/^rust-version = "\([^"]*\)".*/\1/p' Cargo.toml)
rustup_install="curl -sSf https://sh.rustup.rs | sh"
if has apt-get && ! has curl; then
    rustup_install="apt-get install -y curl ca-certificates && $rustup_install"
fi
if ! has cargo || ! has rustc; then
    if [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
        say "Rust is installed, but not on the PATH of this shell. Run: . \"\$HOME/.cargo/env\""
    else
        say "missing: Rust $msrv or newer. Get it from https://rustup.rs: $rustup_install"
    fi
    exit 1
fi
if ! have=$(rustc --version 2>/dev/null); then
    say "rustc does not run: $(rustc --version 2>&1 | head -n 1)"
    has rustup && say "run: rustup default stable"
    exit 1
fi
have=$(echo "$have" | awk '{ print $2 }')
oldest=$(printf '%s\n%s\n' "$msrv" "${have%%-*}" | sort -V | head -n 1)
if [ "$oldest" != "$msrv" ]; then
    say "Rust $have is older than $msrv, which etcd-monitor needs"
    if has rustup; then
        say "run: rustup update stable"
    else
        say "your system's package is too old; get Rust from https://rustup.rs: $rustup_install"
    fi
    exit 1
fi

set --
has cc || set -- "$@" gcc libc6-dev
has protoc || set -- "$@" protobuf-compiler
# protoc without this include file builds nothing: Debian keeps it in a package of its own.
find "${PROTOC_INCLUDE:-/usr/include}" /usr/include /usr/local/include /opt/homebrew/include -path '*google/protobuf/descriptor.proto' 2>/dev/null |
    grep -q . || set -- "$@" libprotobuf-dev
install_packages "to build" "$@"
