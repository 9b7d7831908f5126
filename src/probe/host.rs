//! The machine that a member runs on, where that is this one: what etcd itself does not export.
//!
//! Owns: which member is which process here (by the addresses it is set to), and the machine's figures from procfs and the
//! file systems. Refuses: anything of machines elsewhere (a node exporter tells of those).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use procfs::net::InterfaceDeviceStatus;
use procfs::{
    DiskStat, DiskStats, FromBufReadSI, FromRead, KernelStats, LoadAverage, LocalSystemInfo, Meminfo,
};

use crate::discover::process::{EtcdProcess, etcd_processes};
use crate::model::{Instance, Labels, METRIC_NAME};

/// Processes are looked for this often at most, for all clusters together.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// `/proc/diskstats` counts in these, whatever the device has.
const SECTOR_BYTES: f64 = 512.0;

/// This machine. Clones see the same.
#[derive(Debug, Clone)]
pub struct Machine {
    proc: PathBuf,
    processes: Arc<Mutex<Option<Look>>>,
}

/// When processes were looked for, and what was found.
type Look = (Instant, Arc<Vec<EtcdProcess>>);

impl Default for Machine {
    fn default() -> Self {
        Self { proc: "/proc".into(), processes: Arc::default() }
    }
}

/// A sample without the labels of its target.
type Sample = (Labels, f64);

impl Machine {
    /// What the machine says, if the member runs on it; empty if not.
    pub(super) async fn figures(&self, instance: &Instance) -> Vec<Sample> {
        let (machine, instance) = (self.clone(), instance.clone());
        // Small files that are not on any disk, and `statvfs` of one that may hang: no business of a worker's.
        tokio::task::spawn_blocking(move || machine.read(&instance)).await.unwrap_or_default()
    }

    fn read(&self, instance: &Instance) -> Vec<Sample> {
        let processes = self.processes();
        let Some(process) = processes.iter().find(|process| process.instances().contains(instance)) else {
            return Vec::new();
        };
        let mut out = Vec::new();
        self.memory(&mut out);
        self.processors(&mut out);
        self.network(process.pid, &mut out);
        let folders = process.folders(&self.proc);
        let disks = of_file::<DiskStats>(&self.proc.join("diskstats")).map(|disks| disks.0);
        for (directory, seen) in &folders {
            disk(directory, seen, disks.as_deref().unwrap_or_default(), &mut out);
        }
        out
    }

    fn processes(&self) -> Arc<Vec<EtcdProcess>> {
        let mut known = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((at, processes)) if at.elapsed() < LOOK_EVERY => Arc::clone(processes),
            _ => {
                let found = Arc::new(etcd_processes(&self.proc));
                *known = Some((Instant::now(), Arc::clone(&found)));
                found
            }
        }
    }

    fn memory(&self, out: &mut Vec<Sample>) {
        let Some(memory) = of_file::<Meminfo>(&self.proc.join("meminfo")) else { return };
        push(out, "etcd_monitor_host_memory_size_bytes", &[], memory.mem_total as f64);
        if let Some(available) = memory.mem_available {
            push(out, "etcd_monitor_host_memory_available_bytes", &[], available as f64);
        }
    }

    fn processors(&self, out: &mut Vec<Sample>) {
        if let Some(load) = of_file::<LoadAverage>(&self.proc.join("loadavg")) {
            push(out, "etcd_monitor_host_load1", &[], f64::from(load.one));
        }
        let file = fs::File::open(self.proc.join("stat")).ok();
        let stats = file.and_then(|file| {
            KernelStats::from_buf_read(std::io::BufReader::new(file), &LocalSystemInfo).ok()
        });
        let Some(stats) = stats else { return };
        push(out, "etcd_monitor_host_cpus", &[], stats.cpu_time.len() as f64);
        let total = &stats.total;
        let waiting = total.iowait_duration().unwrap_or_default();
        let stolen = total.steal_duration().unwrap_or_default();
        let interrupts =
            total.irq_duration().unwrap_or_default() + total.softirq_duration().unwrap_or_default();
        let busy = total.user_duration() + total.nice_duration() + total.system_duration() + interrupts;
        for (mode, spent) in
            [("busy", busy), ("iowait", waiting), ("steal", stolen), ("idle", total.idle_duration())]
        {
            push(out, "etcd_monitor_host_cpu_seconds_total", &[("mode", mode)], spent.as_secs_f64());
        }
    }

    /// The interfaces that the process sees, all but the one to itself.
    fn network(&self, pid: u32, out: &mut Vec<Sample>) {
        let path = self.proc.join(pid.to_string()).join("net/dev");
        let Some(devices) = of_file::<InterfaceDeviceStatus>(&path) else { return };
        let mut sums = BTreeMap::from([("received", (0, 0, 0)), ("sent", (0, 0, 0))]);
        for device in devices.0.values().filter(|device| device.name != "lo") {
            for (way, bytes, errors, dropped) in [
                ("received", device.recv_bytes, device.recv_errs, device.recv_drop),
                ("sent", device.sent_bytes, device.sent_errs, device.sent_drop),
            ] {
                let sum = sums.entry(way).or_default();
                *sum = (sum.0 + bytes, sum.1 + errors, sum.2 + dropped);
            }
        }
        for (way, (bytes, errors, dropped)) in sums {
            push(out, "etcd_monitor_host_network_bytes_total", &[("way", way)], bytes as f64);
            push(out, "etcd_monitor_host_network_errors_total", &[("way", way)], (errors + dropped) as f64);
        }
    }
}

/// Space of the file system, and what its device does where the kernel counts that.
fn disk(directory: &str, seen: &Path, disks: &[DiskStat], out: &mut Vec<Sample>) {
    let Ok(space) = rustix::fs::statvfs(seen) else { return };
    let labels = [("directory", directory)];
    let bytes = |blocks: u64| blocks as f64 * space.f_frsize as f64;
    push(out, "etcd_monitor_host_disk_size_bytes", &labels, bytes(space.f_blocks));
    push(out, "etcd_monitor_host_disk_avail_bytes", &labels, bytes(space.f_bavail));
    let Ok(meta) = fs::metadata(seen) else { return };
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let is_it =
        |disk: &&DiskStat| u32::try_from(disk.major) == Ok(major) && u32::try_from(disk.minor) == Ok(minor);
    // tmpfs, overlay and btrfs have no device of their own.
    let Some(disk) = disks.iter().find(is_it) else { return };
    let labels = [("directory", directory), ("device", disk.name.as_str())];
    let seconds = |ms: u64| ms as f64 / 1e3;
    for (name, value) in [
        ("etcd_monitor_host_disk_reads_total", disk.reads as f64),
        ("etcd_monitor_host_disk_writes_total", disk.writes as f64),
        ("etcd_monitor_host_disk_read_bytes_total", disk.sectors_read as f64 * SECTOR_BYTES),
        ("etcd_monitor_host_disk_written_bytes_total", disk.sectors_written as f64 * SECTOR_BYTES),
        ("etcd_monitor_host_disk_busy_seconds_total", seconds(disk.time_in_progress)),
        ("etcd_monitor_host_disk_waiting_seconds_total", seconds(disk.weighted_time_in_progress)),
    ] {
        push(out, name, &labels, value);
    }
}

fn push(out: &mut Vec<Sample>, name: &str, labels: &[(&str, &str)], value: f64) {
    let pairs = std::iter::once((METRIC_NAME, name)).chain(labels.iter().copied());
    out.push((Labels::from_pairs(pairs), value));
}

/// A file of procfs, read whole; nothing where it is not there or not as expected.
fn of_file<T: FromRead>(path: &Path) -> Option<T> {
    T::from_read(fs::File::open(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with one etcd, whose data is in `data`; the device of that is as given.
    fn machine(proc: &Path, data: &Path) -> Machine {
        let etcd = proc.join("7");
        fs::create_dir_all(etcd.join("net")).expect("a folder");
        std::os::unix::fs::symlink("/", etcd.join("root")).expect("a link");
        let command =
            format!("etcd\0--advertise-client-urls=http://10.0.0.1:2379\0--data-dir={}\0", data.display());
        let dev = fs::metadata(data).expect("there").dev();
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        let net = "Inter-|   Receive                                                |  Transmit\n \
                   face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
                   lo: 999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0\n  eth0: 1000 10 1 2 0 0 0 0 2000 20 0 4 0 0 0 0\n  \
                   eth1: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        for (path, text) in [
            ("7/cmdline", command.as_str()),
            ("7/environ", ""),
            ("7/stat", &format!("7 (etcd) S 1 {}", "0 ".repeat(17) + "4711 0 0")),
            ("7/net/dev", net),
            ("meminfo", &meminfo()),
            ("loadavg", "1.25 0.50 0.25 2/300 99\n"),
            (
                "stat",
                "cpu  100 20 30 4000 50 6 4 10 0 0\ncpu0 50 10 15 2000 25 3 2 5 0 0\ncpu1 50 10 15 2000 25 3 2 5 0 0\nctxt 1\nbtime 1\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n",
            ),
            ("diskstats", &format!("{major} {minor} vdx 10 0 200 5 30 0 400 50 2 1500 4500\n")),
        ] {
            fs::write(proc.join(path), text).expect("written");
        }
        Machine { proc: proc.to_owned(), ..Machine::default() }
    }

    /// All fields that the reader demands, as this kernel names them, with round figures where it matters.
    fn meminfo() -> String {
        let own = fs::read_to_string("/proc/meminfo").expect("Linux");
        let lines = own.lines().map(|line| match line.split(':').next() {
            Some("MemTotal") => "MemTotal: 1000 kB".to_owned(),
            Some("MemAvailable") => "MemAvailable: 250 kB".to_owned(),
            _ => line.to_owned(),
        });
        lines.map(|line| line + "\n").collect()
    }

    #[test]
    fn the_figures_are_those_of_the_machine_and_of_the_disk_under_the_data() {
        let (proc, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let machine = machine(proc.path(), data.path());
        assert_eq!(machine.read(&"10.0.0.2:2379".parse().expect("an instance")), [], "it runs elsewhere");
        let figures = machine.read(&"10.0.0.1:2379".parse().expect("an instance"));
        let of = |name: &str, label: (&str, &str)| {
            let name = format!("etcd_monitor_host_{name}");
            let fits = |(labels, _): &&Sample| {
                labels.metric_name() == name && (label.0.is_empty() || labels.get(label.0) == Some(label.1))
            };
            figures.iter().find(fits).map(|(_, value)| *value)
        };
        let ticks = procfs::ticks_per_second() as f64;
        let disk = ("device", "vdx");
        for (name, label, value) in [
            ("memory_size_bytes", ("", ""), 1_024_000.0),
            ("memory_available_bytes", ("", ""), 256_000.0),
            ("load1", ("", ""), 1.25),
            ("cpus", ("", ""), 2.0),
            ("cpu_seconds_total", ("mode", "busy"), 160.0 / ticks),
            ("cpu_seconds_total", ("mode", "iowait"), 50.0 / ticks),
            ("cpu_seconds_total", ("mode", "steal"), 10.0 / ticks),
            ("network_bytes_total", ("way", "received"), 1_001.0),
            ("network_bytes_total", ("way", "sent"), 2_002.0),
            ("network_errors_total", ("way", "received"), 3.0),
            ("disk_reads_total", disk, 10.0),
            ("disk_writes_total", disk, 30.0),
            ("disk_read_bytes_total", disk, 102_400.0),
            ("disk_written_bytes_total", disk, 204_800.0),
            ("disk_busy_seconds_total", disk, 1.5),
            ("disk_waiting_seconds_total", disk, 4.5),
        ] {
            let found = of(name, label).unwrap_or_else(|| panic!("{name} {label:?} is missing"));
            assert!((found - value).abs() < 1e-6, "{name} {label:?}: {found}, not {value}");
        }
        let size = of("disk_size_bytes", ("directory", "data")).expect("a file system");
        assert!(of("disk_avail_bytes", ("directory", "data")).is_some_and(|free| free <= size));
    }
}
