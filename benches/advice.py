"""Advice for a fleet of 50 from a day of its metrics: how long, how much. Rewrites its part of the document.

Arguments: the program of `benches/beside`, `etcd-monitor`, the document.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import measured, rewrite, words

BESIDE, PROGRAM, DOCUMENT = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
CLUSTERS, HOURS, ROUNDS = 50, int(os.environ.get("ADVICE_HOURS", 10)), 3
BEGIN, END = "<!-- advice: written by benches/advice.py -->", "<!-- end of advice -->"


def main():
    before = os.getloadavg()[0]
    folder = pathlib.Path(tempfile.mkdtemp())
    seconds, processor, peak = [], [], []
    try:
        made = words(subprocess.run([BESIDE, "advice", str(folder), str(CLUSTERS), str(HOURS)], check=True, stdout=subprocess.PIPE, text=True).stdout)
        for _ in range(ROUNDS):
            began = time.monotonic()
            asked = subprocess.Popen([PROGRAM, "--config", str(folder / "etcd-monitor.toml"), "--store", str(folder / "store"), "--quiet", "advise", "--json"],
                                     stdout=subprocess.PIPE, text=True)
            said = asked.stdout.read()
            _, status, used = os.wait4(asked.pid, 0)
            asked.returncode = os.waitstatus_to_exitcode(status)
            seconds.append(time.monotonic() - began)
            processor.append(used.ru_utime + used.ru_stime)
            peak.append(used.ru_maxrss / 1024)
            judged = json.loads(said)
            if len(judged) != CLUSTERS or any(len(one["passed"]) + len(one["items"]) < 12 for one in judged):
                raise SystemExit(f"{len(judged)} clusters were judged, or by too few rules")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = [
        measured(before), "",
        f"| `advise` for {CLUSTERS} clusters of 3 members, {HOURS} h of {int(made['series']):,} series each 15 s ({int(made['samples']):,} samples), median of {ROUNDS} | | Target |",
        "|---|---:|---:|",
        f"| time | {statistics.median(seconds):.1f} s | ≤ 30 s |",
        f"| processor time | {statistics.median(processor):.1f} s | |",
        f"| peak memory | {statistics.median(peak):.0f} MiB | |",
    ]
    rewrite(DOCUMENT, BEGIN, END, table)


main()
