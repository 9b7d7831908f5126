//! The etcd processes of this machine with the settings they run with: flags, `ETCD_…` variables, a configuration
//! file. etcd tells most of them to nobody else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_saphyr as yaml;

use super::flags::EtcdFlags;
use crate::model::Instance;

/// A token that joins a cluster is nobody's business, nor is what images pass on beside etcd's own flags, such as
/// `ETCD_ROOT_PASSWORD`.
const SECRET: &[&str] = &["initial-cluster-token", "password", "secret", "credential"];

/// One running etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdProcess {
    pub pid: u32,
    /// When it started, clock ticks since the machine did: a pid may come again, both together do not.
    pub started_ticks: u64,
    /// What it is set to, by the flag's name; what is not set is not there.
    pub settings: BTreeMap<String, String>,
}

impl EtcdProcess {
    /// What is known of one that is not seen but by its flags: no pid and no start.
    pub(super) fn of_flags(flags: &EtcdFlags) -> Self {
        let mut settings: BTreeMap<String, String> = flags.all().collect();
        hide_secrets(&mut settings);
        Self { pid: 0, started_ticks: 0, settings }
    }

    /// The `host:port` pairs that clients reach it at.
    pub fn instances(&self) -> Vec<Instance> {
        let urls = ["advertise-client-urls", "listen-client-urls"].map(|flag| self.settings.get(flag));
        let urls = urls.into_iter().flatten().flat_map(|urls| urls.split(','));
        urls.filter_map(|url| Instance::of_endpoint(url.trim()).ok()).collect()
    }

    /// Where it keeps its data and, if elsewhere, its write-ahead log: what each is for, and where it is seen through
    /// `proc`, because a container has another root.
    pub fn folders(&self, proc: &Path) -> Vec<(&'static str, PathBuf)> {
        let home = proc.join(self.pid.to_string());
        let seen = |named: &str| match Path::new(named).strip_prefix("/") {
            Ok(inside) => home.join("root").join(inside),
            Err(_) => home.join("cwd").join(named),
        };
        let set = |flag: &str| self.settings.get(flag).filter(|value| !value.is_empty());
        let data = set("data-dir").cloned().unwrap_or_else(|| {
            // etcd's own default.
            format!("{}.etcd", set("name").map_or("default", String::as_str))
        });
        let wal = set("wal-dir").map(|wal| ("wal", seen(wal)));
        std::iter::once(("data", seen(&data))).chain(wal).collect()
    }
}

/// Every process below `proc` (`/proc`) whose program is called etcd and whose command line can be read.
/// Variables and files that cannot be read, for want of a right, are left out.
pub fn etcd_processes(proc: &Path) -> Vec<EtcdProcess> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<EtcdProcess> = pids.filter_map(|pid| read(&proc.join(pid.to_string()), pid)).collect();
    found.sort_by_key(|process| process.pid);
    found
}

fn read(folder: &Path, pid: u32) -> Option<EtcdProcess> {
    let command = std::fs::read(folder.join("cmdline")).ok()?;
    let words: Vec<String> = words(&command);
    let program = Path::new(words.first()?);
    if program.file_name().is_none_or(|name| name != "etcd") {
        return None;
    }
    let environment = words_of(&folder.join("environ"));
    let mut settings = of_environment(environment.iter().map(String::as_str));
    let flags = EtcdFlags::of(words.iter().skip(1).map(String::as_str));
    // As etcd does it: flags go before variables, and a file goes before both and alone.
    settings.extend(flags.all());
    if let Some(file) = settings.get("config-file").map(PathBuf::from) {
        // The path is the process's own: a container sees another root than we do.
        let inside = file.strip_prefix("/").map(|file| folder.join("root").join(file));
        let text = inside.ok().and_then(|path| std::fs::read_to_string(path).ok());
        let of_file = text.and_then(|text| of_file(&text));
        settings.extend(of_file.into_iter().flatten());
    }
    hide_secrets(&mut settings);
    Some(EtcdProcess { pid, started_ticks: started_ticks(folder)?, settings })
}

fn hide_secrets(settings: &mut BTreeMap<String, String>) {
    let hidden = settings.iter_mut().filter(|(key, _)| SECRET.iter().any(|secret| key.contains(secret)));
    hidden.for_each(|(_, value)| "(not shown)".clone_into(value));
}

fn words_of(path: &Path) -> Vec<String> {
    std::fs::read(path).map(|bytes| words(&bytes)).unwrap_or_default()
}

/// What is between the zero bytes.
fn words(bytes: &[u8]) -> Vec<String> {
    let all = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    all.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// `ETCD_QUOTA_BACKEND_BYTES=1` is `--quota-backend-bytes=1`.
fn of_environment<'a>(variables: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let setting = |variable: &str| {
        let (name, value) = variable.strip_prefix("ETCD_")?.split_once('=')?;
        Some((name.to_ascii_lowercase().replace('_', "-"), value.to_owned()))
    };
    variables.filter_map(setting).collect()
}

/// The keys of etcd's configuration file; what is nested is named by its path.
fn of_file(text: &str) -> Option<BTreeMap<String, String>> {
    let value: serde_json::Value = yaml::from_str(text).ok()?;
    let mut settings = BTreeMap::new();
    let mut open: Vec<(String, serde_json::Value)> = vec![(String::new(), value)];
    while let Some((path, value)) = open.pop() {
        match value {
            serde_json::Value::Object(fields) => open.extend(
                fields
                    .into_iter()
                    .map(|(key, value)| (if path.is_empty() { key } else { format!("{path}.{key}") }, value)),
            ),
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => drop(settings.insert(path, text)),
            other => drop(settings.insert(path, other.to_string())),
        }
    }
    Some(settings)
}

/// Field 22 of `stat`; the second field is the program's name in parentheses and may hold anything.
fn started_ticks(folder: &Path) -> Option<u64> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as the kernel shows a process.
    fn process(proc: &Path, pid: u32, command: &[&str], environment: &[&str]) {
        let folder = proc.join(pid.to_string());
        std::fs::create_dir_all(folder.join("root/etc")).expect("a folder");
        let zero = |words: &[&str]| words.iter().map(|word| format!("{word}\0")).collect::<String>();
        std::fs::write(folder.join("cmdline"), zero(command)).expect("written");
        std::fs::write(folder.join("environ"), zero(environment)).expect("written");
        let stat = format!("{pid} (a b) c) S 1 {}", "0 ".repeat(17) + "4711 0 0");
        std::fs::write(folder.join("stat"), stat).expect("written");
    }

    #[test]
    fn settings_come_from_flags_variables_and_files() {
        let proc = tempfile::tempdir().expect("a folder");
        let flags = ["/usr/bin/etcd", "--name=m1", "--quota-backend-bytes", "1", "--initial-cluster-token=t"];
        process(
            proc.path(),
            7,
            &flags,
            &["ETCD_NAME=no", "ETCD_HEARTBEAT_INTERVAL=250", "ETCD_ROOT_PASSWORD=p", "HOME=/root"],
        );
        process(proc.path(), 8, &["etcd", "--config-file=/etc/etcd.yaml"], &[]);
        let file = "name: m2\nquota-backend-bytes: 5\nclient-transport-security: {client-cert-auth: true}\nwal-dir:\n";
        std::fs::write(proc.path().join("8/root/etc/etcd.yaml"), file).expect("written");
        process(proc.path(), 9, &["/bin/etcdctl", "--name=x"], &[]);
        std::fs::create_dir(proc.path().join("self")).expect("a folder");
        let found = etcd_processes(proc.path());
        let settings = |at: usize| {
            found[at].settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            found.iter().map(|p| (p.pid, p.started_ticks)).collect::<Vec<_>>(),
            [(7, 4711), (8, 4711)]
        );
        let wanted = [
            "heartbeat-interval=250",
            "initial-cluster-token=(not shown)",
            "name=m1",
            "quota-backend-bytes=1",
            "root-password=(not shown)",
        ];
        assert_eq!(settings(0), wanted);
        let wanted = [
            "client-transport-security.client-cert-auth=true",
            "config-file=/etc/etcd.yaml",
            "name=m2",
            "quota-backend-bytes=5",
        ];
        assert_eq!(settings(1), wanted);
    }

    #[test]
    fn a_process_is_known_by_the_addresses_that_clients_use() {
        let settings = [
            ("advertise-client-urls", "https://10.0.0.1:2379"),
            ("listen-client-urls", "https://127.0.0.1:2379, https://10.0.0.1:2379"),
        ];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let process = EtcdProcess { pid: 1, started_ticks: 1, settings };
        let found: Vec<String> = process.instances().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:2379", "127.0.0.1:2379", "10.0.0.1:2379"]);
    }
}
