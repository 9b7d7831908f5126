//! What the help of the commands that measure and advise ends with: benchmarks, disks, machines, advice.

pub const BENCH: &str = "\
Examples:
  The commands of etcd's documentation, with `etcd-monitor bench` for `benchmark`:
    etcd-monitor bench --endpoints=10.0.0.1:2379 --target-leader --conns=1 --clients=1 put --key-size=8 \\
      --sequential-keys --total=10000 --val-size=256
    etcd-monitor bench --endpoints=10.0.0.1:2379 --conns=100 --clients=1000 range YOUR_KEY --consistency=l --total=100000
  How long puts take at a rate that the cluster does not choose:
    etcd-monitor bench put --rate=500 --clients=100 --val-size=256 --duration=1m

With --rate a request has a time at which it is due, and its latency counts from then, whether or not the answers before it
were late; the latency from when it was really sent is told, too. Everything that is written is below
/etcd-monitor/bench/ and is deleted in the end, by the next run if this one is killed. The load stops when the leader changes,
WAL fsyncs take three times as long as before (and more than 10 ms), a database takes more than 70 % of its quota, or
more than 5 % of the requests fail.

Exit codes: 0 done, 1 failed or stopped, 2 wrong usage or configuration, 3 done, but some requests failed, 70 a bug.";

pub const BENCH_HISTORY: &str = "\
Examples:
  The last runs, and what is said of each:
    etcd-monitor bench history
  All of them for a spreadsheet:
    etcd-monitor bench history --limit 0 --csv runs.csv
  Two runs side by side; an id, the beginning of one, or latest:
    etcd-monitor bench compare 20261101T030000 latest
  After an upgrade that was meant to change things, what comes is compared with what comes:
    etcd-monitor bench baseline set latest

A run is compared with earlier ones that were asked for alike, but for seed and length. More than the noise of the history is a regression;
the threshold is told, and how many times it was passed.

Exit codes: 0 done, 1 failed, or compare found a regression, 2 wrong usage or configuration, 70 a bug.";

pub const BENCH_CHECK: &str = "\
Examples:
    etcd-monitor bench --endpoints=10.0.0.1:2379 check-perf --load=m
    etcd-monitor bench --endpoints=10.0.0.1:2379 check-datascale --load=s --auto-compact

The loads are those of `etcdctl check`: s, m, l, xl (or small, medium, large, xLarge). Keys are below /etcd-monitor/bench/,
whatever --prefix says, and are gone afterwards.

Exit codes: 0 passed, 1 failed, 2 wrong usage or configuration, 70 a bug.";

pub const PREFLIGHT: &str = "\
Examples:
  Before a cluster of three, on each machine with the other two:
    etcd-monitor preflight --directory /var/lib/etcd --peers 10.0.0.2,10.0.0.3
  For a program, and as a page to send:
    etcd-monitor preflight --peers 10.0.0.2,10.0.0.3 --json --html preflight.html

Looks at processors, CPU governor, memory, swap, huge pages, open files, listen backlog, the data
folder, clock, ports, the round trips to the other planned members, and measures the disk as
`disk check` does. A connection that is refused is a round trip, too: nothing has to listen there.
Changes nothing.

Exit codes: 0 all passed, 1 something critical, 2 wrong usage or configuration, 3 a warning, or
nobody can say what the disk, the clock or the network are like, 70 a bug.";

pub const DISK_CHECK: &str = "\
Examples:
  A disk that etcd shall use, with fio's jobs if fio is installed:
    etcd-monitor disk check --directory /var/lib/etcd
  The same without fio, for a program:
    etcd-monitor disk check --directory /var/lib/etcd --no-fio --json
  The disk of the etcd that runs here: the probe alone, a hundred appends a second
    etcd-monitor disk check --endpoints https://10.0.0.1:2379 --cacert … --cert … --key …

99 % of fdatasyncs below 10 ms: production ready; up to 20 ms: warning; more: critical. A check
takes less than two minutes. Where a running etcd uses the disk, fio's jobs need --yes, and
nothing is measured when its cluster has no member to lose. No file stays; the folder of a check that
was killed, with what fio left in it, goes with the next check, or `disk clean`.

Exit codes: 0 production ready, 1 critical or failed, 2 wrong usage or configuration,
3 warning, unknown, or not stored, 70 a bug.";

pub const DISK_HISTORY: &str = "\
Examples:
  The last checks of all machines that share the store:
    etcd-monitor disk history
  One in full; an id, the beginning of one, or latest:
    etcd-monitor disk show latest

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 70 a bug; `disk show` also has
those of `disk check`.";

pub const ADVISE: &str = "\
Examples:
  What to change in every cluster of the store, the most important first:
    etcd-monitor advise
  The tuning checklist of one:
    etcd-monitor advise prod --checklist
  Everything that is known of a recommendation, with the query that shows its evidence:
    etcd-monitor advise show fsync-slow --cluster prod
  Why a cluster has the score that it has:
    etcd-monitor advise score prod

Nothing is advised without evidence: a rule that lacks its data says what it needs (--all). What another
finding explains is listed below that one, and loses its importance. Flags, kernel and disk of a member
are known where a daemon or this command runs on its machine. docs/advice.md has the rules of the rules.

Exit codes: 0 done, 1 a cluster could not be judged, 2 wrong usage or configuration, 70 a bug.";

pub const ADVISE_CHANGE: &str = "\
Examples:
    etcd-monitor advise show quota-default --cluster prod
    etcd-monitor advise done quota-default --cluster prod --note 'quota is 8 GiB now'
    etcd-monitor advise ignore client-tls-off --cluster lab --reason 'a lab' --for 90d
    etcd-monitor advise reopen client-tls-off --cluster lab

A recommendation is done by itself when its evidence is gone for half an hour. Figures before and
after are compared for a day. What is called done and is still there is open again after the rule's
own window and an hour; what is ignored costs no points.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, or not advised, 70 a bug.";
