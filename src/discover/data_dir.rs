//! The data folder of an etcd member that runs on this machine, to know whether something shares its disk.
//!
//! Owns: finding it in the process list and in the static pod manifest. On any doubt (another network
//! namespace, a folder that cannot be seen, no `--data-dir`) nothing is found: a wrong warning teaches people
//! to ignore the right one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::flags::EtcdFlags;
use super::kubeadm::manifest::EtcdContainer;
use crate::model::Instance;

/// Where to look; tests look elsewhere.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/proc`.
    pub processes: PathBuf,
    /// [`super::kubeadm::MANIFEST`].
    pub manifest: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { processes: "/proc".into(), manifest: super::kubeadm::MANIFEST.into() }
    }
}

/// The data folder of a local member of one of `endpoints`, as the member names it, if it lies on the same
/// file system as `folder` (or, where that does not exist yet, as the folder it will be made in).
pub fn sharing_disk(folder: &Path, endpoints: &[String], places: &Places) -> Option<PathBuf> {
    let device = folder.ancestors().find_map(|part| {
        let part = if part.as_os_str().is_empty() { Path::new(".") } else { part };
        fs::metadata(part).ok()
    });
    let device = device?.dev();
    let endpoints: Vec<Instance> = endpoints.iter().filter_map(|e| Instance::of_endpoint(e).ok()).collect();
    let found = of_processes(&endpoints, &places.processes).into_iter();
    let mut found = found.chain(of_manifest(&endpoints, &places.manifest));
    found
        .find(|(_, seen)| fs::metadata(seen).is_ok_and(|meta| meta.is_dir() && meta.dev() == device))
        .map(|(named, _)| named)
}

/// The folder as etcd names it, and where we see it.
type Named = (PathBuf, PathBuf);

fn of_processes(endpoints: &[Instance], processes: &Path) -> Vec<Named> {
    let Ok(own_network) = fs::read_link(processes.join("self/ns/net")) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(processes) else { return Vec::new() };
    let mut found = Vec::new();
    for process in entries.flatten().map(|entry| entry.path()) {
        let is_process =
            process.file_name().is_some_and(|n| n.as_encoded_bytes().iter().all(u8::is_ascii_digit));
        let Some(line) = is_process.then(|| fs::read(process.join("cmdline")).ok()).flatten() else {
            continue;
        };
        let Ok(line) = String::from_utf8(line) else { continue };
        let words: Vec<&str> = line.split_terminator('\0').collect();
        let flags = EtcdFlags::of(words.iter().copied());
        let is_etcd = words.first().is_some_and(|path| path.rsplit('/').next() == Some("etcd"));
        // The same address in another network is another address.
        let same_network = || fs::read_link(process.join("ns/net")).is_ok_and(|net| net == own_network);
        if !is_etcd || !serves(&flags, endpoints) || !same_network() {
            continue;
        }
        let Some(named) = flags.get("data-dir").map(PathBuf::from) else { continue };
        // Through the process, as its own file systems may be others than ours.
        let seen = match named.strip_prefix("/") {
            Ok(below) => process.join("root").join(below),
            Err(_) => process.join("cwd").join(&named),
        };
        found.push((named, seen));
    }
    found
}

fn of_manifest(endpoints: &[Instance], manifest: &Path) -> Option<Named> {
    let etcd = EtcdContainer::parse(&fs::read_to_string(manifest).ok()?).ok()?;
    let folder = PathBuf::from(etcd.flags().get("data-dir")?);
    let seen = etcd.on_host(&folder)?;
    serves(etcd.flags(), endpoints).then_some((folder, seen))
}

/// Whether the member of this command line is one of `endpoints`.
fn serves(flags: &EtcdFlags, endpoints: &[Instance]) -> bool {
    let urls = ["advertise-client-urls", "listen-client-urls"].into_iter().flat_map(|name| flags.urls(name));
    urls.filter_map(|url| Instance::of_endpoint(url).ok()).any(|own| endpoints.contains(&own))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine with one process of the given command line in the given network.
    fn machine(top: &Path, line: &[&str], network: &str) -> Places {
        let process = top.join("proc/77");
        for (of, net) in [(top.join("proc/self"), "net:[1]"), (process.clone(), network)] {
            fs::create_dir_all(of.join("ns")).expect("made");
            symlink(net, of.join("ns/net")).expect("linked");
        }
        symlink("/", process.join("root")).expect("linked");
        symlink(top, process.join("cwd")).expect("linked");
        fs::write(process.join("cmdline"), line.join("\0") + "\0").expect("written");
        fs::create_dir_all(top.join("member")).expect("made");
        Places { processes: top.join("proc"), manifest: top.join("etcd.yaml") }
    }

    #[test]
    fn a_shared_disk_is_told_only_without_doubt() {
        let url = "http://127.0.0.1:2379";
        let listen = format!("--listen-client-urls={url}");
        let cases: [(&str, &[&str], &str, &str, bool); 8] = [
            ("shared", &["/usr/bin/etcd", "--data-dir", "member", &listen], "net:[1]", url, true),
            ("one word", &["etcd", "--data-dir=member", &listen], "net:[1]", url, true),
            ("another network", &["etcd", "--data-dir=member", &listen], "net:[2]", url, false),
            ("another member", &["etcd", "--data-dir=member", &listen], "net:[1]", "http://h:2379", false),
            ("no folder named", &["etcd", &listen], "net:[1]", url, false),
            ("a folder that is gone", &["etcd", "--data-dir=gone", &listen], "net:[1]", url, false),
            ("no etcd", &["etcdctl", "--data-dir=member", &listen], "net:[1]", url, false),
            ("another disk", &["etcd", "--data-dir=/proc", &listen], "net:[1]", url, false),
        ];
        for (what, line, network, endpoint, told) in cases {
            let top = tempfile::tempdir().expect("temp folder");
            let places = machine(top.path(), line, network);
            let store = top.path().join("not/yet/made");
            let found = sharing_disk(&store, &[endpoint.to_owned()], &places);
            assert_eq!(found.is_some(), told, "{what}: {found:?}");
        }
    }

    #[test]
    fn a_manifest_names_the_folder_too() {
        let top = tempfile::tempdir().expect("temp folder");
        let folder = top.path().join("var");
        fs::create_dir(&folder).expect("made");
        let text = format!(
            "spec: {{containers: [{{name: etcd, command: [etcd, --data-dir=/inside, \
             --advertise-client-urls=https://10.1.2.3:2379], \
             volumeMounts: [{{name: data, mountPath: /inside}}]}}], \
             volumes: [{{name: data, hostPath: {{path: {}}}}}]}}",
            folder.display()
        );
        let places = Places { processes: top.path().join("none"), manifest: top.path().join("etcd.yaml") };
        fs::write(&places.manifest, text).expect("written");
        let of = |endpoint: &str| sharing_disk(top.path(), &[endpoint.to_owned()], &places);
        assert_eq!(of("https://10.1.2.3:2379"), Some(PathBuf::from("/inside")));
        assert_eq!(of("https://10.1.2.4:2379"), None);
    }
}
