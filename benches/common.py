"""What the measurements share: clusters of etcd, programs that are timed, and the document that keeps the results."""

import datetime
import os
import pathlib
import socket
import statistics
import subprocess
import time
import urllib.request


def words(text):
    return dict(word.split("=", 1) for word in text.strip().splitlines()[-1].split())


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def run(*command, codes=(0,)):
    """Seconds, and the peak of resident bytes, of one program."""
    began = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=dict(os.environ, ETCDCTL_API="3"))
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code not in codes:
        raise SystemExit(f"{command}: {code}\n{said}")
    return took, usage.ru_maxrss * 1024


class Cluster:
    """Members of the etcd in the folder `etcd`, with their data in `folder`."""

    def __init__(self, etcd, folder, members, fsync):
        ports = [(free_port(), free_port()) for _ in range(members)]
        self.endpoints = [f"http://127.0.0.1:{client}" for client, _ in ports]
        initial = ",".join(f"m{n}=http://127.0.0.1:{peer}" for n, (_, peer) in enumerate(ports))
        self.log = open(folder / "etcd.log", "ab")
        self.members = []
        for n, (client, peer) in enumerate(ports):
            urls = {"listen-client-urls": client, "advertise-client-urls": client, "listen-peer-urls": peer, "initial-advertise-peer-urls": peer}
            flags = [f"--{flag}=http://127.0.0.1:{port}" for flag, port in urls.items()] + ([] if fsync else ["--unsafe-no-fsync"])
            self.members.append(subprocess.Popen(
                [pathlib.Path(etcd) / "etcd", f"--name=m{n}", f"--data-dir={folder / f'm{n}'}", f"--initial-cluster={initial}",
                 "--quota-backend-bytes=8589934592", *flags], stdout=self.log, stderr=self.log))
        deadline = time.monotonic() + 120
        for endpoint in self.endpoints:
            while True:
                try:
                    if b'"true"' in urllib.request.urlopen(f"{endpoint}/health", timeout=5).read():
                        break
                except OSError:
                    pass
                if time.monotonic() > deadline:
                    raise SystemExit("etcd does not start")
                time.sleep(0.2)

    def stop(self):
        for member in self.members:
            member.terminate()
        for member in self.members:
            member.wait()


def median(rounds):
    return tuple(statistics.median(column) for column in zip(*rounds))


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def measured(load):
    """The line above a table: when, and on what; `load` is the load average before the start."""
    return (f"Measured {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC on {cpu_model()}, {os.cpu_count()} cores, "
            f"load {load:.1f} before the start. To repeat: `make bench`.")


def rewrite(document, begin, end, lines):
    """Puts the lines between the two marks of a document."""
    text = "\n".join(lines)
    print(text)
    start, rest = document.read_text().split(begin)
    document.write_text(f"{start}{begin}\n{text}\n{end}{rest.split(end)[1]}")
