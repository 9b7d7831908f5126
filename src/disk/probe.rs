//! The built-in probe: appends as etcd's write-ahead log does, each made durable before the next.
//!
//! The file has no name from its first moment or soon after, so nothing is left whenever this process ends.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::DiskError;
use super::run::Dial;
use crate::model::{DiskFlow, DiskLatency, DiskTest};

/// The name of the test.
pub const NAME: &str = "probe";

/// What etcd appends at a time, as the fio job of its documentation has it.
pub const APPEND_BYTES: usize = 2_300;

/// As many as fio's job of 22 MB makes.
pub const APPENDS: u64 = 10_029;

/// etcd makes its log's files this long before it writes to them (`SegmentSizeBytes` of its `wal`), so that an append
/// changes no length.
const SEGMENT_BYTES: u64 = 64_000_000;

/// Below a nanosecond nothing is told apart, and what takes longer than a minute is one.
const LONGEST: Duration = Duration::from_secs(60);

/// The part of all, 0 to 1, that percentiles are kept of.
pub const QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeOptions {
    pub appends: u64,
    /// The most in a second; without it, as fast as the disk takes them.
    pub rate: Option<f64>,
    /// What is measured until then counts.
    pub longest: Duration,
}

/// Appends to a file in `directory` until there are as many as asked for, the time is over, or the dial is stopped. Blocks.
///
/// # Errors
/// When the file cannot be made, or written to: [`DiskError::Path`].
pub fn probe(directory: &Path, options: ProbeOptions, dial: &Dial) -> Result<DiskTest, DiskError> {
    let at = |error| DiskError::at(directory)(error);
    let mut file = nameless(directory)?;
    let length = SEGMENT_BYTES.min(options.appends.saturating_mul(APPEND_BYTES as u64));
    preallocate(&file, length).map_err(|errno| at(errno.into()))?;
    file.sync_all().map_err(at)?;
    let (mut syncs, mut writes) = (histogram()?, histogram()?);
    let mut bytes = noise();
    let began = Instant::now();
    let mut done = 0;
    while done < options.appends && began.elapsed() < options.longest && !dial.stop.is_cancelled() {
        if let Some(rate) = options.rate.filter(|rate| *rate > 0.0) {
            let due = Duration::from_secs_f64(done as f64 / rate);
            // Waits what is left: a disk slower than the rate is never hurried afterwards.
            std::thread::sleep(due.saturating_sub(began.elapsed()).min(Duration::from_secs_f64(1.0 / rate)));
        }
        // No two alike: some disks keep equal blocks once.
        if let Some(head) = bytes.first_chunk_mut::<8>() {
            *head = done.to_le_bytes();
        }
        let start = Instant::now();
        file.write_all(&bytes).map_err(at)?;
        let written = Instant::now();
        file.sync_data().map_err(at)?;
        note(&mut writes, written - start);
        note(&mut syncs, written.elapsed());
        done += 1;
        dial.advance(done, options.appends);
    }
    let seconds = began.elapsed().as_secs_f64();
    let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    Ok(DiskTest {
        name: NAME.to_owned(),
        tool: format!("etcd-monitor {}", env!("CARGO_PKG_VERSION")),
        command: String::new(),
        seconds,
        is_truncated: done < options.appends,
        read: None,
        write: Some(DiskFlow {
            ios: done,
            bytes: done * APPEND_BYTES as u64,
            iops: rate,
            bytes_per_second: rate * APPEND_BYTES as f64,
            latency: latency(&writes),
        }),
        sync: Some(latency(&syncs)),
    })
}

/// A file that no name leads to.
fn nameless(directory: &Path) -> Result<File, DiskError> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR) {
        Ok(made) => return Ok(made.into()),
        // File systems and kernels without it: overlayfs of old, NFS, FUSE.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {}
        Err(errno) => return Err(DiskError::at(directory)(errno.into())),
    }
    let path = directory.join(format!("{}probe-{}", super::scratch::PREFIX, ulid::Ulid::generate()));
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(DiskError::at(&path))?;
    std::fs::remove_file(&path).map_err(DiskError::at(&path))?;
    Ok(file)
}

/// Room for all of it, as etcd makes it; where the file system cannot, the length alone.
fn preallocate(file: &File, length: u64) -> Result<(), Errno> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        Err(Errno::OPNOTSUPP) => rustix::fs::ftruncate(file, length),
        done => done,
    }
}

fn histogram() -> Result<Histogram<u64>, DiskError> {
    let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_max(longest, 3).map_err(|error| DiskError::Unfit(format!("this is a bug: {error}")))
}

fn note(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
}

fn latency(histogram: &Histogram<u64>) -> DiskLatency {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    DiskLatency {
        count: histogram.len(),
        fastest: if histogram.is_empty() { 0.0 } else { seconds(histogram.min()) },
        average: histogram.mean() / 1e9,
        slowest: seconds(histogram.max()),
        quantiles: QUANTILES.iter().map(|q| (*q, seconds(histogram.value_at_quantile(*q)))).collect(),
    }
}

/// Bytes that do not compress: splitmix64.
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let word = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(word).take(APPEND_BYTES / 8 + 1).flatten().collect();
    bytes.truncate(APPEND_BYTES);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_counts_its_appends_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = ProbeOptions { appends: 200, rate: None, longest: Duration::from_secs(60) };
        let test = probe(folder.path(), options, &Dial::default()).expect("measures");
        let (write, sync) = (test.write.expect("writes"), test.sync.expect("syncs"));
        assert_eq!((write.ios, write.bytes, sync.count), (200, 460_000, 200));
        assert!(!test.is_truncated);
        assert!(sync.quantile(0.5) <= sync.quantile(0.99) && sync.fastest > 0.0);
        assert!(sync.slowest >= sync.quantile(0.999).expect("kept") * 0.999);
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
    }

    #[test]
    fn time_and_a_stop_end_it_with_what_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let slow = ProbeOptions { appends: 1_000_000, rate: Some(50.0), longest: Duration::from_millis(300) };
        let test = probe(folder.path(), slow, &Dial::default()).expect("measures");
        assert!(test.is_truncated);
        // At most 50 a second, however fast the disk is.
        assert!(test.write.expect("writes").ios <= 20);
        let dial = Dial::default();
        dial.stop.cancel();
        let none = probe(folder.path(), slow, &dial).expect("stops");
        assert_eq!(none.sync.expect("a part").count, 0);
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let options = ProbeOptions { appends: 1, rate: None, longest: Duration::from_secs(1) };
        let error = probe(Path::new("/nowhere/at/all"), options, &Dial::default()).expect_err("none");
        assert!(error.to_string().starts_with("/nowhere/at/all"), "{error}");
    }
}
