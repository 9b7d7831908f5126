-- The tables as DuckDB sees them. A bare glob over the folders would count merged rows twice: a merged file
-- names its sources in its footer, and sources stay for an hour. These views hide them as the program's own
-- readers do. {root} is the store's folder or bucket URL.

-- table samples
-- One row per sample; value is NULL for a stale marker ("this series ended here").
CREATE OR REPLACE VIEW samples AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/samples/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (dt, cluster, metric, instance, labels, ts)
    dt, cluster, metric, instance, labels, ts, coalesce(CAST(value_int AS DOUBLE), value) AS value
FROM read_parquet('{root}/data/samples/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden);

-- table rollup_5m
-- Five-minute aggregates of whole days; ts is the bucket's start, last_ts the time of its last sample.
CREATE OR REPLACE VIEW rollup_5m AS
SELECT dt, cluster, metric, instance, labels, ts, last_ts, min, max, last, sum, count
FROM read_parquet('{root}/data/rollup_5m/*/*/*.parquet', hive_partitioning = true);

-- table rollup_1h
-- Five-minute aggregates of whole days; ts is the bucket's start, last_ts the time of its last sample.
CREATE OR REPLACE VIEW rollup_1h AS
SELECT dt, cluster, metric, instance, labels, ts, last_ts, min, max, last, sum, count
FROM read_parquet('{root}/data/rollup_1h/*/*/*.parquet', hive_partitioning = true);

-- table readings
-- One row per member and health collection; errors and alarms are JSON arrays, ids hexadecimal text.
CREATE OR REPLACE VIEW readings AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/readings/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (dt, cluster, instance, ts) * EXCLUDE (level, filename)
FROM read_parquet('{root}/data/readings/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden);

-- table events
-- One row per happening: of several witnesses the earliest.
CREATE OR REPLACE VIEW events AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/events/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (cluster, id) * EXCLUDE (level, filename)
FROM read_parquet('{root}/data/events/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden)
ORDER BY cluster, id, ts;

-- table job_runs
-- One row per ended run, up to the last full hour; the newest are JSON objects under state/runs.
CREATE OR REPLACE VIEW job_runs AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/job_runs/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (dt, job, shard, attempt, slot) * EXCLUDE (level, filename)
FROM read_parquet('{root}/data/job_runs/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden);

-- table backups
-- What became of every copy of a backup: a row when it is first seen, and one for each change.
CREATE OR REPLACE VIEW backups AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/backups/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (cluster, "at", id, ts) * EXCLUDE (level, filename)
FROM read_parquet('{root}/data/backups/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden);

-- table bench_runs
-- What benchmarks measured: a row for each part of a run.
CREATE OR REPLACE VIEW bench_runs AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/bench_runs/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (cluster, id, part, ts) * EXCLUDE (level, filename)
FROM read_parquet('{root}/data/bench_runs/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden);

-- table disk_runs
-- What disk checks measured: a row for each test of a check.
CREATE OR REPLACE VIEW disk_runs AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/disk_runs/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (host, id, test, ts) * EXCLUDE (level, filename)
FROM read_parquet('{root}/data/disk_runs/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden);

-- table advice
-- What was advised: a row when a recommendation is first made, and one for each change.
CREATE OR REPLACE VIEW advice AS
WITH hidden AS (
    SELECT '{root}/' || unnest(from_json(decode(value), '["VARCHAR"]')) AS filename
    FROM parquet_kv_metadata('{root}/data/advice/*/*/*.parquet')
    WHERE decode(key) = 'etcd_monitor.sources'
)
SELECT DISTINCT ON (cluster, rule, ts) * EXCLUDE (level, filename)
FROM read_parquet('{root}/data/advice/*/*/*.parquet', hive_partitioning = true, filename = true)
WHERE filename NOT IN (SELECT filename FROM hidden);
