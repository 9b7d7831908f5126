//! Hand-written queries: the etcd mixin's alerts, the product's thresholds, and corners of the language.

const SEL: &str = r#"job=~".*etcd.*""#;

/// The expressions of the etcd mixin (v3.6), whose rules load unchanged.
const MIXIN: [&str; 19] = [
    "max without(endpoint)(sum without(instance)(up{SEL}==bool 0) or count without(To)(sum without(instance)(rate(etcd_network_peer_sent_failures_total{SEL}[120s]))>0.01))>0",
    "sum(up{SEL}==bool 1) without(instance) < ((count(up{SEL}) without(instance)+1)/2)",
    "etcd_server_has_leader{SEL}==0",
    "increase((max without(instance)(etcd_server_leader_changes_seen_total{SEL}) or 0*absent(etcd_server_leader_changes_seen_total{SEL}))[15m:1m])>=4",
    r#"100*sum(rate(grpc_server_handled_total{SEL,grpc_code=~"Unknown|FailedPrecondition|ResourceExhausted|Internal|Unavailable|DataLoss|DeadlineExceeded"}[5m])) without(grpc_type,grpc_code) / sum(rate(grpc_server_handled_total{SEL}[5m])) without(grpc_type,grpc_code) > 1"#,
    r#"100*sum(rate(grpc_server_handled_total{SEL,grpc_code=~"Unknown|FailedPrecondition|ResourceExhausted|Internal|Unavailable|DataLoss|DeadlineExceeded"}[5m])) without(grpc_type,grpc_code) / sum(rate(grpc_server_handled_total{SEL}[5m])) without(grpc_type,grpc_code) > 5"#,
    r#"histogram_quantile(0.99,sum(rate(grpc_server_handling_seconds_bucket{SEL,grpc_method!="Defragment",grpc_type="unary"}[5m])) without(grpc_type))>0.15"#,
    "histogram_quantile(0.99,rate(etcd_network_peer_round_trip_time_seconds_bucket{SEL}[5m]))>0.15",
    "rate(etcd_server_proposals_failed_total{SEL}[15m])>5",
    "histogram_quantile(0.99,rate(etcd_disk_wal_fsync_duration_seconds_bucket{SEL}[5m]))>0.5",
    "histogram_quantile(0.99,rate(etcd_disk_wal_fsync_duration_seconds_bucket{SEL}[5m]))>1",
    "histogram_quantile(0.99,rate(etcd_disk_backend_commit_duration_seconds_bucket{SEL}[5m]))>0.25",
    "(last_over_time(etcd_mvcc_db_total_size_in_bytes{SEL}[5m])/last_over_time(etcd_server_quota_backend_bytes{SEL}[5m]))*100>95",
    "predict_linear(etcd_mvcc_db_total_size_in_bytes{SEL}[4h],4*60*60)>etcd_server_quota_backend_bytes{SEL}",
    "(last_over_time(etcd_mvcc_db_total_size_in_use_in_bytes{SEL}[5m])/last_over_time(etcd_mvcc_db_total_size_in_bytes{SEL}[5m]))<0.5 and etcd_mvcc_db_total_size_in_use_in_bytes{SEL}>104857600",
    // Earlier versions of the mixin, and OpenShift's.
    "increase(((etcd_mvcc_db_total_size_in_bytes{SEL}/etcd_server_quota_backend_bytes{SEL})*100)[240m:1m])>50",
    r#"100*sum(rate(grpc_server_handled_total{SEL,grpc_code!="OK"}[5m])) without (grpc_type,grpc_code) / sum(rate(grpc_server_handled_total{SEL}[5m])) without (grpc_type, grpc_code)>1"#,
    "avg(changes(etcd_server_is_leader[10m])) > 5",
    r#"rate(etcd_server_leader_changes_seen_total{SEL}[15m])>3"#,
];

/// The thresholds the product ships.
const THRESHOLDS: [&str; 12] = [
    "max_over_time(etcd_server_has_leader[1m]) == 0",
    "histogram_quantile(0.99, sum by (instance, le) (rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m]))) > 0.1",
    "histogram_quantile(0.99, rate(etcd_disk_backend_commit_duration_seconds_bucket[5m])) > 0.250",
    "etcd_mvcc_db_total_size_in_bytes / etcd_server_quota_backend_bytes > 0.90",
    "rate(etcd_server_proposals_failed_total[5m]) / (rate(etcd_server_proposals_failed_total[5m]) + rate(etcd_server_proposals_committed_total[5m])) > 0.05",
    "increase(etcd_server_leader_changes_seen_total[1h]) > 3",
    "histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])) > 0.01",
    "histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])) > 1.5 * histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m] offset 30m))",
    "deriv(etcd_mvcc_db_total_size_in_bytes[1h]) > 0",
    "process_open_fds > 0.8 * 1000",
    "absent(up{job=\"nowhere\", instance=\"a\"})",
    "count(up == 0) > count(up) / 2 or vector(0)",
];

const CORNERS: &str = r#"
1
-1 ^ 2
2 ^ 3 ^ 2
-2 ^ -1 * 3
1 - 2 - 3
10 % 4 % 3
0x1f + 010 + 1e-3
"text"
time()
time() - 1 == bool 3
1 > bool 2
NaN == bool NaN
Inf - Inf
pi()
vector(time())
scalar(g)
scalar(lonely)
scalar(missing)
g
G
g{zone="x"} offset 10m
g offset -10m
g @ start()
g @ end() offset 5m
g @ 1700003000
timestamp(g)
timestamp(g @ 1700003000)
timestamp(g offset 5m)
timestamp(-g)
timestamp((g))
timestamp(timestamp(g))
c_total[2m]
c_total[2m] offset 1m
c_total[1m] @ 1700003000
g[10m:3m]
(g > 0)[5m:] offset 1m
rate(c_total[5m:30s])
rate(c_total[5m] @ end())
rate((c_total))
rate(c_total)
predict_linear(flat[10m], 60)
predict_linear(wild[10m], 60)
deriv(flat[5m])
deriv(lonely[15s])
sum_over_time(wild[5m])
avg_over_time(wild[5m])
min_over_time(wild[1m])
max_over_time(wild[1m])
max_over_time(g[20m]) - min_over_time(g[20m])
stddev_over_time(flat[5m])
stdvar_over_time(wild[5m])
quantile_over_time(0.5, wild[5m])
quantile_over_time(scalar(lonely), g[5m])
count_over_time({instance="a"}[5m])
last_over_time({instance="a",zone="x"}[5m])
sum_over_time({instance="a",zone="x"}[5m])
rate({instance="a",zone="x"}[5m])
absent(missing)
absent(missing{a="b",c=~"d",e!="f"})
absent(missing{a="b",a="c",d="e"})
absent(missing{a="b",a="b"})
absent((missing{a="b"}))
absent(sum(missing{a="b"}))
absent(missing{a="b"} > 1)
absent(missing{a="b"} @ 1700003000)
absent(g)
absent_over_time(missing{a="b"}[5m])
absent_over_time(g{instance="a"}[15s])
absent_over_time(missing{a="b"}[5m:1m])
absent_over_time((missing{a="b"}[5m]))
present_over_time(g[15s])
changes(s[10m])
changes(wild[10m])
resets(c_total[30m])
resets(g[5m])
irate(c_total[1m])
idelta(g[1m])
irate(d_total[30m])
holt_winters(g[10m], 0.5, 0.5)
holt_winters(g[10m], 1.5, 0.5)
holt_winters(g[10m], 0.5, 0)
delta(g[5m])
delta(c_total[5m])
increase(d_total[40s])
increase(wild[5m])
rate(flat[5m])
histogram_quantile(0.9, h_bucket)
histogram_quantile(0.9, rate(h_bucket[5m]))
histogram_quantile(0.5, open_bucket)
histogram_quantile(0.5, sum by (le) (rate(h_bucket[5m])))
histogram_quantile(0.5, sum by (zone) (h_bucket))
histogram_quantile(0.5, sum(h_bucket) by (le, zone) * 0)
histogram_quantile(0.5, h_bucket{le=~"1|5"})
histogram_quantile(0.5, h_bucket{le="+Inf"})
histogram_quantile(0.5, {__name__=~"h_bucket|g"})
histogram_quantile(0.5, {__name__=~"h_bucket|open_bucket"})
sum(wild)
avg(wild)
min(wild)
max(wild)
stddev(wild)
count(wild)
group(g)
quantile(0.5, wild)
quantile(-1, g)
quantile(2, g)
quantile(NaN, g)
quantile by (zone) (0.3, g)
topk(2, m)
bottomk(2, m)
topk by (zone) (1, m)
topk(NaN, m)
topk(1e30, m)
topk(0, m)
count_values("v", few)
count_values("v", wild)
count_values by (zone) ("zone", few)
count_values without (instance) ("instance", few)
count_values("0bad", few)
count_values("v", few * 1e21)
sum by (zone) (g) + on (zone) group_right sum by (zone, instance) (m)
g + m
g + on (instance) m
g + on (zone) m
g * on (zone) group_left zone_weight
g * on (zone) group_left (owner) zone_weight
zone_weight * on (zone) group_right (owner) g
zone_weight * on (zone) group_left g
g > on (instance) m
g > on (instance) group_left (zone) m
m < on (instance) group_right g
zone_weight > on (zone) group_right g
g > bool m
g == g
g != bool g
wild == wild
wild != wild
g atan2 m
g atan2 2
g atan2 on (instance) m
g % 7
7 % g
-7.5 % m
m ^ 2
2 ^ m
0 < g
g < 0
0 < bool g
5 > (g > -20)
g and m
g and on (zone) zone_weight
g and on () vector(1)
g and on () missing
g or m
g or on (zone) zone_weight
g or on (nothing) m
g unless m
g unless on (zone) zone_weight{zone="x"}
g unless missing
missing or g
missing and g
missing + g
(g > 0) or (g <= 0)
g or -g
{__name__=~"g|m"}
{__name__=~"g|m"} + 1
-{__name__=~"g|m"}
abs({__name__=~"g|m"})
{__name__=~"g|m",instance="a"} > 0
{__name__=~"g|m",instance="a"} > bool 0
sum({__name__=~"g|m"}) by (__name__)
sum({__name__=~"g|m"}) without (__name__)
+g
-g
- -g
-(g)
--1
-1 * g
sort(g)
sort_desc(g)
sort(wild)
label_replace(g, "instance", "$1", "zone", "(.*)")
label_replace(g, "new", "v$1", "instance", "(a|b)")
label_replace(g, "new", "${1}_$2", "instance", "(.)(.*)")
label_replace(g, "instance", "", "instance", ".*")
label_replace(g, "__name__", "renamed", "instance", ".*")
label_replace(g, "0bad", "x", "instance", ".*")
label_replace(g, "new", "x", "instance", "(")
label_replace(g, "new", "x", "missing", "")
label_replace(g, "new", "$0-$name", "instance", "(?P<name>.)")
label_join(g, "new", "-", "instance", "zone", "missing")
label_join(g, "zone", "-")
label_join(g, "instance", "-", "zone")
label_join(g, "new", "-", "0bad")
clamp(g, -10, 10)
clamp(g, 10, -10)
clamp(wild, -1, 1)
clamp_min(wild, 0)
clamp_max(wild, NaN)
round(g)
round(g, 0.1)
round(g, 5)
round(-g / 7, 0.5)
sgn(wild)
sqrt(g)
ln(g)
log2(wild)
acosh(m)
atanh(wild)
acos(wild)
deg(rad(g))
hour()
minute()
day_of_week()
day_of_month()
day_of_year()
days_in_month()
month()
year()
year(vector(0))
month(g * 1e9)
days_in_month(vector(951782400))
day_of_year(vector(1735603200))
day_of_week(c_total @ 1700003000)
hour(g offset 1h)
sum(g offset 5m) offset 5m
max_over_time(sum(rate(c_total[1m]))[10m:30s])
max_over_time(rate(c_total[1m])[10m:30s] offset 2m)
avg_over_time(deriv(g[2m])[5m:20s] @ 1700003000)
sum_over_time((g @ start())[5m:1m])
sum_over_time((time())[5m:1m])
sum_over_time(vector(time())[5m:1m])
sum_over_time(vector(time())[5m:])
count_over_time(g[1ms])
count_over_time(g[1m:1m])
rate(c_total[5m]) > 0.1 and rate(c_total[5m]) < 100
sum by (zone) (rate(c_total[5m])) / ignoring () sum by (zone) (rate(d_total[5m]))
sum without (instance) (rate(c_total[5m])) / sum without (instance) (count_over_time(c_total[5m]))
sum(rate(c_total[5m])) by (instance) / on (instance) group_left sum(rate(c_total[5m])) by (instance)
g[5m] + 1
g + "a"
sum("a")
1 and 2
g and 1
1 == 2
g + bool m
g == bool
sum by (zone g
g{zone="x"
g{zone=x}
{}
{zone=""}
{zone=~".*"}
g{__name__="m"}
g[0s]
g[5m:0s]
g offset 0s
g offset 5m offset 5m
g[5m][5m]
g[5m:1m][5m:1m]
(g[5m])[5m:1m]
1[5m:1m]
vector(g)
rate(g[5m], 1)
nothing(g)
sum(g, m)
topk(g)
topk("a", g)
on + on
sum + sum
min{instance="a"}
g + on (instance) group_left (instance) m
g and on (instance) group_left m
g group_left m
1 + on (instance) g
"a" == "a"
-"a"
-g[5m]
g @ g
g @ start() @ end()
sum(g) @ 5
# only a comment
"#;

/// All of them, each once.
pub fn all() -> impl Iterator<Item = String> {
    let mixin = MIXIN.iter().map(|query| query.replace("SEL", SEL));
    let thresholds = THRESHOLDS.iter().map(|query| (*query).to_owned());
    mixin.chain(thresholds).chain(CORNERS.trim().lines().map(str::to_owned))
}
