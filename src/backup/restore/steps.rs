//! What to do, member by member: text, and nothing else.

use std::path::Path;

use super::Target;
use crate::backup::{Manifest, MemberAddress};

/// All steps of a restore of a whole cluster from a backup. `data_dir` is where the members keep their data now; the new
/// folders are made beside it.
pub fn plan(manifest: &Manifest, from: &str, data_dir: &Path, target: &Target) -> Vec<String> {
    let id = &manifest.id;
    let mut lines = vec![
        format!("Restore of {} ({}), backup {id} at {from}", manifest.cluster, manifest.cluster_id),
        String::new(),
        "All members are restored from the same backup; they make a new cluster. What was written after the backup is lost."
            .to_owned(),
        String::new(),
        "1. Stop everything that writes, then etcd on every member (Kubernetes: move the API server's and etcd's static"
            .to_owned(),
        "   pod files out of /etc/kubernetes/manifests). The commands below take a host that has this configuration and, where"
            .to_owned(),
        "   backups are encrypted, a key to read them; otherwise copy the folders that they make.".to_owned(),
    ];
    let members: Vec<&MemberAddress> = manifest.members.iter().filter(|member| !member.is_learner).collect();
    if members.is_empty() {
        lines.push(
            "2. The manifest does not say who the members were. On each, with its own name and URLs:"
                .to_owned(),
        );
        lines.extend(command(id.as_str(), from, &beside(data_dir), target).map(|line| format!("   {line}")));
    }
    let cluster = initial_cluster(&members);
    for (at, member) in members.iter().enumerate() {
        let of_it = Target {
            name: target.name.clone().or_else(|| Some(member.name.clone())),
            initial_cluster: target.initial_cluster.clone().or_else(|| Some(cluster.clone())),
            initial_cluster_token: target
                .initial_cluster_token
                .clone()
                .or_else(|| Some(format!("restored-{id}"))),
            initial_advertise_peer_urls: Some(member.peer_urls.join(",")),
            ..target.clone()
        };
        lines.push(format!("{}. On {} ({}):", at + 2, member.name, member.peer_urls.join(", ")));
        lines.extend(command(id.as_str(), from, &beside(data_dir), &of_it).map(|line| format!("   {line}")));
    }
    lines.push(format!(
        "{}. On each, put the new folder in the old one's place, and keep that:",
        members.len().max(1) + 2
    ));
    let (old, new) = (data_dir.display().to_string(), beside(data_dir).display().to_string());
    let kept = format!("{old}.before-restore");
    lines.push(format!("   mv {} {}", quoted(&old), quoted(&kept)));
    lines.push(format!("   chown -R --reference={} {}", quoted(&kept), quoted(&new)));
    lines.push(format!("   mv {} {}", quoted(&new), quoted(&old)));
    lines.extend(after(manifest, members.len().max(1) + 3));
    lines
}

/// What follows once one member's folder is made.
pub fn next_steps(manifest: &Manifest, target: &Target) -> Vec<String> {
    let mut lines = vec![format!("{} is ready. Next:", target.data_dir.display())];
    let me = target.name.as_deref().unwrap_or("default");
    let others: Vec<&str> = manifest
        .members
        .iter()
        .filter(|member| !member.is_learner && member.name != me)
        .map(|member| member.name.as_str())
        .collect();
    if target.initial_cluster.as_ref().is_some_and(|cluster| cluster.contains(',')) {
        lines.push(format!(
            "1. Restore the other members from the same backup: {} (`etcd-monitor backup restore {} --plan` says how).",
            if others.is_empty() { "each with its own name".to_owned() } else { others.join(", ") },
            manifest.id
        ));
    } else {
        lines.push(
            "1. This is a cluster of one member; add others with `etcdctl member add` once it runs."
                .to_owned(),
        );
    }
    let wal = target
        .wal_dir
        .as_ref()
        .map_or_else(String::new, |wal| format!(" --wal-dir {}", quoted(&wal.display().to_string())));
    let peers = target.initial_advertise_peer_urls.as_deref().unwrap_or("http://localhost:2380");
    lines.push("2. Give the folder to the user that runs etcd, and start etcd on it; the rest of its flags stay as they were:".to_owned());
    lines.push(format!(
        "   etcd --name {} --data-dir {}{wal} --initial-advertise-peer-urls {} --listen-peer-urls {} …",
        quoted(me),
        quoted(&target.data_dir.display().to_string()),
        quoted(peers),
        quoted(peers)
    ));
    lines.extend(after(manifest, 3));
    lines
}

fn after(manifest: &Manifest, first: usize) -> Vec<String> {
    let mut lines = vec![
        format!("{first}. Start etcd on all members, then compare them: etcdctl endpoint status --cluster -w table"),
        format!("{}. Start what writes again. Kubernetes: restart API servers, controllers and kubelets, so that nothing goes on", first + 1),
        "   with what it remembers of revisions that are gone (or restore with --bump-revision 1000000000 --mark-compacted).".to_owned(),
    ];
    if let Some(said) = manifest.hashes.first() {
        lines.push(format!(
            "Proof: at revision {} the old members' HashKV was {}. `etcd-monitor inspect --hash` compares the new ones.",
            said.revision, said.hash
        ));
    }
    lines
}

fn initial_cluster(members: &[&MemberAddress]) -> String {
    let urls = members
        .iter()
        .flat_map(|member| member.peer_urls.iter().map(move |url| format!("{}={url}", member.name)));
    urls.collect::<Vec<_>>().join(",")
}

fn beside(data_dir: &Path) -> std::path::PathBuf {
    let mut name = data_dir.as_os_str().to_owned();
    name.push(".restored");
    name.into()
}

fn command<'a>(
    id: &'a str,
    from: &'a str,
    data_dir: &Path,
    target: &Target,
) -> impl Iterator<Item = String> + 'a {
    let target = Target { data_dir: data_dir.to_owned(), ..target.clone() };
    let mut lines = vec![format!("etcd-monitor backup restore {id} --from {} \\", quoted(from))];
    let arguments: Vec<String> =
        target.arguments().iter().map(|argument| quoted(&argument.to_string_lossy())).collect();
    let mut options: Vec<String> = Vec::new();
    for argument in arguments {
        match options.last_mut() {
            Some(last) if !argument.starts_with("--") => *last = format!("{last} {argument}"),
            _ => options.push(argument),
        }
    }
    let last = options.len().saturating_sub(1);
    lines.extend(options.into_iter().enumerate().map(|(at, option)| {
        let end = if at == last { "" } else { " \\" };
        format!("  {option}{end}")
    }));
    lines.into_iter()
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
