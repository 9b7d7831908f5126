"""Backups beside etcdctl and etcdutl: time, memory, and what clients of the cluster feel. Rewrites its part of the document.

Arguments: the `beside` program, `etcd-monitor`, the folder of etcd 3.5, the document, then the sizes of databases in MiB
(default 1024 4096; clients are measured with the first). Runs alone: benches/run.sh calls it, too.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from common import Cluster, measured, median, rewrite, run, words

BESIDE, PROGRAM, ETCD = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
DOCUMENT = pathlib.Path(sys.argv[4])
SIZES = [int(size) for size in sys.argv[5:]] or [1024, 4096]
ROUNDS = 3
CLIENTS, FEEL_S = 4, 20
BEGIN, END = "<!-- backups: written by benches/backups.py -->", "<!-- end of backups -->"


def fill(endpoint, mebibytes):
    subprocess.run([BESIDE, "fill", endpoint, str(mebibytes)], check=True, stdout=subprocess.DEVNULL)


def sized(mebibytes, rounds):
    """Saving and checking a database of one size, ours and theirs in turn."""
    folder = pathlib.Path(tempfile.mkdtemp())
    cluster = Cluster(ETCD, folder, 1, fsync=False)
    try:
        endpoint = cluster.endpoints[0]
        fill(endpoint, mebibytes)
        took = {name: [] for name in ("save", "snapshot save", "verify", "status")}
        plain = folder / "plain.db"
        for n in range(rounds):
            plain.unlink(missing_ok=True)
            took["snapshot save"].append(run(ETCD / "etcdctl", f"--endpoints={endpoint}", "--command-timeout=10m", "snapshot", "save", plain))
            store = folder / f"store-{n}"
            took["save"].append(run(PROGRAM, "--store", store, "backup", "now", "--endpoints", endpoint))
            shutil.rmtree(store)
            took["status"].append(run(ETCD / "etcdutl", "snapshot", "status", plain))
            # 3: whole, and nobody said what it hashes to.
            took["verify"].append(run(PROGRAM, "backup", "verify", plain, codes=(3,)))
        return {name: median(all) for name, all in took.items()} | {"bytes": plain.stat().st_size}
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def felt(mebibytes):
    """p99 of puts on three members, alone, while we save, and while etcdctl does, in turn."""
    folder = pathlib.Path(tempfile.mkdtemp())
    cluster = Cluster(ETCD, folder, 3, fsync=True)
    try:
        fill(cluster.endpoints[0], mebibytes)
        endpoints = ",".join(cluster.endpoints)
        beside = {
            "alone": None,
            "save": lambda n: [PROGRAM, "--store", folder / f"store-{n}", "backup", "now", "--endpoints", endpoints],
            "snapshot save": lambda n: [ETCD / "etcdctl", f"--endpoints={cluster.endpoints[-1]}", "--command-timeout=10m", "snapshot", "save", folder / f"plain-{n}.db"],
        }
        waits = {name: [] for name in beside}
        for n in range(ROUNDS):
            for name, command in beside.items():
                puts = subprocess.Popen([BESIDE, "load", endpoints, str(CLIENTS), str(FEEL_S)], stdout=subprocess.PIPE, text=True)
                time.sleep(1)
                if command:
                    # Again and again, so that all of the time is measured.
                    until, at = time.monotonic() + FEEL_S - 2, 0
                    while time.monotonic() < until:
                        run(*command(f"{n}-{name.replace(' ', '-')}-{at}"))
                        at += 1
                waits[name].append(words(puts.communicate()[0]))
                for left in [*folder.glob("store-*"), *folder.glob("plain-*")]:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        return {name: {key: statistics.median(float(one[key]) for one in all) for key in ("rate", "p50_ms", "p99_ms")} for name, all in waits.items()}
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    before = os.getloadavg()[0]
    of_sizes = [sized(size, ROUNDS if n == 0 else 1) for n, size in enumerate(SIZES)]
    clients = felt(SIZES[0])
    gib = lambda value: f"{value / 2**30:.2f} GiB"
    table = [
        measured(before),
        "",
        "| What | etcd-monitor | etcdctl, etcdutl 3.5 | Ratio | Target |",
        "|---|---:|---:|---:|---:|",
    ]
    for one in of_sizes:
        for ours, theirs, target, said in (
            ("save", "snapshot save", "≤ 1.1×", "`backup now` and `etcdctl snapshot save`"),
            ("verify", "status", "≤ 1×", "`backup verify` and `etcdutl snapshot status`, a plain file"),
        ):
            (our_s, our_rss), (their_s, their_rss) = one[ours], one[theirs]
            table.append(f"| {gib(one['bytes'])}, {said}: time | {our_s:.1f} s | {their_s:.1f} s | {our_s / their_s:.2f}× | {target} |")
            table.append(f"| The same: peak memory | {our_rss / 2**20:.0f} MiB | {their_rss / 2**20:.0f} MiB | {our_rss / their_rss:.2f}× | ≤ 128 MiB |")
    alone, ours, theirs = clients["alone"], clients["save"], clients["snapshot save"]
    for key, name in (("p50_ms", "median"), ("p99_ms", "p99")):
        table.append(f"| {CLIENTS} clients put on three members while one is saved, {name} of a put, beside {alone[key]:.1f} ms alone "
                     f"| {ours[key]:.1f} ms | {theirs[key]:.1f} ms | {ours[key] / theirs[key]:.2f}× |  |")
    table.append("")
    table.append("Ours compresses while it saves, and asks members for HashKV before. When it verifies it checks the SHA-256 and computes HashKV, which etcdutl does not; etcdutl maps the file, ours reads it in pieces.")
    rewrite(DOCUMENT, BEGIN, END, table)


main()
