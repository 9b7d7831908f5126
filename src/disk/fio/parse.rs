//! fio's report: its JSON of version 3, where latencies are nanoseconds.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::{DiskFlow, DiskLatency, DiskTest};

#[derive(Deserialize)]
struct Report {
    #[serde(rename = "fio version")]
    version: String,
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    jobname: String,
    #[serde(default)]
    error: i64,
    read: Flow,
    write: Flow,
    #[serde(default)]
    sync: Sync,
    /// ms.
    #[serde(default)]
    job_runtime: f64,
}

#[derive(Deserialize)]
struct Flow {
    io_bytes: u64,
    bw_bytes: f64,
    iops: f64,
    total_ios: u64,
    clat_ns: Latency,
}

#[derive(Default, Deserialize)]
struct Sync {
    #[serde(default)]
    lat_ns: Latency,
}

#[derive(Default, Deserialize)]
struct Latency {
    #[serde(default)]
    min: f64,
    #[serde(default)]
    max: f64,
    #[serde(default)]
    mean: f64,
    #[serde(rename = "N", default)]
    count: u64,
    /// By the part of a hundred: `99.900000`.
    #[serde(default)]
    percentile: BTreeMap<String, f64>,
}

/// What fio's report says of its first job. Lines before the report (fio prints warnings and signals there) are passed
/// over.
///
/// # Errors
/// A sentence, when there is no report, it is of another version, or the job failed.
pub fn parse(text: &str) -> Result<DiskTest, String> {
    let from = text.lines().scan(0, |at, line| {
        let start = *at;
        *at += line.len() + 1;
        Some((start, line))
    });
    let start = from.filter(|(_, line)| line.starts_with('{')).map(|(start, _)| start).next();
    let report = start.and_then(|start| text.get(start..)).ok_or("its output has no report")?;
    // What follows the report, a warning for example, is none of it.
    let mut reports = serde_json::Deserializer::from_str(report).into_iter::<Report>();
    let report = reports.next().ok_or("its report is empty")?;
    let report = report.map_err(|error| format!("its report cannot be read: {error}"))?;
    let version = report.version.trim_start_matches("fio-");
    if !version.starts_with("3.") {
        return Err(format!("{} is no fio 3: its report has other units", report.version));
    }
    let job = report.jobs.into_iter().next().ok_or("its report has no job")?;
    if job.error != 0 {
        let error = i32::try_from(job.error).unwrap_or(0);
        return Err(format!("the job failed: {}", std::io::Error::from_raw_os_error(error)));
    }
    Ok(DiskTest {
        name: job.jobname,
        tool: report.version,
        command: String::new(),
        seconds: job.job_runtime / 1e3,
        is_truncated: false,
        read: flow(&job.read),
        write: flow(&job.write),
        sync: (job.sync.lat_ns.count > 0).then(|| latency(&job.sync.lat_ns)),
    })
}

fn flow(flow: &Flow) -> Option<DiskFlow> {
    (flow.total_ios > 0).then(|| DiskFlow {
        ios: flow.total_ios,
        bytes: flow.io_bytes,
        iops: flow.iops,
        bytes_per_second: flow.bw_bytes,
        latency: latency(&flow.clat_ns),
    })
}

fn latency(latency: &Latency) -> DiskLatency {
    let percentile = |(part, nanos): (&String, &f64)| Some((part.parse::<f64>().ok()? / 100.0, nanos / 1e9));
    let mut quantiles: Vec<(f64, f64)> = latency.percentile.iter().filter_map(percentile).collect();
    quantiles.sort_by(|one, other| one.0.total_cmp(&other.0));
    DiskLatency {
        count: latency.count,
        fastest: latency.min / 1e9,
        average: latency.mean / 1e9,
        slowest: latency.max / 1e9,
        quantiles,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAL: &str = include_str!("../../../tests/data/disk/fio-wal-fsync.json");
    const DB: &str = include_str!("../../../tests/data/disk/fio-db-test.json");

    #[test]
    fn the_fsync_of_a_real_report_is_that_of_its_sync_calls() {
        let test = parse(WAL).expect("a report");
        assert_eq!((test.name.as_str(), test.tool.as_str()), ("wal-fsync-test", "fio-3.33"));
        let sync = test.sync.expect("syncs");
        assert_eq!(sync.count, 10_029);
        let ms = |quantile| sync.quantile(quantile).expect("kept") * 1e3;
        assert!((ms(0.5) - 2.932_736).abs() < 1e-9 && (ms(0.95) - 6.389_76).abs() < 1e-9);
        assert!((ms(0.99) - 8.716_288).abs() < 1e-9 && (ms(0.999) - 15.925_248).abs() < 1e-9);
        let write = test.write.expect("writes");
        assert_eq!((write.ios, write.bytes), (10_029, 23_066_700));
        assert!((write.iops - 352.315_043).abs() < 1e-6 && (write.bytes_per_second - 810_324.0).abs() < 1e-6);
        assert!(test.read.is_none());
    }

    #[test]
    fn both_directions_of_a_real_report() {
        let test = parse(DB).expect("a report");
        let (read, write) = (test.read.expect("reads"), test.write.expect("writes"));
        assert_eq!((read.ios, write.ios), (131_040, 131_104));
        assert!((read.latency.quantile(0.99).expect("kept") - 0.005_275_648).abs() < 1e-12);
        assert!((write.bytes_per_second - 94_045_881.0).abs() < 1e-3);
        assert!(test.sync.is_none(), "nothing was made durable");
    }

    #[test]
    fn what_is_around_a_report_is_passed_over_and_what_is_none_is_told() {
        let around = format!("fio: terminating on signal 2\n{WAL}\nfio: done\n");
        assert_eq!(parse(&around), parse(WAL));
        let cases = [
            ("", "its output has no report"),
            ("fio: pid=1, err=28\n", "its output has no report"),
            ("{\"fio version\": \"fio-3.33\", \"jobs\": []}", "its report has no job"),
            (
                "{\"fio version\": \"fio-2.21\", \"jobs\": []}",
                "fio-2.21 is no fio 3: its report has other units",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text), Err(wanted.to_owned()), "{text}");
        }
        let cut = WAL.get(..WAL.len() / 2).expect("half");
        assert!(parse(cut).is_err_and(|error| error.starts_with("its report cannot be read")));
        let failed = WAL.replacen("\"error\" : 0", "\"error\" : 28", 1);
        assert_eq!(parse(&failed), Err("the job failed: No space left on device (os error 28)".to_owned()));
    }
}
