#!/bin/sh
# The browser tests: renders the example fleet and looks at it with Chromium.
set -eu
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
cargo run --quiet -- report --example --out "$site/site"
# What it finds of this machine does not matter; that it is a page does.
cargo run --quiet -- preflight --no-disk --directory "$site" --peers 127.0.0.1 --html "$site/site/preflight.html" >/dev/null || [ -s "$site/site/preflight.html" ]
cd tests/e2e
[ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund --silent
node run.mjs "$site/site"
