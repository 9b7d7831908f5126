#!/bin/sh
# Line coverage of src/ and jobs/ by all Rust tests. Needs cargo-llvm-cov; LLVM_COV and LLVM_PROFDATA name the
# LLVM tools where rustup's are not installed (Debian's llvm-19 reads the profiles of Rust 1.95).
set -eu
cd "$(dirname "$0")/.."
. infra/packages.sh
command -v cargo-llvm-cov >/dev/null 2>&1 || cargo install --locked cargo-llvm-cov
if [ -z "${LLVM_COV:-}" ] && ! rustup component list --installed 2>/dev/null | grep -q llvm-tools; then
    [ -x /usr/lib/llvm-19/bin/llvm-cov ] || install_packages "for the coverage" llvm-19
    export LLVM_COV=/usr/lib/llvm-19/bin/llvm-cov LLVM_PROFDATA=/usr/lib/llvm-19/bin/llvm-profdata
fi
cargo llvm-cov --ignore-filename-regex '(^|/)tests/' "$@"
