#!/bin/sh
# Whether site/dist is what the sources build.
set -eu
cd "$(dirname "$0")"
command -v npm >/dev/null 2>&1 || { echo "missing: npm (Node.js 20 or newer)" >&2; exit 1; }
npm ci --ignore-scripts --no-audit --no-fund --silent
npm run --silent check
