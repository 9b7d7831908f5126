//! What `--help` and the manual pages say below the options: examples, exit codes, variables.

mod measure;

pub use self::measure::*;

pub const PROGRAM: &str = "\
Examples:
  etcd-monitor run --endpoints http://10.0.0.1:2379 --serve 127.0.0.1:8600
  etcd-monitor check --endpoints http://10.0.0.1:2379
  etcd-monitor status
  etcd-monitor query 'etcd_server_has_leader == 0'

Exit codes:
  0   done
  1   failed
  2   wrong usage or configuration; nothing was written
  3   done with partial errors
  70  a bug: please report it
  `check` uses the codes of a Nagios plugin instead.

Environment:
  ETCD_MONITOR_CONFIG        the configuration file, as --config
  ETCD_MONITOR__STORE__URL   any key of the configuration, here store.url
  ETCDCTL_*                  the connection, as etcdctl reads it
  AWS_*, GOOGLE_*, AZURE_*   credentials of a bucket
  NO_COLOR                   no colours in logs";

pub const BACKUP: &str = "\
Examples:
  Save the database of every configured cluster now:
    etcd-monitor backup now
  Of a cluster without a configuration, into a bucket:
    etcd-monitor backup now --endpoints https://10.0.0.1:2379 --store s3://bucket/etcd
  What there is, and whether it is good:
    etcd-monitor backup list
    etcd-monitor backup verify latest
  Any file that etcdctl saved; with --endpoints it is compared with the members:
    etcd-monitor backup verify /var/backups/etcd.db

A backup is verified when its HashKV, computed from the file, is what a member said of the same revision.

Exit codes: 0 done or verified, 1 failed or bad, 2 wrong usage or configuration, 3 done at some destinations or not
verified, 70 a bug.";

pub const BACKUP_INSPECT: &str = "\
Examples:
  What fills the database, and what is written most:
    etcd-monitor backup inspect latest
  The pods of one namespace, in a file that etcdctl saved:
    etcd-monitor backup inspect /var/backups/etcd.db --prefix /registry/pods/default/ --top 50
  What became of the secrets between two backups:
    etcd-monitor backup diff 20261122T180000 20261123T180000 --prefix /registry/secrets/

etcd is not asked. Changes are those since the compaction. Memory stays below 128 MiB at any size.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 70 a bug.";

pub const RESTORE: &str = "\
Examples:
  How the whole cluster is restored, member by member; nothing is touched:
    etcd-monitor backup restore latest --plan --data-dir /var/lib/etcd
  A cluster of one member, to look at:
    etcd-monitor backup restore latest --data-dir /tmp/look
  One member of three:
    etcd-monitor backup restore 20261123T180000-7QK3ZD --data-dir /var/lib/etcd.restored --name a \\
      --initial-cluster a=https://10.0.0.1:2380,b=https://10.0.0.2:2380,c=https://10.0.0.3:2380 \\
      --initial-advertise-peer-urls https://10.0.0.1:2380
  Any file that etcdctl saved:
    etcd-monitor backup restore /var/backups/etcd.db --data-dir /var/lib/etcd.restored

The database is fetched, decrypted and verified before anything is written; a bad one is refused. etcdutl (or etcdctl up to
3.5) makes the folder: it is to be on the PATH, or named by backup.etcdutl.

Exit codes: 0 done, 1 failed, or the backup is bad, 2 wrong usage or configuration, a folder that is not empty, 70 a bug.";

pub const RUN: &str = "\
Examples:
  Watch a cluster, and read the report at http://127.0.0.1:8600:
    etcd-monitor run --endpoints http://10.0.0.1:2379 --serve 127.0.0.1:8600
  On a kubeadm control plane node, endpoints and certificates are found:
    sudo etcd-monitor run
  All clusters, rules and channels of a file, kept in a bucket:
    etcd-monitor run --config /etc/etcd-monitor.toml --store s3://bucket/etcd
  One job once, for cron:
    etcd-monitor run collect --config /etc/etcd-monitor.toml

SIGTERM and Ctrl-C end the daemon after the running jobs and a last flush; a second one ends it at once.
A changed configuration or rule file is taken over within ten seconds, or at once with SIGHUP. A wrong one is refused with
file and line, in the log and as an event, and what runs stays. [store] and [log] need a restart.

Exit codes: 0 done, 1 failed or timed out, 2 wrong usage or configuration, 3 done with partial errors, 70 a bug.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*, ETCDCTL_*, NO_COLOR.";

pub const JOBS: &str = "\
Examples:
  etcd-monitor jobs
  etcd-monitor jobs --json | jq '.[] | select(.last.outcome != \"done\")'";

pub const CHECK: &str = "\
Examples:
  etcd-monitor check --endpoints http://10.0.0.1:2379
  etcd-monitor check --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert client.crt --key client.key \\
    --warning 70 --critical 85

Prints `ETCD <STATE> - <text> | <performance data>` and stores nothing. With a configuration it also says UNKNOWN
for a cluster of which nothing was recorded for 3 minutes: nobody watches it any more.

Exit codes, as a Nagios plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (also: wrong usage or configuration).

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*, ETCDCTL_*.";

pub const CAPACITY: &str = "\
Examples:
  etcd-monitor capacity
  etcd-monitor capacity prod --json | jq '.[] | select(.left_seconds < 14 * 86400)'

Reads the store and nothing else. Of each resource the hourly values of up to 28 days become a median per day, so that
compactions and peaks of some hours do not count; the trend is the median slope between all pairs of days. Three days
of data are the least; `not growing` means that growth cannot be told from chance, or takes more than ten years.
Disks are known of members whose machine is read, here or by a node exporter.";

pub const INSPECT: &str = "\
Examples:
  etcd-monitor inspect --endpoints http://10.0.0.1:2379
  etcd-monitor inspect prod-eu-1 --hash --config /etc/etcd-monitor.toml
  etcd-monitor inspect --hash --json | jq '.[] | select(.hash.verdict != \"agree\")'

Asks etcd now and stores nothing: which certificates its ports serve, who each member says is a member, and with
--hash whether all hold the same data. The `inspect` job does the same every five minutes, with hashes once a day.
Hashes are those of etcd's own check (HashKV), of all members at one revision. Each member reads all of its keys
for it, one after the other: about a second per GiB. Nobody is accused before a second look; then the first
revision that differs is searched for. The call needs the root role where etcd's authentication is on: see
[cluster.backup-auth].

Exit codes: 0 all agree, 1 members disagree or a certificate has expired, 2 wrong usage or configuration, 3 something could not be looked at.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*, ETCDCTL_*.";

pub const ALERT: &str = "\
Examples:
  etcd-monitor alert test --channel ops

The test fires and resolves at once, and says that it is a test. Receipts are kept like those of real alerts.

Exit codes: 0 accepted, 1 not accepted, 2 wrong usage or configuration, 3 accepted, but the store did not take a receipt.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*.";

pub const FLEET: &str = "\
Examples:
  etcd-monitor fleet
  etcd-monitor fleet --tag env=prod --sort fsync
  etcd-monitor fleet --by region --range 24h
  etcd-monitor fleet --json | jq '.clusters[] | select(.far_from_median != {}) | .name'

Reads the store, not etcd. A figure is the median over the range of what the worst member had; sizes are the newest.
Leader changes and growth are per day, over the range or a day, whatever is longer.
In brackets stands by which factor a figure is far from the median of the clusters listed: its distance is more than
3.5 times the usual one (median absolute deviation) and large enough to matter. It takes five clusters, and figures of
different sources, such as puts that only some versions time whole, are not compared. By tag, latencies and shares are
medians over the clusters of a group, the rest are sums.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, also when no cluster has the tag.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*.";

pub const DISCOVER: &str = "\
Examples:
  etcd-monitor discover
  etcd-monitor discover dns --json | jq '.[].clusters[].name'

Asks the places, not the store: DNS, files, an etcd, Kubernetes or static pod manifests, as [[discover]] of the
configuration says. Nothing is stored and nothing watched; the daemon does that by itself within ten seconds.

Exit codes: 0 done, 1 no source answered, 2 wrong usage or configuration, 3 some did not, or named what is no cluster.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*, KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT.";

pub const COMPARE: &str = "\
Examples:
  etcd-monitor compare prod-eu-1 prod-us-1
  etcd-monitor compare prod-eu-1 stage-eu-1 --range 7d
  etcd-monitor compare prod-eu-1 prod-us-1 --json | jq '.measures[] | select(.ratios[\"prod-us-1\"] > 2) | .title'

Reads the store, not etcd. Figures are those of docs/metrics.md, from the client down to the machine; what neither
cluster has is left out. There is no ratio to zero, and none between figures of different sources.
Beyond two days figures come from a sample in five minutes where days are rolled up; what is not rolled up is of the
newest day then.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*.";

pub const STATUS: &str = "\
Examples:
  etcd-monitor status
  etcd-monitor status prod-eu-1 --store s3://bucket/etcd
  etcd-monitor status --json | jq '.clusters[] | [.name, .verdict.state]'

Reads the store, not etcd: the header says how old the data is.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*.";

pub const ALERTS: &str = "\
Examples:
  etcd-monitor alerts
  etcd-monitor alerts --cluster prod-eu-1 --severity critical
  etcd-monitor alerts --history --since 7d --csv > incidents.csv
  etcd-monitor alerts show 3f2a9c01

The short id in the first column is what ack, unack and snooze take. Silenced incidents are listed, too.

Exit codes: 0 done (also without incidents), 1 failed, 2 wrong usage or configuration.";

pub const ALERTS_SHOW: &str = "\
Examples:
  etcd-monitor alerts show 3f2a9c01
  etcd-monitor alerts show 3f2a9c01 --json | jq .probable_cause

Suspected are, best first: an incident of which this one is a known consequence; an event that is known to bring this
alert about; a change that somebody made; within each, what happened to the same member, then the latest. What merely
happened before is listed, and is no cause. Metrics are compared by their medians, against how much they usually vary.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration (also: no single incident has this id).";

pub const EVENTS: &str = "\
Examples:
  etcd-monitor events
  etcd-monitor events --since 30d --cluster prod-eu-1 --kind 'member-*' --kind leader-changed
  etcd-monitor events --since 7d --severity warning quota
  etcd-monitor events --since 30d --csv > events.csv
  etcd-monitor events --id 3f2a9c01

Reads the store, not etcd. With --id the event is shown whole: what was and what is, and what else happened before.

Exit codes: 0 done (also without events), 1 failed, 2 wrong usage or configuration.";

pub const ACK: &str = "\
Examples:
  etcd-monitor ack 3f2a9c01
  etcd-monitor ack 3f2a9c01 --comment 'replacing the disk'

The end of an acknowledged incident is told all the same.

Exit codes: 0 done, 1 failed, 2 no single active incident has that id, or wrong usage.";

pub const UNACK: &str = "\
Examples:
  etcd-monitor unack 3f2a9c01

It fires again, and is repeated when its route's repeat-interval is over.

Exit codes: 0 done, 1 failed, 2 no single active incident has that id, or wrong usage.";

pub const SILENCE: &str = "\
Examples:
  etcd-monitor silence ls
  etcd-monitor silence add --help
  etcd-monitor silence expire 1c0ffee1

Silenced incidents stay visible on the site, in status and in alerts. What still fires when a silence ends is told.

Exit codes: 0 done, 1 failed, 2 wrong usage, matcher or configuration.";

pub const SILENCE_ADD: &str = "\
Examples:
  etcd-monitor silence add EtcdMemberDown 'cluster=~\"prod-.*\"' --for 2h --comment 'rolling restart'

Prints the id of the silence.";

pub const SNOOZE: &str = "\
Examples:
  etcd-monitor snooze 3f2a9c01 --for 1h

Prints the id of the silence, for: etcd-monitor silence expire ID.

Exit codes: 0 done, 1 failed, 2 no single active incident has that id, or wrong usage.";

pub const MAINTENANCE: &str = "\
Examples:
  etcd-monitor maintenance start --help
  etcd-monitor maintenance end prod-eu-1

A maintenance is the silence cluster=NAME; `silence ls` lists it.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, or there is no maintenance to end.";

pub const MAINTENANCE_START: &str = "\
Examples:
  etcd-monitor maintenance start prod-eu-1 --for 1h --comment 'upgrade to 3.5.17'";

pub const QUERY: &str = "\
Examples:
  etcd-monitor query 'etcd_server_has_leader'
  etcd-monitor query 'rate(etcd_server_proposals_committed_total[5m])' --since 6h --step 5m
  etcd-monitor query 'max by (cluster) (etcd_mvcc_db_total_size_in_bytes)' --time 2026-11-23T14:05:00Z --json
  etcd-monitor query 'sum(etcd_server_has_leader)' --tag env=prod

PromQL is that of Prometheus 2.42. Beyond the raw retention the five-minute rollup answers, beyond that the hourly one, and a note says so.

Exit codes: 0 done (also without data), 1 failed, 2 the expression, usage or configuration is wrong.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__QUERY__TIMEOUT, ETCD_MONITOR__QUERY__MAX_SAMPLES.";

pub const REPORT: &str = "\
Examples:
  etcd-monitor report --out site
  etcd-monitor report --out example --example

The pages need no server: open index.html.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

pub const SERVE: &str = "\
Examples:
  etcd-monitor serve
  etcd-monitor serve --listen 127.0.0.1:9000 --store s3://bucket/etcd

Serves what the job `report` published into the store, until Ctrl-C.";

pub const STORE: &str = "\
Examples:
  etcd-monitor store ls
  etcd-monitor store verify --store s3://bucket/etcd
  etcd-monitor store views | duckdb -init /dev/stdin

Exit codes: 0 done, 1 failed or (verify) something is not whole, 2 wrong usage or configuration.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__STORE__URL; AWS_*, GOOGLE_*, AZURE_* for buckets.";

pub const SLO: &str = "\
Examples:
  etcd-monitor slo
  etcd-monitor slo --json
  etcd-monitor slo --rules > slo-rules.yaml

Objectives are [[slo]] in the configuration. `--rules` prints the rules made of them, for promtool or a Prometheus.

Exit codes: 0 done, 1 the store could not be read, 2 wrong usage or configuration.";

pub const RULES: &str = "\
Examples:
  etcd-monitor rules test tests/*.yaml
  etcd-monitor rules check my-rules.yaml default
  etcd-monitor rules list

`test` runs the files of `promtool test rules` as they are; `default` in rule_files is the shipped pack.

Exit codes: 0 done, 1 a test or a rule file failed, 2 wrong usage or configuration.";

pub const CONFIG: &str = "\
Examples:
  etcd-monitor config check --config /etc/etcd-monitor.toml

Exit codes: 0 the configuration is right, 2 it is not; every error is told with its line.

Environment: ETCD_MONITOR_CONFIG, ETCD_MONITOR__*, and the variables that secrets refer to.";

pub const COMPLETIONS: &str = "\
Examples:
  etcd-monitor completions bash > /etc/bash_completion.d/etcd-monitor
  etcd-monitor completions zsh > \"${fpath[1]}/_etcd-monitor\"
  etcd-monitor completions fish > ~/.config/fish/completions/etcd-monitor.fish";

pub const MAN: &str = "\
Examples:
  etcd-monitor man /usr/local/share/man/man1 && man etcd-monitor-query";
