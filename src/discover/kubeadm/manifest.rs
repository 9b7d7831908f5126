//! The parts of a pod manifest that say how its etcd runs: the flags, and where its files are on the host.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ManifestProblem;
use crate::discover::flags::EtcdFlags;

/// The container that runs etcd.
#[derive(Debug)]
pub(in crate::discover) struct EtcdContainer {
    flags: EtcdFlags,
    /// Folder or file in the container, and the same on the host where it is there; the deepest first, as it
    /// hides those above.
    mounts: Vec<(PathBuf, Option<PathBuf>)>,
}

#[derive(Deserialize)]
struct Pod {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    name: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    volume_mounts: Vec<VolumeMount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VolumeMount {
    name: String,
    mount_path: PathBuf,
    #[serde(default)]
    sub_path: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    #[serde(default)]
    host_path: Option<HostPath>,
}

#[derive(Deserialize)]
struct HostPath {
    path: PathBuf,
}

impl EtcdContainer {
    /// The container named `etcd`, else the first whose program is `etcd`.
    pub(in crate::discover) fn parse(text: &str) -> Result<Self, ManifestProblem> {
        let Spec { containers, volumes } =
            serde_saphyr::from_str::<Pod>(text).map_err(|e| ManifestProblem::NotAPod(one_line(&e)))?.spec;
        let container = containers
            .iter()
            .find(|container| container.name == "etcd")
            .or_else(|| containers.iter().find(|container| container.runs_etcd()))
            .ok_or(ManifestProblem::NoContainer)?;
        let mut mounts: Vec<_> =
            container.volume_mounts.iter().filter_map(|mount| mount.on_host(&volumes)).collect();
        mounts.sort_by_key(|(inside, _)| std::cmp::Reverse(inside.components().count()));
        Ok(Self { flags: EtcdFlags::of(container.words()), mounts })
    }

    pub(in crate::discover) fn flags(&self) -> &EtcdFlags {
        &self.flags
    }

    /// Where the container's `path` is on the host; `None` when no hostPath volume has it.
    pub(in crate::discover) fn on_host(&self, path: &Path) -> Option<PathBuf> {
        let (inside, outside) = self.mounts.iter().find(|(inside, _)| path.starts_with(inside))?;
        let rest = path.strip_prefix(inside).ok()?;
        // Joining an empty rest would append a slash to a file that is mounted by itself.
        let outside = outside.as_deref()?;
        Some(if rest.as_os_str().is_empty() { outside.to_owned() } else { outside.join(rest) })
    }
}

impl Container {
    fn words(&self) -> impl Iterator<Item = &str> {
        self.command.iter().chain(&self.args).map(String::as_str)
    }

    fn runs_etcd(&self) -> bool {
        self.words().next().is_some_and(|program| Path::new(program).ends_with("etcd"))
    }
}

impl VolumeMount {
    /// The folder in the container and on the host; the latter is `None` for a volume that is not the host's,
    /// such as an `emptyDir`, which still hides the mounts above it.
    fn on_host(&self, volumes: &[Volume]) -> Option<(PathBuf, Option<PathBuf>)> {
        let volume = volumes.iter().find(|volume| volume.name == self.name)?;
        let host = volume.host_path.as_ref().map(|host| match &self.sub_path {
            Some(sub) => host.path.join(sub),
            None => host.path.clone(),
        });
        Some((self.mount_path.clone(), host))
    }
}

/// The parser's message without its picture of the text, which is for a file's author.
fn one_line(error: &serde_saphyr::Error) -> String {
    let line = error.location().map_or(1, |place| place.line());
    format!("line {line}: {}", error.without_snippet())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn etcd(containers: &str, volumes: &str) -> EtcdContainer {
        let text = format!("spec: {{containers: [{containers}], volumes: [{volumes}]}}");
        EtcdContainer::parse(&text).expect("a pod")
    }

    #[test]
    fn flags_are_read_in_every_form_that_go_reads() {
        let command = "[etcd, --a=1, --b, '2', --c, --d=x=y, -e=5]";
        let etcd = etcd(&format!("{{name: etcd, command: {command}, args: [-f, '6', --a=9, --g=]}}"), "");
        for (name, value) in [
            ("a", Some("9")),
            ("b", Some("2")),
            ("c", Some("true")),
            ("d", Some("x=y")),
            ("e", Some("5")),
            ("f", Some("6")),
            ("g", None),
            ("h", None),
        ] {
            assert_eq!(etcd.flags().get(name), value, "--{name}");
        }
    }

    #[test]
    fn the_container_is_found_by_name_else_by_program() {
        for (containers, n) in [
            ("{name: log, command: [cat, --n=0]}, {name: etcd, command: [sh, --n=1]}", "1"),
            ("{name: log, command: [cat, --n=0]}, {name: db, command: [/usr/local/bin/etcd, --n=2]}", "2"),
            ("{name: db, args: [etcd, --n=3]}", "3"),
        ] {
            assert_eq!(etcd(containers, "").flags().get("n"), Some(n), "{containers}");
        }
        for text in ["spec: {containers: [{name: etcdctl, command: [etcdctl]}]}", "spec: {}"] {
            assert_eq!(EtcdContainer::parse(text).err(), Some(ManifestProblem::NoContainer), "{text}");
        }
    }

    #[test]
    fn a_path_is_mapped_through_the_deepest_mount() {
        let etcd = etcd(
            "{name: etcd, volumeMounts: [{name: all, mountPath: /pki}, {name: own, mountPath: /pki/etcd/}, \
             {name: file, mountPath: /ca.crt}, {name: part, mountPath: /part, subPath: x}, \
             {name: memory, mountPath: /pki/run}, {name: undeclared, mountPath: /undeclared}]}",
            "{name: all, hostPath: {path: /host/all}}, {name: own, hostPath: {path: /host/own}}, \
             {name: file, hostPath: {path: /host/file.crt}}, {name: part, hostPath: {path: /host/part}}, \
             {name: memory, emptyDir: {}}",
        );
        for (inside, outside) in [
            ("/pki/ca.crt", Some("/host/all/ca.crt")),
            ("/pki/etcd/ca.crt", Some("/host/own/ca.crt")),
            ("/pki/etcdx/ca.crt", Some("/host/all/etcdx/ca.crt")),
            ("/ca.crt", Some("/host/file.crt")),
            ("/part/ca.crt", Some("/host/part/x/ca.crt")),
            ("/pki/run/ca.crt", None),
            ("/undeclared/ca.crt", None),
            ("/other/ca.crt", None),
        ] {
            assert_eq!(etcd.on_host(Path::new(inside)).as_deref(), outside.map(Path::new), "{inside}");
        }
    }
}
