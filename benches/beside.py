"""Runs the parts of benches/beside next to Prometheus and writes the table into docs/performance.md.

Arguments: the `beside` program, `etcd-monitor`, an empty folder, seconds of ingest, the document.
"""

import datetime
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

BESIDE, PROGRAM, DIR = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
SECONDS, DOCUMENT = int(sys.argv[4]), pathlib.Path(sys.argv[5])
TARGETS, INTERVAL_S = 114, 15
CLUSTERS, DEAD_CLUSTERS, MEMBERS, STATUS_S = 54, 10, 3, 2
HISTORY_TARGETS, HISTORY_HOURS = 3, 2
ROUNDS = 15
START_S = 1_763_942_400
BEGIN, END = "<!-- results: written by benches/run.sh -->", "<!-- end of results -->"


def words(text):
    """The last line of `key=value` words."""
    return dict(word.split("=", 1) for word in text.strip().splitlines()[-1].split())


def beside(*args):
    done = subprocess.run([BESIDE, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def usage(pid):
    """CPU seconds so far, and resident and peak bytes."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    kib = lambda key: int(status[key].split()[0]) * 1024
    return cpu, kib("VmRSS"), kib("VmHWM")


def prometheus(port, config, data, *more):
    log = open(DIR / "prometheus.log", "ab")
    args = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}", *more]
    server = subprocess.Popen(args, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1)
            return server
        except OSError:
            time.sleep(0.1)
    server.kill()
    raise SystemExit(f"prometheus did not start: {(DIR / 'prometheus.log').read_text()[-2000:]}")


def stop(process):
    process.terminate()
    process.wait()


def ask(port, path, **parameters):
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{query}", timeout=60) as answer:
        return json.load(answer)["data"]


def ingest():
    """Both scrape the same members at the same time."""
    port, own = free_port(), free_port()
    targets = [f"127.0.1.{n}:{port}" for n in range(1, TARGETS + 1)]
    config = DIR / "scrape.yml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": f"{INTERVAL_S}s", "scrape_timeout": "10s"},
        "scrape_configs": [{"job_name": "etcd", "static_configs": [{"targets": targets}]}],
    }))
    replay = subprocess.Popen([BESIDE, "replay", str(port), str(TARGETS), str(INTERVAL_S * 1000)],
                              stdout=subprocess.PIPE, text=True)
    replay.stdout.readline()
    warm = 2 * INTERVAL_S
    server = prometheus(own, config, DIR / "scraped")
    ours = subprocess.Popen([BESIDE, "ingest", str(port), str(TARGETS), str(INTERVAL_S * 1000),
                             str(warm), str(SECONDS), str(DIR / "scraped-ours")],
                            stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(warm)
        before = {name: usage(p.pid) for name, p in (("ours", ours), ("theirs", server))}
        time.sleep(SECONDS)
        after = {name: usage(p.pid) for name, p in (("ours", ours), ("theirs", server))}
        scraped = ask(own, "query", query=f"sum(sum_over_time(scrape_samples_scraped[{SECONDS}s]))")["result"][0]["value"][1]
        up = ask(own, "query", query="sum(up)")["result"][0]["value"][1]
        told = words(ours.communicate()[0])
    finally:
        for process in (server, replay, ours):
            stop(process)
    result = {"up": int(float(up)), "told": told}
    samples = {"ours": int(told["scraped"]), "theirs": int(float(scraped))}
    for name in before:
        cpu = after[name][0] - before[name][0]
        result[name] = {"cpu": cpu / SECONDS, "rate": samples[name] / SECONDS, "per_cpu": samples[name] / cpu, "rss": after[name][1], "peak": after[name][2]}
    return result


def fleet():
    """The daemon with the shipped rules and jobs over whole members of many clusters, ten of them dead, and Prometheus
    scraping the same targets."""
    port, own = free_port(), free_port()
    member = lambda n: f"127.0.1.{n + 1}:{port}"
    served = subprocess.Popen([BESIDE, "fleet", str(port), str(CLUSTERS), str(DEAD_CLUSTERS), str(INTERVAL_S * 1000)],
                              stdout=subprocess.PIPE, text=True)
    living = int(words(served.stdout.readline())["serving"])
    folder = DIR / "fleet"
    folder.mkdir()
    config = [f"[store]\nurl = '{folder / 'store'}'\n"]
    for cluster in range(CLUSTERS):
        endpoints = [f"http://{member(cluster * MEMBERS + n)}" for n in range(MEMBERS)]
        config.append(f"[[cluster]]\nname = 'c{cluster}'\nendpoints = {endpoints}\n")
    (folder / "etcd-monitor.toml").write_text("".join(config))
    targets = [member(n) for n in range(CLUSTERS * MEMBERS)]
    (folder / "scrape.yml").write_text(json.dumps({
        "global": {"scrape_interval": f"{INTERVAL_S}s", "scrape_timeout": "10s"},
        "scrape_configs": [{"job_name": "etcd", "static_configs": [{"targets": targets}]}],
    }))
    theirs = prometheus(own, folder / "scrape.yml", folder / "prometheus")
    log = open(folder / "daemon.log", "wb")
    ours = subprocess.Popen([PROGRAM, "--config", str(folder / "etcd-monitor.toml"), "run"], stdout=log, stderr=log)

    def counts():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=30) as answer:
            lines = [list(map(int, line.split())) for line in answer.read().decode().splitlines()]
        return time.monotonic(), {place: status for place, status, _ in lines}

    both = (("ours", ours), ("theirs", theirs))
    try:
        time.sleep(4 * INTERVAL_S)
        (began, first), before = counts(), {name: usage(p.pid) for name, p in both}
        time.sleep(SECONDS)
        (ended, last), after = counts(), {name: usage(p.pid) for name, p in both}
        up = ask(own, "query", query="sum(up)")["result"][0]["value"][1]
        stop(ours)
        store = ["query", "--store", str(folder / "store"), "--json"]
        ask_ours = lambda expression: json.loads(subprocess.run([PROGRAM, *store, expression], check=True, stdout=subprocess.PIPE, text=True).stdout)
        ratio = ask_ours("sum(max_over_time(etcd_monitor_scrapes_good_total[1m])) / sum(max_over_time(etcd_monitor_scrapes_due_total[1m]))")
    finally:
        for process in (ours, theirs, served):
            stop(process)
    asked = sorted((last[place] - first[place]) / ((ended - began) / STATUS_S) for place in last)
    if int(float(up)) != living or len(asked) != living:
        raise SystemExit(f"{living} members live, {up} answer Prometheus, {len(asked)} were asked by us")
    result = {"living": living, "least": asked[0], "good": float(ratio["result"][0]["value"][1])}
    for name in before:
        result[name] = {"cpu": (after[name][0] - before[name][0]) / SECONDS, "rss": after[name][1], "peak": after[name][2]}
    return result


ETCD = pathlib.Path(os.environ.get("ETCD_MONITOR_TEST_BIN", "target/test-bin")) / "etcd-3.5.30" / "etcd"
LOAD_CLIENTS, LOAD_S, LOAD_ROUNDS = 64, 12, 7


def under_load():
    """Three members in memory that take as many puts as they can, with and without the daemon in turn."""
    shm = pathlib.Path("/dev/shm")
    folder = pathlib.Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
    ports = [(free_port(), free_port()) for _ in range(3)]
    initial = ",".join(f"m{n}=http://127.0.0.1:{peer}" for n, (_, peer) in enumerate(ports))
    endpoints = [f"http://127.0.0.1:{client}" for client, _ in ports]
    log = open(folder / "log", "wb")
    members, daemon = [], None
    try:
        for n, (client, peer) in enumerate(ports):
            urls = {"listen-client-urls": client, "advertise-client-urls": client, "listen-peer-urls": peer, "initial-advertise-peer-urls": peer}
            flags = [f"--{flag}=http://127.0.0.1:{port}" for flag, port in urls.items()]
            members.append(subprocess.Popen([ETCD, f"--name=m{n}", f"--data-dir={folder / f'm{n}'}", f"--initial-cluster={initial}",
                                             "--unsafe-no-fsync", "--quota-backend-bytes=8589934592", *flags], stdout=log, stderr=log))
        deadline = time.monotonic() + 60
        for endpoint in endpoints:
            while True:
                try:
                    if b'"true"' in urllib.request.urlopen(f"{endpoint}/health", timeout=5).read():
                        break
                except OSError:
                    pass
                if time.monotonic() > deadline:
                    raise SystemExit("etcd does not start")
                time.sleep(0.2)
        put = lambda: words(beside("load", ",".join(endpoints), LOAD_CLIENTS, LOAD_S))
        put()
        rounds = {"without": [], "with": []}
        for _ in range(LOAD_ROUNDS):
            rounds["without"].append(put())
            daemon = subprocess.Popen([PROGRAM, "run", "--endpoints", ",".join(endpoints), "--store", str(folder / "store")], stdout=log, stderr=log)
            # Its first looks ask for everything.
            time.sleep(5)
            rounds["with"].append(put())
            stop(daemon)
        alerts = subprocess.run([PROGRAM, "alerts", "--history", "--json", "--store", str(folder / "store")], stdout=subprocess.PIPE, text=True).stdout
        median = lambda key, name: statistics.median(float(one[name]) for one in rounds[key])
        return {key: {name: median(key, name) for name in ("rate", "p50_ms", "p99_ms")} for key in rounds} | {"alerts": sorted({alert["alert"] for alert in json.loads(alerts or "[]")})}
    finally:
        for process in [*members, daemon]:
            if process and process.poll() is None:
                stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def folder_bytes(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def history(name, targets, hours, moving, *metrics):
    """The same samples as a compacted store and as blocks."""
    folder = DIR / name
    folder.mkdir()
    lines = [words(line) for line in beside("write", folder, targets, hours, moving, *metrics).splitlines()]
    days = next(line for line in lines if line["level"] == "Day")
    blocks = folder / "blocks"
    for text in sorted(folder.glob("openmetrics-*.txt")):
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(blocks)],
                       check=True, stdout=subprocess.DEVNULL)
        text.unlink()
    metas = [json.loads(meta.read_text())["stats"] for meta in blocks.glob("*/meta.json")]
    rows = sum(meta["numSamples"] for meta in metas)
    if rows != int(days["rows"]):
        raise SystemExit(f"{rows} samples in Prometheus' blocks, {days['rows']} in the store")
    return {"folder": folder, "hours": hours, "rows": rows,
            "ours": int(days["bytes"]) / rows, "theirs": folder_bytes(blocks) / rows}


QUERIES = [
    ("one series", "etcd_server_proposals_committed_total{instance=\"127.0.1.1:2379\"}"),
    ("rate of one metric", "rate(etcd_server_proposals_committed_total[5m])"),
    ("p99 of a histogram", "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])))"),
    ("rate of the gRPC series, summed", "sum by (grpc_method) (rate(grpc_server_handled_total[5m]))"),
]
# What the 30 days hold: the files of all series would take longer to write than everything else here.
MONTH = ["etcd_server_proposals", "etcd_disk_wal_fsync", "etcd_server_leader", "etcd_mvcc_db", "etcd_server_has_leader"]


def settle(folder):
    """Waits until Prometheus has compacted its blocks, as one that has run that long would have."""
    last, since = None, time.monotonic()
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        now = sorted(path.parent.name for path in folder.glob("*/meta.json"))
        if now != last:
            last, since = now, time.monotonic()
        # It looks once a minute.
        if time.monotonic() - since > 75:
            return
        time.sleep(1)
    raise SystemExit("Prometheus does not stop compacting")


def queries(made, step, names):
    """Medians; Prometheus over HTTP with its blocks open, ours from the files each time."""
    folder = made["folder"]
    start, end = START_S, START_S + made["hours"] * 3600 - 15
    port = free_port()
    (DIR / "empty.yml").write_text("{}")
    server = prometheus(port, DIR / "empty.yml", folder / "blocks", "--storage.tsdb.retention.time=100y")
    rows = []
    try:
        settle(folder / "blocks")
        for name, expression in QUERIES:
            if name not in names:
                continue
            told = words(beside("query", folder / "store", start, end, step, ROUNDS, expression))
            taken = []
            for _ in range(ROUNDS):
                began = time.monotonic()
                theirs = ask(port, "query_range", query=expression, start=start, end=end, step=step)["result"]
                taken.append(time.monotonic() - began)
            if len(theirs) != int(told["series"]) or not theirs:
                raise SystemExit(f"{expression}: {len(theirs)} series from Prometheus, {told['series']} from ours")
            points = sum(len(series["values"]) for series in theirs)
            if points != int(told["points"]):
                raise SystemExit(f"{expression}: {points} points from Prometheus, {told['points']} from ours")
            hours = made["hours"]
            span = f"{hours} h" if hours < 48 else f"{hours // 24} d"
            rows.append((f"{span}, {name}", float(told["median"]), statistics.median(taken)))
    finally:
        stop(server)
    return rows


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def row(what, ours, theirs, target, form):
    ratio = ours / theirs
    return f"| {what} | {form(ours)} | {form(theirs)} | {ratio:.2f}× | {target} |"


def main():
    before = os.getloadavg()[0]
    took = ingest()
    many = fleet()
    load = under_load()
    recorded = history("recorded", HISTORY_TARGETS, HISTORY_HOURS, 0)
    busy = history("busy", HISTORY_TARGETS, HISTORY_HOURS, 0.5)
    every = [name for name, _ in QUERIES]
    timed = queries(busy, 30, every)
    timed += queries(history("day", 1, 24, 0.5), 60, every)
    timed += queries(history("month", 3, 30 * 24, 0.5, *MONTH), 1800, every[:3])
    render = words(beside("render", 5))
    events = words(beside("events", DIR / "events", 100_000, 60))
    mib = lambda value: f"{value / 2**20:.0f} MiB"
    percent = lambda value: f"{value * 100:.1f} %"
    per_core = lambda value: f"{value:,.0f}"
    table = [
        f"Measured {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC on {cpu_model()}, "
        f"{os.cpu_count()} cores, load {before:.1f} before the start. To repeat: `make bench`.",
        "",
        "| What | etcd-monitor | Prometheus | Ratio | Target |",
        "|---|---:|---:|---:|---:|",
        row("Ingest, samples per second", took["ours"]["rate"], took["theirs"]["rate"], "= 1×", per_core),
        row("Ingest, CPU of one core", took["ours"]["cpu"], took["theirs"]["cpu"], "≤ 0.5×", percent),
        row("Ingest, samples per CPU second", took["ours"]["per_cpu"], took["theirs"]["per_cpu"], "≥ 2×", per_core),
        row("Ingest, resident memory", took["ours"]["rss"], took["theirs"]["rss"], "≤ 0.25×", mib),
        row("Ingest, peak memory", took["ours"]["peak"], took["theirs"]["peak"], "", mib),
        row(f"{CLUSTERS} clusters, {CLUSTERS * MEMBERS} members, {DEAD_CLUSTERS} clusters dead: CPU of one core", many["ours"]["cpu"], many["theirs"]["cpu"], "", percent),
        row("The same, resident memory", many["ours"]["rss"], many["theirs"]["rss"], "", mib),
        f"| The same, Status calls of the member asked least, of those due | {percent(many['least'])} | – | – | ≥ 98 % |",
        f"| The same, good scrapes of those due | {percent(many['good'])} | – | – | ≥ 99.9 % |",
        row("Bytes per sample, recorded cluster", recorded["ours"], recorded["theirs"], "≤ 1.0×", lambda v: f"{v:.3f}"),
        row("Bytes per sample, busy cluster", busy["ours"], busy["theirs"], "≤ 1.0×", lambda v: f"{v:.3f}"),
        *(row(f"Range query, {name}", ours, theirs, "≤ 1×", lambda v: f"{v * 1000:.1f} ms") for name, ours, theirs in timed),
        f"| Render {render['clusters']} clusters, {render['files']} files | {float(render['seconds']):.2f} s | – | – | ≤ 5 s |",
        f"| Search text in {int(events['events']):,} events of 30 days, p95 of {events['searches']} | {float(events['p95_ms']):.0f} ms | – | – | ≤ 500 ms |",
        f"| {load['without']['rate']:,.0f} puts a second on three members: p99 of a put with the daemon and without | {load['with']['p99_ms']:.1f} ms | {load['without']['p99_ms']:.1f} ms (no monitor) | {load['with']['p99_ms'] / load['without']['p99_ms']:.2f}× | ≤ 1.05× |",
        "",
        f"Ingest: {took['up']} of {TARGETS} members up, measured for {SECONDS} s, "
        f"{took['told']['series']} series in our head ({took['told']['refused']} refused for its memory limit).",
    ]
    version = subprocess.run(["prometheus", "--version"], stdout=subprocess.PIPE, text=True).stdout.split()[2]
    table.append(f"Prometheus {version}. Each history has {recorded['rows']:,} samples.")
    text = "\n".join(table)
    print(text)
    before, rest = DOCUMENT.read_text().split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


main()
