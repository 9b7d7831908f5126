"""The load generator beside the official `benchmark`: requests per second, CPU of the client, percentiles; and what the profile
`gentle` costs other clients. Rewrites its part of the document.

Arguments: the `beside` program, `etcd-monitor`, the folder of etcd 3.5, the document. OFFICIAL_BENCHMARK names the official
tool, which no Debian package has; without it there is nothing to compare with, and only the profile is measured. LOAD_DIR is
where the members keep their data: in memory, because a shared disk's fsyncs differ from run to run by more than the programs.
"""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import Cluster, measured, rewrite, words

BESIDE, PROGRAM, ETCD = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
DOCUMENT = pathlib.Path(sys.argv[4])
OFFICIAL = os.environ.get("OFFICIAL_BENCHMARK")
ROUNDS = int(os.environ.get("LOAD_ROUNDS", 3))
GENTLE_ROUNDS = int(os.environ.get("GENTLE_ROUNDS", 5))
CLIENTS = 4
VALUE_BYTES = 256
BEGIN, END = "<!-- loads: written by benches/loads.py -->", "<!-- end of loads -->"

# Name, connections, clients, requests, a rate per second or none: the rows of the tables in etcd's documentation, and two rates.
PUTS = [(1, 1, 20_000, None), (10, 100, 150_000, None), (100, 1000, 200_000, None), (1, 1, 10_000, 1_000), (10, 100, 40_000, 4_000)]
RANGES = [(1, 1, 30_000, "l"), (1, 1, 30_000, "s"), (100, 1000, 200_000, "l"), (100, 1000, 200_000, "s")]
KEY = "benchmarks/one-key"


def run(*command):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=error)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), error.seek(0)
        said = out.read()
        if process.returncode != 0:
            raise SystemExit(f"{command}: {process.returncode}\n{said}{error.read()}")
    return said, usage.ru_utime + usage.ru_stime


def ours(*arguments):
    """One run of ours: requests per second, microseconds of CPU per request, milliseconds by percentile."""
    said, cpu = run(PROGRAM, "bench", "--no-store", "--json", *arguments)
    report = json.loads(said)
    part = report["parts"][0]
    if part["failed"] or report["outcome"] != "complete":
        raise SystemExit(f"{arguments}: {report['outcome']}, {part['failed']} failed")
    # As the other tool measures it: from when the request was sent.
    latency = part.get("uncorrected") or part["latency"]
    quantiles = {round(q * 100, 1): seconds * 1e3 for q, seconds in latency["quantiles"]}
    return {"rate": part["rate"], "cpu": cpu / part["ok"] * 1e6, "p50": quantiles[50], "p99": quantiles[99],
            "key_bytes": (report["keys"] or {}).get("total_key_size")}


def theirs(total, *arguments):
    said, cpu = run(OFFICIAL, "--precise", *arguments)
    figure = lambda pattern: float(re.search(pattern, said).group(1))
    return {"rate": figure(r"Requests/sec:\s+([\d.]+)"), "cpu": cpu / total * 1e6,
            "p50": figure(r"\n\s+50% in ([\d.e-]+) secs") * 1e3, "p99": figure(r"\n\s+99% in ([\d.e-]+) secs") * 1e3}


def medians(rounds):
    return {key: statistics.median(one[key] for one in rounds) for key in ("rate", "cpu", "p50", "p99")}


def in_turn(total, our_arguments, their_arguments):
    both = {"ours": [], "theirs": []}
    for n in range(ROUNDS):
        # Who goes first changes: what the one leaves to write back to the disk is the other's.
        for name in ("ours", "theirs") if n % 2 else ("theirs", "ours"):
            both[name].append(ours(*our_arguments) if name == "ours" else theirs(total, *their_arguments))
            time.sleep(1)
    return medians(both["ours"]), medians(both["theirs"])


def beside():
    """Rows: what, our medians, theirs."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("LOAD_DIR", "/dev/shm")))
    cluster = Cluster(ETCD, folder, 3, fsync=True)
    try:
        endpoints = ",".join(endpoint.removeprefix("http://") for endpoint in cluster.endpoints)
        rows = []
        common = [f"--endpoints={endpoints}"]
        first = ours(*common, "put", "--total=100", f"--val-size={VALUE_BYTES}")
        for conns, clients, total, rate in PUTS:
            load = [*common, f"--conns={conns}", f"--clients={clients}", "put", f"--total={total}", f"--val-size={VALUE_BYTES}",
                    "--key-space-size=10000", *([f"--rate={rate}"] if rate else [])]
            paced = f", {rate:,} a second" if rate else ""
            rows.append((f"put, {conns} connections, {clients} clients{paced}",
                         *in_turn(total, load, [*load, f"--key-size={first['key_bytes']}"]), rate))
        subprocess.run([ETCD / "etcdctl", f"--endpoints={endpoints}", "put", KEY, "x" * VALUE_BYTES], check=True,
                       stdout=subprocess.DEVNULL, env=dict(os.environ, ETCDCTL_API="3"))
        for conns, clients, total, consistency in RANGES:
            load = [*common, f"--conns={conns}", f"--clients={clients}", "range", KEY, f"--total={total}", f"--consistency={consistency}"]
            rows.append((f"range of one key, {'linearizable' if consistency == 'l' else 'serializable'}, {conns} connections, {clients} clients",
                         *in_turn(total, load, load), None))
        return rows
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def gentle():
    """The latency of other clients' puts, ms, alone and while the profile runs, in turn."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("LOAD_DIR", "/dev/shm")))
    cluster = Cluster(ETCD, folder, 3, fsync=True)
    try:
        endpoints = ",".join(cluster.endpoints)
        waits = {"alone": [], "gentle": []}
        for n in range(GENTLE_ROUNDS):
            for name in ("alone", "gentle") if n % 2 else ("gentle", "alone"):
                running = None
                if name == "gentle":
                    running = subprocess.Popen([PROGRAM, "bench", "--no-store", f"--endpoints={endpoints}", "run", "gentle"],
                                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    time.sleep(2)
                puts = subprocess.Popen([BESIDE, "load", endpoints, str(CLIENTS), "55"], stdout=subprocess.PIPE, text=True)
                said = puts.communicate()[0]
                if running and running.wait() != 0:
                    raise SystemExit(f"bench run gentle: {running.returncode}")
                waits[name].append(words(said))
        return {name: {key: statistics.median(float(one[key]) for one in all) for key in ("rate", "p50_ms", "p99_ms")} for name, all in waits.items()}
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    before = os.getloadavg()[0]
    table = [measured(before), ""]
    if OFFICIAL:
        table += ["| What | etcd-monitor | benchmark | Ratio | Target |", "|---|---:|---:|---:|---:|"]
        for name, our, their, rate in beside():
            if not rate:
                table.append(f"| {name}: a second | {our['rate']:,.0f} | {their['rate']:,.0f} | {our['rate'] / their['rate']:.2f}× | ≥ 1× |")
            table.append(f"| {name if rate else 'The same'}: CPU of the client per request | {our['cpu']:.0f} µs | {their['cpu']:.0f} µs | {our['cpu'] / their['cpu']:.2f}× | ≤ 0.7× |")
            for key in ("p50", "p99"):
                target = "0.95–1.05×" if rate else ""
                table.append(f"| The same: {key} | {our[key]:.2f} ms | {their[key]:.2f} ms | {our[key] / their[key]:.2f}× | {target} |")
        table.append("")
    else:
        print("OFFICIAL_BENCHMARK names no program: the official tool is not measured", file=sys.stderr)
    cost = gentle()
    table += [f"| Other clients' puts, {cost['alone']['rate']:,.0f} a second | while `bench run gentle` runs | alone | Ratio | Target |", "|---|---:|---:|---:|---:|"]
    for key, name, target in (("p50_ms", "p50", ""), ("p99_ms", "p99", "≤ 1.1×")):
        ours_ms, alone_ms = cost["gentle"][key], cost["alone"][key]
        table.append(f"| {name} of a put | {ours_ms:.2f} ms | {alone_ms:.2f} ms | {ours_ms / alone_ms:.2f}× | {target} |")
    rewrite(DOCUMENT, BEGIN, END, table)


main()
