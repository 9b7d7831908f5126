//! What the control group of a process grants and takes: `/proc/<pid>/cgroup` and `/sys/fs/cgroup`, version 2 of them; of
//! version 1 the limit of memory and the share of the processors.

use std::path::{Path, PathBuf};

use super::host::{Machine, line};
use crate::model::unit::human_bytes;
use crate::model::{Check, Level};

const KERNEL: &str = "the kernel's documentation of control groups";

/// What systemd and the kernel give to whom nothing was said of.
const USUAL_WEIGHT: u64 = 100;
const USUAL_SHARES: u64 = 1_024;
/// Version 1 says this and more where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// A group that is stopped in more of its periods than this waits for its limit.
const THROTTLED_MAX: f64 = 0.01;

/// Whether anything is set for the group of `pid`, and whether its CPU limit stops it. Both are unknown where the group
/// cannot be read.
pub fn control_group(machine: &Machine, pid: u32) -> Vec<Check> {
    let groups = groups(machine, pid);
    let granted: Vec<String> = groups.iter().flat_map(|folder| granted(folder)).collect();
    let (level, found) = match granted.as_slice() {
        _ if groups.is_empty() => (Level::Unknown, "the control group of etcd cannot be read".to_owned()),
        [] => {
            (Level::Warning, "etcd's control group has no limit, no reserve and the usual share".to_owned())
        }
        granted => (Level::Pass, format!("etcd's control group has {}", granted.join(", "))),
    };
    let advice = "systemctl set-property etcd.service CPUWeight=500 MemoryLow=2G";
    let rule = "a share of the processors, or a reserve or limit of memory";
    let mut checks = vec![Check::new("resource-limits", level, found, rule, KERNEL, advice)];
    checks.extend(groups.iter().find_map(|folder| throttled(folder)));
    checks
}

/// The folders of the process' group: one in version 2, one per controller in version 1. The root is nobody's own.
fn groups(machine: &Machine, pid: u32) -> Vec<PathBuf> {
    let path = machine.proc.join(pid.to_string()).join("cgroup");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let root = machine.sys.join("fs/cgroup");
    let folder = |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let inside = path.trim_start_matches('/');
        let folder = match controllers {
            "" => root.join(inside),
            controllers if controllers.split(',').any(|one| matches!(one, "memory" | "cpu")) => {
                root.join(controllers).join(inside)
            }
            _ => return None,
        };
        folder.is_dir().then_some(folder)
    };
    text.lines().filter_map(folder).collect()
}

fn number(folder: &Path, name: &str) -> Option<u64> {
    line(&folder.join(name))?.parse().ok()
}

fn granted(folder: &Path) -> Vec<String> {
    let bytes = |name: &str, what: &str| {
        let value = number(folder, name).filter(|value| (1..NO_LIMIT).contains(value))?;
        Some(format!("{what} of {}", human_bytes(value as f64)))
    };
    let weight = |name: &str, usual: u64| {
        let value = number(folder, name).filter(|value| *value != usual)?;
        Some(format!("{name} {value}"))
    };
    let quota = line(&folder.join("cpu.max")).filter(|text| !text.starts_with("max"));
    [
        bytes("memory.max", "a limit"),
        bytes("memory.limit_in_bytes", "a limit"),
        bytes("memory.min", "a reserve"),
        bytes("memory.low", "a reserve"),
        weight("cpu.weight", USUAL_WEIGHT),
        weight("cpu.shares", USUAL_SHARES),
        quota.map(|quota| format!("cpu.max {quota}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How many of the periods the limit stopped the group in, since it is there.
fn throttled(folder: &Path) -> Option<Check> {
    let text = std::fs::read_to_string(folder.join("cpu.stat")).ok()?;
    let value = |name: &str| -> Option<f64> {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let (periods, stopped) = (value("nr_periods ")?, value("nr_throttled ")?);
    let share = if periods > 0.0 { stopped / periods } else { 0.0 };
    let level = if share > THROTTLED_MAX { Level::Warning } else { Level::Pass };
    let found = match periods {
        0.0 => "etcd's control group has no CPU limit".to_owned(),
        _ => format!("the CPU limit stopped etcd in {:.1} % of its periods", share * 100.0),
    };
    let advice = "systemctl set-property etcd.service CPUQuota=: a share instead of a limit";
    Some(Check::new("cpu-throttled", level, found, "in 1 % of its periods at most", KERNEL, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Vec<(String, Level)> {
        let tree = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        let machine = Machine { proc: tree.path().join("proc"), sys: tree.path().join("sys"), cpus: 2 };
        control_group(&machine, 7).into_iter().map(|check| (check.id, check.level)).collect()
    }

    #[test]
    fn what_is_granted_is_seen_in_both_versions() {
        let group = ("proc/7/cgroup", "0::/system.slice/etcd.service\n");
        let at = |name: &str| format!("sys/fs/cgroup/system.slice/etcd.service/{name}");
        let (max, weight, low, stat) = (at("memory.max"), at("cpu.weight"), at("memory.low"), at("cpu.stat"));
        let limits = |level| ("resource-limits".to_owned(), level);
        let cpu = |level| ("cpu-throttled".to_owned(), level);
        assert_eq!(of(&[]), [limits(Level::Unknown)]);
        assert_eq!(
            of(&[group, (&max, "max\n"), (&weight, "100\n"), (&low, "0\n")]),
            [limits(Level::Warning)]
        );
        for (name, text) in [(&max, "2147483648\n"), (&weight, "500\n"), (&low, "1048576\n")] {
            assert_eq!(of(&[group, (name, text)]), [limits(Level::Pass)], "{name}");
        }
        let busy = "usage_usec 1\nnr_periods 1000\nnr_throttled 200\n";
        assert_eq!(of(&[group, (&stat, busy)]), [limits(Level::Warning), cpu(Level::Warning)]);
        let free = "usage_usec 1\nnr_periods 0\nnr_throttled 0\n";
        assert_eq!(of(&[group, (&stat, free)]), [limits(Level::Warning), cpu(Level::Pass)]);
        let old = ("proc/7/cgroup", "5:memory:/etcd\n4:cpu,cpuacct:/etcd\n1:name=systemd:/etcd\n");
        let (limit, shares) =
            ("sys/fs/cgroup/memory/etcd/memory.limit_in_bytes", "sys/fs/cgroup/cpu,cpuacct/etcd/cpu.shares");
        let none = "9223372036854771712\n";
        assert_eq!(of(&[old, (limit, none), (shares, "1024\n")]), [limits(Level::Warning)]);
        assert_eq!(of(&[old, (limit, "4294967296\n"), (shares, "1024\n")]), [limits(Level::Pass)]);
    }
}
