//! What a directory lies on: its file system, the device, the disks below that, by what the kernel says in `/proc` and `/sys`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use procfs::FromRead as _;
use procfs::process::{MountInfo, MountInfos};

use super::DiskError;
use crate::model::{DiskDevice, DiskKind};

/// Where the kernel speaks; tests ask elsewhere.
#[derive(Debug, Clone)]
pub struct Machine {
    pub proc: PathBuf,
    pub sys: PathBuf,
}

impl Default for Machine {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// A device's number, major and minor.
type Number = (u32, u32);

/// File systems whose data are elsewhere: a write waits for a network.
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "glusterfs",
    "9p",
    "virtiofs",
    "lustre",
    "fuse.sshfs",
    "fuse.glusterfs",
];
/// File systems that lose their data with the machine's power.
const MEMORY: &[&str] = &["tmpfs", "ramfs", "devtmpfs"];
/// What disks of virtual machines and block stores of clouds call themselves.
const VIRTUAL: &[&str] = &[
    "QEMU",
    "VMware",
    "Virtual",
    "VBOX",
    "Msft",
    "PersistentDisk",
    "nvme_card",
    "Elastic Block Store",
    "Xen",
];

/// What `directory` lies on.
///
/// # Errors
/// When the directory cannot be read. What the kernel does not say is absent.
pub fn device_of(machine: &Machine, directory: &Path) -> Result<DiskDevice, DiskError> {
    let meta = fs::metadata(directory).map_err(DiskError::at(directory))?;
    if !meta.is_dir() {
        return Err(DiskError::NoDirectory(directory.to_owned()));
    }
    let number = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let mounts = mounts(machine);
    let whole = fs::canonicalize(directory).map_err(DiskError::at(directory))?;
    // The mount with the longest way in common, of several the last, which lies on top. A folder of a container is
    // mounted elsewhere here: then its device tells. On btrfs that number is in no list.
    let is_own = |mount: &MountInfo| mount.majmin == format!("{}:{}", number.0, number.1);
    let mount = mounts
        .iter()
        .filter(|mount| is_own(mount) || whole.starts_with(&mount.mount_point))
        .max_by_key(|mount| {
            (is_own(mount), whole.starts_with(&mount.mount_point), mount.mount_point.components().count())
        });
    let space = rustix::fs::statvfs(directory).map_err(|errno| DiskError::at(directory)(errno.into()))?;
    let mut device = DiskDevice {
        size_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        ..DiskDevice::default()
    };
    if let Some(mount) = mount {
        device.filesystem.clone_from(&mount.fs_type);
        device.mount_point = mount.mount_point.display().to_string();
        device.mount_options = options(mount);
    }
    let number = block_of(mount, number);
    let block = number.and_then(|number| block_folder(machine, number));
    if let Some(block) = &block {
        device.name = name_of(block);
        let mut leaves = Vec::new();
        descend(block, &mut leaves, &mut device.mappings, 0);
        if let Some(first) = leaves.first() {
            facts(first, &mut device);
        }
        device.disks = leaves.iter().map(|leaf| name_of(leaf)).collect();
        device.also_mounted = also_mounted(machine, &mounts, number, &device.disks);
    }
    device.kind = kind(&device);
    Ok(device)
}

/// The disks below a directory, by name; none where it has no device.
pub(super) fn disks_of(machine: &Machine, directory: &Path) -> BTreeSet<String> {
    device_of(machine, directory).map(|device| device.disks.into_iter().collect()).unwrap_or_default()
}

fn mounts(machine: &Machine) -> Vec<MountInfo> {
    let file = fs::File::open(machine.proc.join("self/mountinfo")).ok();
    file.and_then(|file| MountInfos::from_read(file).ok()).map(|mounts| mounts.0).unwrap_or_default()
}

/// `noatime`, `data=ordered`: of the mount and of the file system, each once.
fn options(mount: &MountInfo) -> Vec<String> {
    let said = |(name, value): (&String, &Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    let all: BTreeSet<String> = mount.mount_options.iter().chain(&mount.super_options).map(said).collect();
    all.into_iter().collect()
}

/// The number of the block device: btrfs and overlayfs give their directories numbers of no device.
fn block_of(mount: Option<&MountInfo>, number: Number) -> Option<Number> {
    if number.0 != 0 {
        return Some(number);
    }
    let source = mount?.mount_source.as_deref().filter(|source| source.starts_with("/dev/"))?;
    let rdev = fs::metadata(source).ok()?.rdev();
    Some((rustix::fs::major(rdev), rustix::fs::minor(rdev)))
}

/// A device's folder below `/sys/devices`.
fn block_folder(machine: &Machine, number: Number) -> Option<PathBuf> {
    fs::canonicalize(machine.sys.join(format!("dev/block/{}:{}", number.0, number.1))).ok()
}

fn name_of(block: &Path) -> String {
    block.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Goes from a partition to its disk, and through mappings (LVM, crypt, RAID) to what they are made of.
fn descend(block: &Path, leaves: &mut Vec<PathBuf>, mappings: &mut Vec<String>, depth: usize) {
    if block.join("partition").exists() {
        return block.parent().map_or((), |disk| descend(disk, leaves, mappings, depth + 1));
    }
    let below: Vec<PathBuf> = fs::read_dir(block.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::canonicalize(entry.path()).ok())
        .collect();
    // Eight storeys are more than anybody builds; a link that leads back is none.
    if below.is_empty() || depth > 8 {
        if !leaves.iter().any(|leaf| leaf == block) {
            leaves.push(block.to_owned());
        }
        return;
    }
    let of_mapper =
        line(&block.join("dm/uuid")).and_then(|uuid| Some(uuid.split_once('-')?.0.to_ascii_lowercase()));
    if let Some(mapping) = of_mapper.or_else(|| line(&block.join("md/level"))) {
        mappings.push(mapping);
    }
    for one in below {
        descend(&one, leaves, mappings, depth + 1);
    }
}

fn facts(disk: &Path, device: &mut DiskDevice) {
    device.is_rotational = line(&disk.join("queue/rotational")).map(|text| text == "1");
    // `none [mq-deadline] kyber`: the one in brackets is in use.
    device.scheduler = line(&disk.join("queue/scheduler")).map(|text| {
        let used = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
        used.unwrap_or(&text).to_owned()
    });
    device.write_cache = line(&disk.join("queue/write_cache"));
    let words = ["device/vendor", "device/model"].map(|file| line(&disk.join(file)));
    let words: Vec<String> = words.into_iter().flatten().filter(|word| !word.starts_with("0x")).collect();
    device.model = (!words.is_empty()).then(|| words.join(" "));
}

fn kind(device: &DiskDevice) -> DiskKind {
    let filesystem = device.filesystem.as_str();
    if MEMORY.contains(&filesystem) {
        return DiskKind::Memory;
    }
    if NETWORK.contains(&filesystem) {
        return DiskKind::Network;
    }
    let Some(disk) = device.disks.first() else { return DiskKind::Unknown };
    let model = device.model.as_deref().unwrap_or_default();
    let is_virtual = VIRTUAL.iter().any(|word| model.contains(word));
    if disk.starts_with("zram") || disk.starts_with("ram") {
        DiskKind::Memory
    } else if is_virtual || disk.starts_with("vd") || disk.starts_with("xvd") {
        DiskKind::Virtual
    } else if disk.starts_with("nbd") || disk.starts_with("rbd") || disk.starts_with("drbd") {
        DiskKind::Network
    } else if disk.starts_with("nvme") {
        DiskKind::Nvme
    } else {
        match device.is_rotational {
            Some(true) => DiskKind::Hdd,
            Some(false) => DiskKind::Ssd,
            None => DiskKind::Unknown,
        }
    }
}

/// Where other file systems on the same disks are mounted.
fn also_mounted(
    machine: &Machine,
    mounts: &[MountInfo],
    own: Option<Number>,
    disks: &[String],
) -> Vec<String> {
    let mut found = BTreeSet::new();
    for mount in mounts {
        let mut parts = mount.majmin.split(':').filter_map(|part| part.parse::<u32>().ok());
        let (Some(major), Some(minor)) = (parts.next(), parts.next()) else { continue };
        let Some(number) = block_of(Some(mount), (major, minor)).filter(|number| Some(*number) != own) else {
            continue;
        };
        let Some(block) = block_folder(machine, number) else { continue };
        let (mut leaves, mut mappings) = (Vec::new(), Vec::new());
        descend(&block, &mut leaves, &mut mappings, 0);
        if leaves.iter().any(|leaf| disks.contains(&name_of(leaf))) {
            found.insert(mount.mount_point.display().to_string());
        }
    }
    found.into_iter().collect()
}

/// The one line of a file of sysfs, without blanks around it.
pub(super) fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine where `directory` lies on the given device.
    struct Tree {
        folder: tempfile::TempDir,
        data: tempfile::TempDir,
    }

    impl Tree {
        fn new() -> Self {
            let tree = Self {
                folder: tempfile::tempdir().expect("a folder"),
                data: tempfile::tempdir().expect("a folder"),
            };
            fs::create_dir_all(tree.sys("dev/block")).expect("made");
            fs::create_dir_all(tree.folder.path().join("proc/self")).expect("made");
            tree
        }

        fn machine(&self) -> Machine {
            Machine { proc: self.folder.path().join("proc"), sys: self.folder.path().join("sys") }
        }

        fn sys(&self, path: &str) -> PathBuf {
            self.folder.path().join("sys").join(path)
        }

        /// A device with its number and files.
        fn device(&self, path: &str, number: &str, files: &[(&str, &str)]) -> &Self {
            let folder = self.sys("devices").join(path);
            fs::create_dir_all(&folder).expect("made");
            symlink(&folder, self.sys("dev/block").join(number)).expect("a link");
            for (file, text) in files {
                let file = folder.join(file);
                fs::create_dir_all(file.parent().expect("a folder")).expect("made");
                fs::write(file, format!("{text}\n")).expect("written");
            }
            self
        }

        /// What is mounted where the data are, with the number that the directory really has, and other lines.
        fn mounted(&self, kind: &str, options: &str, others: &str) -> &Self {
            let text = format!(
                "1 0 {} / {} rw,{options} - {kind} /dev/x rw,data=ordered\n{others}",
                self.number(),
                self.path().display()
            );
            fs::write(self.folder.path().join("proc/self/mountinfo"), text).expect("written");
            self
        }

        fn path(&self) -> PathBuf {
            fs::canonicalize(self.data.path()).expect("there")
        }

        fn number(&self) -> String {
            let dev = fs::metadata(self.data.path()).expect("there").dev();
            format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev))
        }

        fn read(&self) -> DiskDevice {
            device_of(&self.machine(), &self.path()).expect("read")
        }
    }

    #[test]
    fn a_partition_has_the_facts_of_its_disk_and_names_what_shares_it() {
        let tree = Tree::new();
        let files = [
            ("queue/rotational", "0"),
            ("queue/scheduler", "none [mq-deadline] kyber"),
            ("queue/write_cache", "write back"),
            ("device/model", "SAMSUNG MZQL2960HCJR-00A07"),
        ];
        tree.device("pci/nvme0n1", "259:0", &files)
            .device("pci/nvme0n1/nvme0n1p1", &tree.number(), &[("partition", "1")])
            .device("pci/nvme0n1/nvme0n1p2", "259:2", &[("partition", "2")])
            .mounted(
                "ext4",
                "noatime",
                "2 0 259:2 / /var/log rw - ext4 /dev/nvme0n1p2 rw\n3 0 0:5 / /proc rw - proc proc rw\n",
            );
        let device = tree.read();
        assert_eq!(
            (device.name.as_str(), device.disks.as_slice()),
            ("nvme0n1p1", ["nvme0n1".to_owned()].as_slice())
        );
        assert_eq!((device.kind, device.is_rotational), (DiskKind::Nvme, Some(false)));
        assert_eq!(device.scheduler.as_deref(), Some("mq-deadline"));
        assert_eq!(device.write_cache.as_deref(), Some("write back"));
        assert_eq!(
            (device.filesystem.as_str(), device.also_mounted.as_slice()),
            ("ext4", ["/var/log".to_owned()].as_slice())
        );
        assert!(device.mount_options.contains(&"noatime".to_owned()));
        assert!(device.mount_options.contains(&"data=ordered".to_owned()));
        assert!(device.size_bytes >= device.free_bytes && device.free_bytes > 0);
    }

    #[test]
    fn mappings_are_looked_through() {
        let tree = Tree::new();
        let crypt = [("dm/uuid", "CRYPT-LUKS2-abc"), ("dm/name", "data")];
        let raid = [("md/level", "raid1")];
        tree.device("virtual/dm-0", &tree.number(), &crypt)
            .device("virtual/md0", "9:0", &raid)
            .device("pci/sda", "8:0", &[("queue/rotational", "1"), ("device/model", "ST4000NM0035")])
            .device("pci/sdb", "8:16", &[("queue/rotational", "1")])
            .mounted("xfs", "relatime", "");
        for (of, below) in
            [("virtual/dm-0", "virtual/md0"), ("virtual/md0", "pci/sda"), ("virtual/md0", "pci/sdb")]
        {
            let slaves = tree.sys("devices").join(of).join("slaves");
            fs::create_dir_all(&slaves).expect("made");
            let below = tree.sys("devices").join(below);
            symlink(&below, slaves.join(below.file_name().expect("a name"))).expect("a link");
        }
        let device = tree.read();
        let mut disks = device.disks.clone();
        disks.sort();
        assert_eq!((device.name.as_str(), disks), ("dm-0", vec!["sda".to_owned(), "sdb".to_owned()]));
        assert_eq!(device.mappings, ["crypt", "raid1"]);
        assert_eq!(device.kind, DiskKind::Hdd);
    }

    #[test]
    fn what_a_disk_is_follows_from_its_name_its_model_and_the_file_system() {
        let of = |disk: &str, model: Option<&str>, rotational: Option<bool>, filesystem: &str| {
            kind(&DiskDevice {
                disks: vec![disk.to_owned()],
                model: model.map(str::to_owned),
                is_rotational: rotational,
                filesystem: filesystem.to_owned(),
                ..DiskDevice::default()
            })
        };
        assert_eq!(of("sda", Some("ATA Samsung SSD 870"), Some(false), "xfs"), DiskKind::Ssd);
        assert_eq!(of("sda", Some("VMware Virtual disk"), Some(true), "xfs"), DiskKind::Virtual);
        assert_eq!(of("nvme1n1", Some("Amazon Elastic Block Store"), Some(false), "xfs"), DiskKind::Virtual);
        assert_eq!(
            of("nvme1n1", Some("Amazon EC2 NVMe Instance Storage"), Some(false), "xfs"),
            DiskKind::Nvme
        );
        assert_eq!(of("vda", None, Some(true), "ext4"), DiskKind::Virtual);
        assert_eq!(of("rbd0", None, Some(false), "ext4"), DiskKind::Network);
        assert_eq!(of("", None, None, "nfs4"), DiskKind::Network);
        assert_eq!(of("", None, None, "tmpfs"), DiskKind::Memory);
    }

    #[test]
    fn this_machine_can_be_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let device = device_of(&Machine::default(), folder.path()).expect("read");
        assert!(!device.filesystem.is_empty() && !device.mount_point.is_empty(), "{device:?}");
        let error = device_of(&Machine::default(), Path::new("/proc/self/stat")).expect_err("a file");
        assert!(matches!(error, DiskError::NoDirectory(_)), "{error}");
    }
}
