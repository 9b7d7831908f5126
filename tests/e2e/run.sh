#!/bin/sh
# The browser tests: renders the example fleet and looks at it with Chromium.
set -eu
cd "$(dirname "$0")/../.."
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
cargo run --quiet -- report --example --out "$site/site"
cd tests/e2e
[ -d node_modules ] || npm ci --ignore-scripts --no-audit --no-fund --silent
node run.mjs "$site/site"
