//! What the figures mean: each rule with what it measures by, where that is from, and what to do.

use crate::model::unit::{human_bytes, human_seconds};
use crate::model::{Check, DiskDevice, DiskKind, DiskPattern, DiskTest, DiskVerdict, Level};

/// Where the limits of fsync are from.
pub const SOURCE: &str = "etcd's FAQ (99 % of fsyncs below 10 ms); twice that and more is critical";
/// The 99th percentile of fsync, seconds: below the first a disk is ready for production, above the second it is critical.
pub const READY_P99: f64 = 0.010;
pub const CRITICAL_P99: f64 = 0.020;

/// What fewer fsyncs say of their 99th percentile is chance.
const SYNCS_MIN: u64 = 100;

const HARDWARE: &str = "etcd's hardware recommendations";
const TUNING: &str = "etcd's tuning guide";

/// etcd's default heartbeat interval, seconds.
const HEARTBEAT: f64 = 0.1;

const GIB: u64 = 1 << 30;

/// What a 99th percentile, seconds, means. The limits themselves are warnings.
pub fn verdict_of(p99: f64) -> DiskVerdict {
    match p99 {
        p99 if p99 < READY_P99 => DiskVerdict::ProductionReady,
        p99 if p99 <= CRITICAL_P99 => DiskVerdict::Warning,
        p99 if p99 > CRITICAL_P99 => DiskVerdict::Critical,
        _ => DiskVerdict::Unknown,
    }
}

/// The verdict, the percentile it is made of, and all that was found, the worst first.
pub fn judge(
    tests: &[DiskTest],
    device: &DiskDevice,
    pattern: Option<&DiskPattern>,
) -> (DiskVerdict, Option<f64>, Vec<Check>) {
    let counts =
        |test: &&DiskTest| is_wal(test) && test.sync.as_ref().is_some_and(|sync| sync.count >= SYNCS_MIN);
    let of_test = |test: &DiskTest| Some((test.sync.as_ref()?.quantile(0.99)?, test.name.clone()));
    // Of several the slowest counts: what a disk did once it does again.
    let slowest =
        tests.iter().filter(counts).filter_map(of_test).max_by(|one, other| one.0.total_cmp(&other.0));
    let verdict = slowest.as_ref().map_or(DiskVerdict::Unknown, |(p99, _)| verdict_of(*p99));
    let mut findings = vec![fsync(slowest.as_ref(), verdict)];
    findings.extend(tests.iter().filter(counts).flat_map(of_wal));
    findings.extend(tests.iter().filter_map(bandwidth));
    findings.extend(of_device(device));
    findings.extend(pattern.and_then(of_pattern));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    (verdict, slowest.map(|(p99, _)| p99), findings)
}

/// Whether a test appends as etcd's write-ahead log does.
fn is_wal(test: &DiskTest) -> bool {
    test.name == super::probe::NAME || test.name == super::fio::Job::WalFsync.name()
}

fn fsync(slowest: Option<&(f64, String)>, verdict: DiskVerdict) -> Check {
    let found = match slowest {
        Some((p99, test)) => format!("99 % of fdatasyncs take {} or less ({test})", human_seconds(*p99)),
        None => format!("fewer than {SYNCS_MIN} fdatasyncs were measured"),
    };
    Check::new(
        "fsync",
        verdict.into(),
        found,
        "p99 below 10 ms: production ready; 10 to 20 ms: warning; above 20 ms: critical",
        SOURCE,
        "Use a local SSD or NVMe disk, or a faster class of volume, and let nothing else write to it",
    )
}

fn of_wal(test: &DiskTest) -> Vec<Check> {
    let mut findings = Vec::new();
    if let Some(tail) =
        test.sync.as_ref().filter(|sync| sync.count >= 1_000).and_then(|sync| sync.quantile(0.999))
    {
        let level = if tail < HEARTBEAT { Level::Pass } else { Level::Warning };
        findings.push(Check::new(
            "fsync-tail",
            level,
            format!("one of 1000 fdatasyncs takes {} or more ({})", human_seconds(tail), test.name),
            "p99.9 below etcd's default heartbeat interval, 100 ms",
            TUNING,
            "A leader that waits for its disk so long misses heartbeats: find what stalls the disk (`disk check` names who writes)",
        ));
    }
    // The probe may have been told to go slowly.
    if let Some(write) = test.write.as_ref().filter(|_| test.name != super::probe::NAME) {
        let level = match write.iops {
            iops if iops >= 500.0 => Level::Pass,
            iops if iops >= 50.0 => Level::Warning,
            _ => Level::Critical,
        };
        findings.push(Check::new(
            "iops",
            level,
            format!("{:.0} durable sequential writes a second ({})", write.iops, test.name),
            "50 a second at least, 500 for a cluster with much load",
            HARDWARE,
            "A cluster with much load waits for this disk: use a faster class of volume",
        ));
    }
    findings
}

fn bandwidth(test: &DiskTest) -> Option<Check> {
    let write = test.write.as_ref().filter(|_| test.name == super::fio::Job::Db.name())?;
    let level = match write.bytes_per_second {
        rate if rate >= 10e6 => Level::Pass,
        _ => Level::Warning,
    };
    Some(Check::new(
        "bandwidth",
        level,
        format!(
            "{}/s written, {}/s read at the same time ({})",
            human_bytes(write.bytes_per_second),
            human_bytes(test.read.as_ref().map_or(0.0, |read| read.bytes_per_second)),
            test.name
        ),
        "10 MB/s at least (a member catches up with 100 MB in 15 s); 100 MB/s for large databases",
        HARDWARE,
        "A failed member takes long to catch up: use a volume with more throughput",
    ))
}

fn of_device(device: &DiskDevice) -> Vec<Check> {
    let mut findings = vec![disk_kind(device), filesystem(device), space(device)];
    findings.extend(barriers(device));
    findings.extend(scheduler(device));
    findings.extend(shared(device));
    findings
}

fn disk_kind(device: &DiskDevice) -> Check {
    let (level, word) = match device.kind {
        DiskKind::Nvme => (Level::Pass, "an NVMe disk"),
        DiskKind::Ssd => (Level::Pass, "an SSD"),
        DiskKind::Hdd => (Level::Warning, "a spinning disk"),
        DiskKind::Virtual => (Level::Unknown, "a virtual disk: what is below it, only the host knows"),
        DiskKind::Memory => (Level::Critical, "memory: the data are gone when the machine is"),
        DiskKind::Network => (Level::Warning, "on another machine: each fsync waits for the network"),
        DiskKind::Unknown => (Level::Unknown, "of unknown kind"),
    };
    let disks = if device.disks.is_empty() { device.filesystem.clone() } else { device.disks.join(", ") };
    let model = device.model.as_ref().map_or(String::new(), |model| format!(" ({model})"));
    Check::new(
        "disk-kind",
        level,
        format!("{disks}{model} is {word}"),
        "SSD or NVMe, local",
        HARDWARE,
        match device.kind {
            DiskKind::Virtual => "Choose a volume class with guaranteed IOPS; the measured fsync decides",
            DiskKind::Memory => "Put --data-dir on a disk",
            _ => "Move the data to a local SSD or NVMe disk",
        },
    )
}

fn filesystem(device: &DiskDevice) -> Check {
    let has = |option: &str| device.mount_options.iter().any(|set| set == option);
    let (level, why, advice) = match device.filesystem.as_str() {
        "ext4" if has("data=journal") => (
            Level::Warning,
            ", which writes all data twice (data=journal)",
            "Mount it with data=ordered: etcd has its own log",
        ),
        _ if has("sync") => {
            (Level::Warning, ", mounted sync", "Mount it without sync: etcd calls fdatasync itself")
        }
        "ext4" | "xfs" => (Level::Pass, "", ""),
        "btrfs" | "zfs" => (
            Level::Warning,
            ", which copies what it overwrites: fsyncs are slow and files fall to pieces",
            "Use ext4 or xfs for etcd; on btrfs at least `chattr +C` on the empty data folder",
        ),
        "overlay" => (
            Level::Warning,
            ", the writable layer of a container: data are gone with it",
            "Put --data-dir on a volume",
        ),
        _ => (Level::Unknown, "", ""),
    };
    Check::new(
        "filesystem",
        level,
        format!("{} is {}{why}", device.mount_point, device.filesystem),
        "ext4 or xfs",
        "what etcd is tested on",
        advice,
    )
}

/// Without barriers a disk says that data are durable before they are.
fn barriers(device: &DiskDevice) -> Option<Check> {
    let unsafe_options = ["nobarrier", "barrier=0", "nobarriers", "eatmydata"];
    let option = device.mount_options.iter().find(|option| unsafe_options.contains(&option.as_str()))?;
    Some(Check::new(
        "barriers",
        Level::Critical,
        format!(
            "{} is mounted {option}: what was made durable may be lost with the power",
            device.mount_point
        ),
        "barriers on",
        "ext4(5), xfs(5)",
        "Mount it with barriers; a cluster that loses what it confirmed is corrupt",
    ))
}

fn scheduler(device: &DiskDevice) -> Option<Check> {
    let scheduler = device.scheduler.as_deref()?;
    let good: &[&str] = match device.kind {
        DiskKind::Hdd => &["mq-deadline", "deadline", "bfq"],
        DiskKind::Nvme | DiskKind::Virtual => &["none", "noop", "mq-deadline", "kyber"],
        _ => &["none", "noop", "mq-deadline", "deadline", "kyber"],
    };
    let level = if good.contains(&scheduler) { Level::Pass } else { Level::Warning };
    let disk = device.disks.first().map_or("the disk", String::as_str);
    let wanted = good.first().copied().unwrap_or("none");
    Some(Check::new(
        "scheduler",
        level,
        format!("{disk} uses the I/O scheduler {scheduler}"),
        "none or mq-deadline on SSD, NVMe and virtual disks, mq-deadline on spinning ones",
        "the kernel's block layer documentation",
        &format!("echo {wanted} > /sys/block/{disk}/queue/scheduler, and a udev rule to keep it"),
    ))
}

fn shared(device: &DiskDevice) -> Option<Check> {
    let disk = device.disks.first()?;
    let is_root = device.mount_point == "/";
    let (level, found) = match device.also_mounted.as_slice() {
        [] if is_root => (Level::Warning, format!("{disk} holds the operating system, too")),
        [] => (Level::Pass, format!("nothing else is mounted from {disk}")),
        others => (Level::Warning, format!("{disk} also holds {}", others.join(", "))),
    };
    Some(Check::new(
        "dedicated-disk",
        level,
        found,
        "a disk for etcd alone",
        HARDWARE,
        "Give etcd a disk of its own: logs and images that are written beside it make its fsyncs wait",
    ))
}

fn space(device: &DiskDevice) -> Check {
    let ratio = device.free_bytes as f64 / device.size_bytes.max(1) as f64;
    let level = match device.free_bytes {
        free if free < 2 * GIB => Level::Critical,
        free if free < 8 * GIB || ratio < 0.1 => Level::Warning,
        _ => Level::Pass,
    };
    Check::new(
        "free-space",
        level,
        format!(
            "{} of {} free on {}",
            human_bytes(device.free_bytes as f64),
            human_bytes(device.size_bytes as f64),
            device.mount_point
        ),
        "8 GiB and a tenth at least: a database of 2 GiB is written anew when defragmented, beside snapshots and the log",
        "etcd's default quota of 2 GiB",
        "Free space, or a larger volume; a full disk stops the member",
    )
}

fn of_pattern(pattern: &DiskPattern) -> Option<Check> {
    let others: f64 = pattern.writers.iter().map(|(_, rate)| rate).sum();
    let own = pattern.etcd_written_bytes_per_second.unwrap_or(0.0);
    let names: Vec<&str> = pattern.writers.iter().map(|(name, _)| name.as_str()).collect();
    let is_busy = pattern.busy > 0.5 && others > own;
    let level = if is_busy { Level::Warning } else { Level::Pass };
    let found = if names.is_empty() {
        format!("busy {:.0} % of the time; nobody but etcd writes much", pattern.busy * 100.0)
    } else {
        format!(
            "busy {:.0} % of the time; {}/s written by others: {}",
            pattern.busy * 100.0,
            human_bytes(others),
            names.join(", ")
        )
    };
    Some(Check::new(
        "other-writers",
        level,
        found,
        "others write less than etcd, or the disk is busy less than half the time",
        "a disk for etcd alone",
        "Move what writes beside etcd to another disk, or limit it (ionice -c3, systemd's IOWeight)",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DiskFlow, DiskLatency};

    /// A test whose latencies have the given percentiles of a distribution, by its inverse.
    fn test_of(name: &str, count: u64, quantile: impl Fn(f64) -> f64) -> DiskTest {
        let quantiles = super::super::probe::QUANTILES.iter().map(|q| (*q, quantile(*q))).collect();
        let latency = DiskLatency { count, fastest: 0.0, average: quantile(0.5), slowest: 1.0, quantiles };
        let flow =
            DiskFlow { ios: count, bytes: 0, iops: 800.0, bytes_per_second: 0.0, latency: latency.clone() };
        DiskTest {
            name: name.to_owned(),
            tool: String::new(),
            command: String::new(),
            seconds: 1.0,
            is_truncated: false,
            read: None,
            write: Some(flow),
            sync: Some(latency),
        }
    }

    fn good() -> DiskDevice {
        DiskDevice {
            disks: vec!["nvme0n1".to_owned()],
            kind: DiskKind::Nvme,
            scheduler: Some("none".to_owned()),
            filesystem: "ext4".to_owned(),
            mount_point: "/var/lib/etcd".to_owned(),
            size_bytes: 100 * GIB,
            free_bytes: 80 * GIB,
            ..DiskDevice::default()
        }
    }

    #[test]
    fn the_limits_are_those_of_the_rule() {
        for (ms, verdict) in [
            (0.5, DiskVerdict::ProductionReady),
            (9.999, DiskVerdict::ProductionReady),
            (10.0, DiskVerdict::Warning),
            (20.0, DiskVerdict::Warning),
            (20.001, DiskVerdict::Critical),
            (500.0, DiskVerdict::Critical),
            (f64::NAN, DiskVerdict::Unknown),
        ] {
            assert_eq!(verdict_of(ms / 1e3), verdict, "{ms} ms");
        }
    }

    #[test]
    fn synthetic_distributions_get_the_verdict_of_their_tail() {
        // Exponential: the p99 is 4.6 times the mean. Two humps: 2 % stall. Uniform.
        let exponential = |mean: f64| move |q: f64| -mean * (1.0 - q).ln();
        let stalls = |stall: f64| move |q: f64| if q > 0.98 { stall } else { 0.001 };
        let uniform = |most: f64| move |q: f64| most * q;
        for (what, found, verdict) in [
            ("fast", test_of("probe", 10_000, exponential(0.001)), DiskVerdict::ProductionReady),
            ("a mean of 3 ms", test_of("probe", 10_000, exponential(0.003)), DiskVerdict::Warning),
            ("a mean of 5 ms", test_of("probe", 10_000, exponential(0.005)), DiskVerdict::Critical),
            ("rare stalls", test_of("wal-fsync-test", 10_000, stalls(0.2)), DiskVerdict::Critical),
            ("short stalls", test_of("wal-fsync-test", 10_000, stalls(0.015)), DiskVerdict::Warning),
            ("even", test_of("wal-fsync-test", 10_000, uniform(0.0099)), DiskVerdict::ProductionReady),
            ("too few", test_of("probe", 99, exponential(0.001)), DiskVerdict::Unknown),
            ("another test", test_of("random-write-test", 10_000, stalls(0.2)), DiskVerdict::Unknown),
        ] {
            let (judged, _, findings) = judge(&[found], &good(), None);
            assert_eq!(judged, verdict, "{what}");
            assert!(
                findings.iter().any(|finding| finding.id == "fsync" && finding.level == verdict.into()),
                "{what}"
            );
        }
    }

    #[test]
    fn the_slower_of_two_tests_counts() {
        let (slow, fast) =
            (test_of("wal-fsync-test", 10_000, |q| 0.02 * q), test_of("probe", 10_000, |q| 0.005 * q));
        let (verdict, p99, findings) = judge(&[fast, slow], &good(), None);
        assert_eq!((verdict, p99), (DiskVerdict::Warning, Some(0.02 * 0.99)));
        assert!(findings.first().is_some_and(|worst| worst.found.contains("wal-fsync-test")), "{findings:?}");
    }

    #[test]
    fn each_fact_that_is_bad_is_found_and_a_good_device_has_none() {
        let (_, _, findings) = judge(&[test_of("probe", 10_000, |q| 0.002 * q)], &good(), None);
        assert!(findings.iter().all(|finding| finding.level == Level::Pass), "{findings:?}");
        let found = |change: fn(&mut DiskDevice)| {
            let mut device = good();
            change(&mut device);
            let bad = of_device(&device).into_iter().filter(|f| f.level > Level::Pass);
            bad.map(|finding| (finding.id, finding.level)).collect::<Vec<_>>()
        };
        let one = |id: &str, level| vec![(id.to_owned(), level)];
        assert_eq!(
            found(|d| d.kind = DiskKind::Hdd),
            [one("disk-kind", Level::Warning), one("scheduler", Level::Warning)].concat()
        );
        assert_eq!(found(|d| d.kind = DiskKind::Memory), one("disk-kind", Level::Critical));
        assert_eq!(found(|d| "btrfs".clone_into(&mut d.filesystem)), one("filesystem", Level::Warning));
        assert_eq!(
            found(|d| d.mount_options = vec!["data=journal".to_owned()]),
            one("filesystem", Level::Warning)
        );
        assert_eq!(
            found(|d| d.mount_options = vec!["barrier=0".to_owned()]),
            one("barriers", Level::Critical)
        );
        assert_eq!(found(|d| d.scheduler = Some("bfq".to_owned())), one("scheduler", Level::Warning));
        assert_eq!(
            found(|d| d.also_mounted = vec!["/var/log".to_owned()]),
            one("dedicated-disk", Level::Warning)
        );
        assert_eq!(found(|d| d.free_bytes = GIB), one("free-space", Level::Critical));
        assert_eq!(found(|d| d.free_bytes = 5 * GIB), one("free-space", Level::Warning));
    }
}
