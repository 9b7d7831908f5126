//! Processors, memory, limits and kernel settings, by what `/proc` and `/sys` say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use procfs::process::{LimitValue, Limits};
use procfs::{FromRead as _, Meminfo};

use crate::model::unit::human_bytes;
use crate::model::{Check, Level};

const HARDWARE: &str = "etcd's hardware recommendations";
const GIB: u64 = 1 << 30;

/// Where the kernel speaks, and the processors that this process may use; tests ask elsewhere.
#[derive(Debug, Clone)]
pub struct Machine {
    pub proc: PathBuf,
    pub sys: PathBuf,
    pub cpus: usize,
}

impl Default for Machine {
    fn default() -> Self {
        // With what a container is limited to.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self { proc: "/proc".into(), sys: "/sys".into(), cpus }
    }
}

/// What a machine is, for an etcd whose data shall be in `directory`.
pub fn host(machine: &Machine, directory: &Path) -> Vec<Check> {
    let mut checks = kernel(machine);
    checks.extend([open_files(machine), folder(directory)]);
    checks
}

/// What a machine is, whoever runs on it.
pub fn kernel(machine: &Machine) -> Vec<Check> {
    vec![
        processors(machine),
        governor(machine),
        memory(machine),
        swap(machine),
        huge_pages(machine),
        backlog(machine),
    ]
}

pub(super) fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn processors(machine: &Machine) -> Check {
    let level = if machine.cpus >= 2 { Level::Pass } else { Level::Warning };
    let found = format!("{} processor(s) may be used", machine.cpus);
    let advice = "Give it two processors or more: with one, compaction and snapshots hold up heartbeats";
    Check::new("processors", level, found, "2 at least, 8 or more for much load", HARDWARE, advice)
}

fn governor(machine: &Machine) -> Check {
    let policies =
        fs::read_dir(machine.sys.join("devices/system/cpu/cpufreq")).into_iter().flatten().flatten();
    let mut governors: Vec<String> =
        policies.filter_map(|policy| line(&policy.path().join("scaling_governor"))).collect();
    governors.sort();
    governors.dedup();
    let (level, found) = match governors.as_slice() {
        // Virtual machines, and firmware that decides alone: there is nothing to set.
        [] => (Level::Pass, "the kernel is offered no frequency scaling here".to_owned()),
        [one] if one == "performance" => {
            (Level::Pass, "the CPU frequency governor is performance".to_owned())
        }
        several => (Level::Warning, format!("the CPU frequency governor is {}", several.join(", "))),
    };
    let advice = "cpupower frequency-set -g performance, and a unit that does it at boot: a processor that sleeps answers late";
    Check::new("cpu-governor", level, found, "performance", "the kernel's documentation of cpufreq", advice)
}

fn memory(machine: &Machine) -> Check {
    let info = fs::File::open(machine.proc.join("meminfo")).ok();
    let info = info.and_then(|file| Meminfo::from_read(file).ok());
    let limit = line(&machine.sys.join("fs/cgroup/memory.max")).and_then(|text| text.parse::<u64>().ok());
    let total = info.map(|info| info.mem_total).map(|total| limit.map_or(total, |limit| limit.min(total)));
    let (level, found) = match total {
        None => (Level::Unknown, "the kernel does not say how much memory there is".to_owned()),
        Some(total) => {
            let level = match total {
                // A machine sold with 8 GB has some less.
                total if total >= 7 * GIB => Level::Pass,
                total if total >= 2 * GIB => Level::Warning,
                _ => Level::Critical,
            };
            (level, format!("{} of memory may be used", human_bytes(total as f64)))
        }
    };
    let advice =
        "More memory: etcd keeps its keys' index and, through the page cache, its whole database there";
    Check::new("memory", level, found, "8 GB; below 2 GiB a default quota does not fit", HARDWARE, advice)
}

fn swap(machine: &Machine) -> Check {
    let swaps = fs::read_to_string(machine.proc.join("swaps")).unwrap_or_default();
    let count = swaps.lines().skip(1).filter(|line| !line.trim().is_empty()).count();
    let swappiness = line(&machine.proc.join("sys/vm/swappiness")).and_then(|text| text.parse::<u32>().ok());
    let (level, found) = match (count, swappiness) {
        (0, _) => (Level::Pass, "no swap is on".to_owned()),
        (_, Some(value)) if value <= 10 => (Level::Pass, format!("swap is on, vm.swappiness is {value}")),
        (_, value) => {
            let value = value.map_or("unknown".to_owned(), |value| value.to_string());
            (Level::Warning, format!("swap is on, vm.swappiness is {value}"))
        }
    };
    let advice =
        "swapoff -a, or sysctl vm.swappiness=1: a member that waits for swapped memory misses heartbeats";
    Check::new(
        "swap",
        level,
        found,
        "off, or vm.swappiness 10 at most",
        "Kubernetes' requirements of a node",
        advice,
    )
}

fn huge_pages(machine: &Machine) -> Check {
    let text = line(&machine.sys.join("kernel/mm/transparent_hugepage/enabled"));
    let used = text
        .as_deref()
        .and_then(|text| text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')));
    let (level, found) = match used {
        None => (Level::Pass, "transparent huge pages are not there".to_owned()),
        Some("always") => (Level::Warning, "transparent huge pages are always used".to_owned()),
        Some(other) => (Level::Pass, format!("transparent huge pages: {other}")),
    };
    let advice = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: with always, etcd's memory grows beyond what it uses";
    Check::new("huge-pages", level, found, "madvise or never", "the guide to Go's garbage collector", advice)
}

fn open_files(machine: &Machine) -> Check {
    let limits = fs::File::open(machine.proc.join("self/limits")).ok();
    let limits = limits.and_then(|file| Limits::from_read(file).ok());
    let (level, found) = match limits.map(|limits| limits.max_open_files.hard_limit) {
        None => (Level::Unknown, "the kernel does not say how many files may be open".to_owned()),
        Some(LimitValue::Unlimited) => (Level::Pass, "any number of files may be open".to_owned()),
        Some(LimitValue::Value(files)) => {
            let level = match files {
                files if files >= 40_000 => Level::Pass,
                files if files >= 4_096 => Level::Warning,
                _ => Level::Critical,
            };
            (level, format!("{files} files may be open, by the hard limit of this session"))
        }
    };
    let advice = "LimitNOFILE=65536 in etcd's unit: every client connection is an open file";
    Check::new("open-files", level, found, "40000 at least", "etcd's own systemd unit", advice)
}

fn backlog(machine: &Machine) -> Check {
    let value = line(&machine.proc.join("sys/net/core/somaxconn")).and_then(|text| text.parse::<u32>().ok());
    let (level, found) = match value {
        None => (Level::Unknown, "net.core.somaxconn is not known".to_owned()),
        Some(value) => (
            if value >= 1_024 { Level::Pass } else { Level::Warning },
            format!("net.core.somaxconn is {value}"),
        ),
    };
    let advice = "sysctl net.core.somaxconn=4096: when a member comes back all clients connect at once";
    Check::new(
        "listen-backlog",
        level,
        found,
        "1024 at least",
        "the kernel's own default since 5.4 is 4096",
        advice,
    )
}

fn folder(directory: &Path) -> Check {
    let rule = "empty, and for etcd's user alone (0700)";
    let mode = fs::metadata(directory).map(|meta| meta.permissions().mode() & 0o777);
    let (level, found, advice) = match mode {
        Err(error) => (Level::Critical, format!("{}: {error}", directory.display()), "Make it"),
        Ok(_) if directory.join("member").exists() => (
            Level::Warning,
            format!("{} holds the data of an etcd", directory.display()),
            "A new member refuses it, or goes on as the old one: move it away",
        ),
        Ok(mode) if mode & 0o077 != 0 => (
            Level::Warning,
            format!("{} is readable by others ({mode:04o})", directory.display()),
            "chmod 700: the database holds every secret of its clients",
        ),
        Ok(mode) => (Level::Pass, format!("{} is {mode:04o}", directory.display()), ""),
    };
    Check::new("data-folder", level, found, rule, "etcd's security guide", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(files: &[(&str, &str)]) -> Self {
            let tree = Self(tempfile::tempdir().expect("a folder"));
            for (path, text) in files {
                let path = tree.0.path().join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                fs::write(path, text).expect("written");
            }
            tree
        }

        fn checks(&self, cpus: usize) -> Vec<(String, Level)> {
            let machine = Machine { proc: self.0.path().join("proc"), sys: self.0.path().join("sys"), cpus };
            let data = self.0.path().join("data");
            host(&machine, &data).into_iter().map(|check| (check.id, check.level)).collect()
        }
    }

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n";

    fn limits(files: &str) -> String {
        let own = fs::read_to_string("/proc/self/limits").expect("Linux");
        let lines = own.lines().skip(1).map(|line| match line.starts_with("Max open files") {
            true => format!("Max open files            1024                 {files:<20} files     "),
            false => line.to_owned(),
        });
        LIMITS.to_owned() + &lines.map(|line| line + "\n").collect::<String>()
    }

    fn meminfo(kib: u64) -> String {
        let own = fs::read_to_string("/proc/meminfo").expect("Linux");
        let lines = own.lines().map(|line| match line.starts_with("MemTotal") {
            true => format!("MemTotal: {kib} kB"),
            false => line.to_owned(),
        });
        lines.map(|line| line + "\n").collect()
    }

    #[test]
    fn a_machine_that_is_fit_passes_all() {
        let tree = Tree::new(&[
            ("proc/meminfo", &meminfo(16 << 20)),
            ("proc/swaps", "Filename Type Size Used Priority\n"),
            ("proc/sys/vm/swappiness", "60\n"),
            ("proc/sys/net/core/somaxconn", "4096\n"),
            ("proc/self/limits", &limits("65536")),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "performance\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
            ("data/x", ""),
        ]);
        fs::set_permissions(tree.0.path().join("data"), fs::Permissions::from_mode(0o700)).expect("set");
        assert!(tree.checks(4).iter().all(|(_, level)| *level == Level::Pass), "{:?}", tree.checks(4));
    }

    #[test]
    fn each_setting_that_harms_is_found() {
        let tree = Tree::new(&[
            ("proc/meminfo", &meminfo(16 << 20)),
            ("proc/swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n"),
            ("proc/sys/vm/swappiness", "60\n"),
            ("proc/sys/net/core/somaxconn", "128\n"),
            ("proc/self/limits", &limits("1024")),
            ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "performance\n"),
            ("sys/devices/system/cpu/cpufreq/policy1/scaling_governor", "powersave\n"),
            ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("data/member/x", ""),
        ]);
        let wanted = [
            ("processors", Level::Warning),
            ("cpu-governor", Level::Warning),
            // The container's limit, not the machine's memory.
            ("memory", Level::Critical),
            ("swap", Level::Warning),
            ("huge-pages", Level::Warning),
            ("listen-backlog", Level::Warning),
            ("open-files", Level::Critical),
            ("data-folder", Level::Warning),
        ];
        assert_eq!(tree.checks(1), wanted.map(|(id, level)| (id.to_owned(), level)));
    }

    #[test]
    fn what_the_kernel_does_not_say_is_unknown_and_a_missing_folder_is_critical() {
        let found = Tree::new(&[]).checks(2);
        let of = |id: &str| found.iter().find(|(other, _)| other == id).map(|(_, level)| *level);
        assert_eq!((of("memory"), of("open-files")), (Some(Level::Unknown), Some(Level::Unknown)));
        assert_eq!(of("data-folder"), Some(Level::Critical));
    }
}
