//! What a device does: two looks at the kernel's counters, and at etcd's, some seconds apart.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::time::Instant;

use procfs::process::Io;
use procfs::{DiskStat, DiskStats, FromBufRead as _, FromRead as _};

use super::device::{Machine, line};
use crate::model::{DiskPattern, Instance, Reading};

/// `/proc/diskstats` counts in these, whatever the device has.
const SECTOR_BYTES: f64 = 512.0;
/// Who writes less, bytes per second, is not named.
const WRITER_MIN: f64 = 4_096.0;
/// So many are.
const WRITERS: usize = 5;

/// All counters at one moment.
#[derive(Debug)]
pub struct Snapshot {
    at: Instant,
    disks: BTreeMap<String, DiskStat>,
    /// Bytes that each process had written to disks, by its id.
    writers: BTreeMap<u32, (String, u64)>,
}

/// What etcd itself had counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counted {
    pub fsyncs: Option<f64>,
    pub commits: Option<f64>,
}

impl Counted {
    /// What `instance` says in `reading`.
    pub fn of(reading: &Reading, instance: &Instance) -> Self {
        let member = reading.members.iter().find(|member| member.instance == *instance);
        let scrape = member.and_then(|member| member.scrape.as_ref()).filter(|scrape| scrape.ok);
        let value = |name: &str| {
            scrape?.samples.iter().find(|(labels, _)| labels.metric_name() == name).map(|(_, value)| value)
        };
        Self {
            fsyncs: value("etcd_disk_wal_fsync_duration_seconds_count"),
            commits: value("etcd_disk_backend_commit_duration_seconds_count"),
        }
    }
}

/// Looks at the counters now. Blocks, shortly.
pub fn snapshot(machine: &Machine) -> Snapshot {
    let stats = fs::File::open(machine.proc.join("diskstats")).ok();
    let stats = stats.and_then(|file| DiskStats::from_buf_read(BufReader::new(file)).ok());
    let disks = stats.map(|stats| stats.0).unwrap_or_default();
    Snapshot {
        at: Instant::now(),
        disks: disks.into_iter().map(|disk| (disk.name.clone(), disk)).collect(),
        writers: writers(machine),
    }
}

fn writers(machine: &Machine) -> BTreeMap<u32, (String, u64)> {
    let entries = fs::read_dir(&machine.proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let folder = machine.proc.join(pid.to_string());
        // The kernel's own threads write what others gave them, which is counted there.
        fs::read(folder.join("cmdline")).ok().filter(|command| !command.is_empty())?;
        let io = Io::from_read(fs::File::open(folder.join("io")).ok()?).ok()?;
        let name = line(&folder.join("comm")).unwrap_or_else(|| "?".to_owned());
        Some((pid, (name, io.write_bytes.saturating_sub(io.cancelled_write_bytes))))
    })
    .collect()
}

/// What `disks` did between two looks; `etcd` are the processes that are etcd, `counted` what they counted at both.
/// Nothing where the kernel counts for none of the disks.
pub fn pattern(
    before: &Snapshot,
    after: &Snapshot,
    disks: &[String],
    etcd: &[u32],
    counted: Option<(Counted, Counted)>,
) -> Option<DiskPattern> {
    let seconds = after.at.duration_since(before.at).as_secs_f64();
    let pairs: Vec<(&DiskStat, &DiskStat)> =
        disks.iter().filter_map(|disk| Some((before.disks.get(disk)?, after.disks.get(disk)?))).collect();
    if pairs.is_empty() || seconds <= 0.0 {
        return None;
    }
    let sum = |field: fn(&DiskStat) -> u64| -> f64 {
        pairs.iter().map(|(then, now)| field(now).saturating_sub(field(then)) as f64).sum()
    };
    let (reads, writes) = (sum(|disk| disk.reads), sum(|disk| disk.writes));
    let (read, written) =
        (sum(|disk| disk.sectors_read) * SECTOR_BYTES, sum(|disk| disk.sectors_written) * SECTOR_BYTES);
    let each = |all: f64, count: f64| (count > 0.0).then(|| all / count);
    let knows_flushes = pairs.iter().all(|(_, now)| now.flushes.is_some());
    let by_process = by_process(before, after, seconds);
    // The sum of nothing is a negative zero.
    let of_etcd: f64 =
        by_process.iter().filter(|(pid, _, _)| etcd.contains(pid)).fold(0.0, |sum, (_, _, rate)| sum + rate);
    let others = by_process.into_iter().filter(|(pid, _, rate)| !etcd.contains(pid) && *rate >= WRITER_MIN);
    let rate = |field: fn(Counted) -> Option<f64>| {
        let (then, now) = counted?;
        // Less than before: it started anew.
        Some((field(now)? - field(then)?) / seconds).filter(|rate| *rate >= 0.0)
    };
    Some(DiskPattern {
        seconds,
        reads_per_second: reads / seconds,
        writes_per_second: writes / seconds,
        read_bytes_per_second: read / seconds,
        written_bytes_per_second: written / seconds,
        read_size: each(read, reads),
        write_size: each(written, writes),
        read_wait: each(sum(|disk| disk.time_reading) / 1e3, reads),
        write_wait: each(sum(|disk| disk.time_writing) / 1e3, writes),
        queue_depth: sum(|disk| disk.weighted_time_in_progress) / 1e3 / seconds,
        busy: (sum(|disk| disk.time_in_progress) / 1e3 / seconds / pairs.len() as f64).min(1.0),
        flushes_per_second: knows_flushes.then(|| sum(|disk| disk.flushes.unwrap_or(0)) / seconds),
        etcd_fsyncs_per_second: rate(|counted| counted.fsyncs),
        etcd_commits_per_second: rate(|counted| counted.commits),
        etcd_written_bytes_per_second: (!etcd.is_empty()).then_some(of_etcd),
        writers: others.take(WRITERS).map(|(pid, name, rate)| (format!("{name} ({pid})"), rate)).collect(),
    })
}

/// What each process wrote a second, the most first.
fn by_process(before: &Snapshot, after: &Snapshot, seconds: f64) -> Vec<(u32, String, f64)> {
    let mut all: Vec<(u32, String, f64)> = after
        .writers
        .iter()
        .filter_map(|(pid, (name, bytes))| {
            let then =
                before.writers.get(pid).filter(|(before, _)| before == name).map_or(0, |(_, bytes)| *bytes);
            let rate = bytes.saturating_sub(then) as f64 / seconds;
            (rate > 0.0 && *pid != std::process::id()).then(|| (*pid, name.clone(), rate))
        })
        .collect();
    all.sort_by(|one, other| other.2.total_cmp(&one.2));
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn at(proc: &Path, disk: &str, processes: &[(u32, &str, u64)]) -> Snapshot {
        fs::write(proc.join("diskstats"), format!("259 0 nvme0n1 {disk}\n 8 0 sda 1 1 1 1 1 1 1 1 1 1 1\n"))
            .expect("written");
        for (pid, name, bytes) in processes {
            let folder = proc.join(pid.to_string());
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("cmdline"), format!("{name}\0")).expect("written");
            fs::write(folder.join("comm"), format!("{name}\n")).expect("written");
            let io = format!(
                "rchar: 1\nwchar: 1\nsyscr: 1\nsyscw: 1\nread_bytes: 0\nwrite_bytes: {bytes}\ncancelled_write_bytes: 0\n"
            );
            fs::write(folder.join("io"), io).expect("written");
        }
        snapshot(&Machine { proc: proc.to_owned(), sys: "/sys".into() })
    }

    #[test]
    fn a_pattern_is_the_difference_of_two_looks() {
        let proc = tempfile::tempdir().expect("a folder");
        let mut before = at(
            proc.path(),
            "100 0 800 50 1000 0 16000 4000 0 5000 9000 0 0 0 0 10 5",
            &[(7, "etcd", 1_000), (8, "mysqld", 0)],
        );
        let after = at(
            proc.path(),
            "110 0 960 70 1400 0 22400 6000 0 7000 17000 0 0 0 0 210 99",
            &[(7, "etcd", 3_001_000), (8, "mysqld", 400_000), (9, "cp", 40)],
        );
        before.at = after.at - Duration::from_secs(10);
        let counted = (
            Counted { fsyncs: Some(5.0), commits: Some(9.0) },
            Counted { fsyncs: Some(205.0), commits: Some(4.0) },
        );
        let found = pattern(&before, &after, &["nvme0n1".to_owned()], &[7], Some(counted)).expect("counted");
        assert_eq!((found.reads_per_second, found.writes_per_second), (1.0, 40.0));
        assert_eq!((found.read_size, found.write_size), (Some(8_192.0), Some(8_192.0)));
        assert_eq!((found.read_wait, found.write_wait), (Some(0.002), Some(0.005)));
        assert!((found.queue_depth - 0.8).abs() < 1e-9 && (found.busy - 0.2).abs() < 1e-9);
        assert_eq!(found.flushes_per_second, Some(20.0));
        assert_eq!((found.etcd_fsyncs_per_second, found.etcd_commits_per_second), (Some(20.0), None));
        assert_eq!(found.etcd_written_bytes_per_second, Some(300_000.0));
        assert_eq!(
            found.writers,
            [("mysqld (8)".to_owned(), 40_000.0)],
            "who writes next to nothing is not named"
        );
        let idle = pattern(&before, &after, &["nvme0n1".to_owned()], &[99], None).expect("counted");
        assert_eq!(idle.etcd_written_bytes_per_second.map(f64::is_sign_positive), Some(true));
        assert!(pattern(&before, &after, &["sdz".to_owned()], &[], None).is_none());
    }
}
