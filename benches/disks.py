"""The built-in probe beside fio's job, on the same directory, in turn: median and p99 of fdatasync. Rewrites its part of the document.

Arguments: `etcd-monitor`, the document. DISK_DIR is the directory to measure, of a disk that is one.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

from common import measured, rewrite

PROGRAM, DOCUMENT = sys.argv[1], pathlib.Path(sys.argv[2])
ROUNDS = int(os.environ.get("DISK_ROUNDS", 9))
BEGIN, END = "<!-- disks: written by benches/disks.py -->", "<!-- end of disks -->"


def ours(folder):
    # 0, 1 and 3 are verdicts.
    done = subprocess.run([PROGRAM, "disk", "check", f"--directory={folder}", "--no-fio", "--look=0s", "--no-store", "--yes", "--json"],
                          capture_output=True, text=True)
    if done.returncode not in (0, 1, 3) or not done.stdout:
        raise SystemExit(done.stderr)
    quantiles = dict(json.loads(done.stdout)["tests"][0]["sync"]["quantiles"])
    return quantiles[0.5] * 1e6, quantiles[0.99] * 1e6


def fio(folder):
    done = subprocess.run(["fio", "--output-format=json", "--rw=write", "--ioengine=sync", "--fdatasync=1", f"--directory={folder}",
                           "--size=22m", "--bs=2300", "--name=wal-fsync-test"], capture_output=True, text=True, check=True)
    for left in folder.glob("wal-fsync-test*"):
        left.unlink()
    percentile = json.loads(done.stdout)["jobs"][0]["sync"]["lat_ns"]["percentile"]
    return percentile["50.000000"] / 1e3, percentile["99.000000"] / 1e3


def main():
    before = os.getloadavg()[0]
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("DISK_DIR")))
    found = {"ours": [], "fio": []}
    try:
        for n in range(ROUNDS):
            for name in ("ours", "fio") if n % 2 else ("fio", "ours"):
                found[name].append(ours(folder) if name == "ours" else fio(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = [measured(before), "", f"| 10,029 appends of 2300 bytes, medians of {ROUNDS} | built-in probe | fio | Ratio | Target |", "|---|---:|---:|---:|---:|"]
    for at, name, target in ((0, "p50", "0.8–1.2×"), (1, "p99", "")):
        our, their = (statistics.median(one[at] for one in found[name]) for name in ("ours", "fio"))
        table.append(f"| {name} of fdatasync | {our:.0f} µs | {their:.0f} µs | {our / their:.2f}× | {target} |")
    rewrite(DOCUMENT, BEGIN, END, table)


main()
