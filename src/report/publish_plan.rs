//! What to upload and in which order, from what the last publication left behind.
//!
//! Pure: the caller reads the old `site-manifest.json`, does the uploads and the deletions in the order
//! given, and stops at the first failure; a half-done publication then only has files that nothing links to.

use std::collections::BTreeMap;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::Site;
use super::refresh::{Due, Faces};

/// Where the manifest lies in the site.
pub const MANIFEST_PATH: &str = "site-manifest.json";

/// Hashed assets that no page refers to any more stay this long, so that open tabs keep working.
pub const ASSET_GRACE_MS: i64 = 24 * 3_600_000;

/// Live files are written by whoever has the newest data, beside the plan.
const LIVE_PREFIX: &str = "api/v1/live/";

/// What the last publication uploaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: String,
    pub files: BTreeMap<String, Entry>,
    /// Assets that went out of use, and when, ms since the epoch.
    pub retired: BTreeMap<String, i64>,
    /// What the pages said. Absent in the manifests of older versions, which makes every page due.
    #[serde(default)]
    pub faces: Option<Faces>,
}

/// One file of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// SHA-256, hexadecimal.
    pub hash: String,
    pub bytes: u64,
}

/// One upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub path: String,
    pub body: Vec<u8>,
    pub content_type: &'static str,
    pub cache_control: &'static str,
}

/// Uploads in order, then deletions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Assets, JSON, cluster pages, fleet pages; the manifest last. Empty when nothing changed.
    pub uploads: Vec<Upload>,
    pub deletes: Vec<String>,
    /// Files that are there already.
    pub unchanged: usize,
}

/// Text that is no manifest.
#[derive(Debug, thiserror::Error)]
#[error("site manifest is malformed")]
pub struct ManifestError(#[from] serde_json::Error);

impl Manifest {
    /// # Errors
    /// When `bytes` are not a manifest; the caller may then publish as if there was none.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// How to get from the site that `old` describes (`None`: nothing is known, upload all) to `site`, which holds
/// the pages that are `due`; those that are not stay as they are. `faces` are those of all pages.
///
/// # Errors
/// When the new manifest cannot be encoded, which would be a bug.
pub fn plan(
    old: Option<&Manifest>,
    site: &Site,
    due: &Due,
    faces: Faces,
    now_ms: i64,
) -> Result<Plan, ManifestError> {
    let empty = Manifest::default();
    let before = old.unwrap_or(&empty);
    let stays = |path: &str| match owner(path) {
        Owner::Assets => false,
        Owner::Fleet => !due.fleet,
        Owner::Cluster(name) => {
            let known = name.parse().ok();
            known.is_some_and(|name| faces.clusters.contains_key(&name) && !due.clusters.contains(&name))
        }
    };
    let mut files: BTreeMap<String, Entry> =
        before.files.iter().filter(|(path, _)| stays(path)).map(|(p, e)| (p.clone(), e.clone())).collect();
    let kept = files.len();
    files.extend(
        site.iter()
            .map(|(path, body)| (path.clone(), Entry { hash: sha256(body), bytes: body.len() as u64 })),
    );
    let mut retired = before.retired.clone();
    let mut deletes = Vec::new();
    let is_gone = |path: &&String| !files.contains_key(*path) && !path.starts_with(LIVE_PREFIX);
    for path in before.files.keys().filter(is_gone) {
        if path.starts_with("assets/") {
            retired.entry(path.clone()).or_insert(now_ms);
        } else {
            // A page of a cluster that is gone: its address should say so.
            deletes.push(path.clone());
        }
    }
    retired.retain(|path, _| !files.contains_key(path));
    let (expired, retired): (BTreeMap<String, i64>, BTreeMap<String, i64>) =
        retired.into_iter().partition(|(_, since_ms)| now_ms - since_ms >= ASSET_GRACE_MS);
    deletes.extend(expired.into_keys());
    let is_there = |path: &str| {
        let known = before.files.get(path);
        known.is_some_and(|old| files.get(path) == Some(old))
    };
    let mut uploads: Vec<Upload> = site
        .iter()
        .filter(|(path, _)| !is_there(path))
        .map(|(path, body)| upload(path, body.clone()))
        .collect();
    uploads.sort_by(|a, b| (rank(&a.path), &a.path).cmp(&(rank(&b.path), &b.path)));
    let unchanged = kept + site.len() - uploads.len();
    let faces = Some(faces.after(before.faces.as_ref(), due));
    let manifest = Manifest { schema: "site-manifest/v1".to_owned(), files, retired, faces };
    if old != Some(&manifest) {
        uploads.push(upload(MANIFEST_PATH, serde_json::to_vec(&manifest)?));
    }
    Ok(Plan { uploads, deletes, unchanged })
}

/// With which page a file is made.
enum Owner<'a> {
    Assets,
    Fleet,
    Cluster(&'a str),
}

fn owner(path: &str) -> Owner<'_> {
    let of_cluster = path.strip_prefix("c/").or_else(|| path.strip_prefix("api/v1/clusters/"));
    match of_cluster.and_then(|rest| rest.split('/').next()) {
        Some(name) => Owner::Cluster(name),
        None if path.starts_with("assets/") => Owner::Assets,
        None => Owner::Fleet,
    }
}

/// A file must not be seen before what it refers to.
fn rank(path: &str) -> u8 {
    match path {
        p if p.starts_with("assets/") => 0,
        p if p.starts_with("api/") => 1,
        p if p.starts_with("c/") => 2,
        _ => 3,
    }
}

/// The media type of a file of the site, by its name.
pub fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("csv") => "text/csv; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// How long browsers and caches may keep a file of the site: assets carry a hash in their name and never
/// change, everything else is asked for again.
pub fn cache_control(path: &str) -> &'static str {
    match path {
        p if p.starts_with("assets/") => "public, max-age=31536000, immutable",
        p if p.starts_with(LIVE_PREFIX) => "public, max-age=2, stale-while-revalidate=10",
        _ => "public, max-age=0, must-revalidate",
    }
}

fn upload(path: &str, body: Vec<u8>) -> Upload {
    let (content_type, cache_control) = (content_type(path), cache_control(path));
    Upload { path: path.to_owned(), body, content_type, cache_control }
}

fn sha256(body: &[u8]) -> String {
    digest::digest(&digest::SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::refresh::Made;
    use super::*;
    use crate::model::ClusterName;

    fn site(files: &[(&str, &str)]) -> Site {
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    /// A plan in which every page is due, all pages being of the clusters that `site` has.
    fn plan(old: Option<&Manifest>, site: &Site, now_ms: i64) -> Result<Plan, ManifestError> {
        let names = site.keys().filter_map(|path| match owner(path) {
            Owner::Cluster(name) => name.parse().ok(),
            _ => None,
        });
        let clusters: std::collections::BTreeSet<_> = names.collect();
        let faces = Faces {
            clusters: clusters.iter().map(|name: &ClusterName| (name.clone(), Made::default())).collect(),
            ..Faces::default()
        };
        super::plan(old, site, &Due { clusters, fleet: true }, faces, now_ms)
    }

    fn paths(plan: &Plan) -> Vec<&str> {
        plan.uploads.iter().map(|u| u.path.as_str()).collect()
    }

    fn manifest_of(plan: &Plan) -> Manifest {
        Manifest::parse(&plan.uploads.last().expect("has a manifest").body).expect("parses")
    }

    #[test]
    fn uploads_only_changes_and_in_the_order_of_references() {
        let first = site(&[
            ("index.html", "a"),
            ("c/x/index.html", "b"),
            ("api/v1/fleet.json", "c"),
            ("assets/s.1.css", "d"),
        ]);
        let all = plan(None, &first, 0).expect("plans");
        assert_eq!(
            paths(&all),
            ["assets/s.1.css", "api/v1/fleet.json", "c/x/index.html", "index.html", MANIFEST_PATH]
        );
        let old = manifest_of(&all);
        let again = plan(Some(&old), &first, 1).expect("plans");
        assert_eq!((paths(&again), again.unchanged), (vec![], 4));
        let mut changed = first;
        changed.insert("c/x/index.html".to_owned(), b"new".to_vec());
        assert_eq!(paths(&plan(Some(&old), &changed, 1).expect("plans")), ["c/x/index.html", MANIFEST_PATH]);
    }

    #[test]
    fn assets_outlive_their_pages_by_a_day_and_pages_go_at_once() {
        let old = manifest_of(
            &plan(None, &site(&[("assets/s.1.css", "d"), ("c/x/index.html", "b")]), 0).expect("plans"),
        );
        let next = site(&[("assets/s.2.css", "e")]);
        let day1 = plan(Some(&old), &next, 1_000).expect("plans");
        assert_eq!(day1.deletes, ["c/x/index.html"]);
        let kept = manifest_of(&day1);
        assert_eq!(plan(Some(&kept), &next, ASSET_GRACE_MS).expect("plans").deletes, [""; 0]);
        assert_eq!(
            plan(Some(&kept), &next, ASSET_GRACE_MS + 1_000).expect("plans").deletes,
            ["assets/s.1.css"]
        );
        // In use again before its day is over: it stays.
        let back = plan(Some(&kept), &site(&[("assets/s.1.css", "d")]), 2_000).expect("plans");
        assert!(!manifest_of(&back).retired.contains_key("assets/s.1.css"));
    }

    #[test]
    fn pages_that_are_not_due_stay_and_those_of_clusters_that_are_gone_do_not() {
        let files = ["c/a/index.html", "c/b/index.html", "api/v1/clusters/b/health.json", "index.html"];
        let first = site(&files.map(|path| (path, "old")));
        let old = manifest_of(&plan(None, &first, 0).expect("plans"));
        let name = |text: &str| -> ClusterName { text.parse().expect("is a name") };
        let made = |face: &str| Made { face: face.to_owned(), due_ms: 9 };
        let faces = |names: &[&str]| Faces {
            fleet: made("f"),
            clusters: names.iter().map(|n| (name(n), made(n))).collect(),
        };
        let due = Due { clusters: [name("a")].into(), fleet: true };
        let new = site(&[("c/a/index.html", "new"), ("index.html", "new")]);
        let next = super::plan(Some(&old), &new, &due, faces(&["a", "b"]), 1).expect("plans");
        assert_eq!(paths(&next), ["c/a/index.html", "index.html", MANIFEST_PATH]);
        assert_eq!((next.unchanged, next.deletes.len()), (2, 0));
        let known = manifest_of(&next).faces.expect("has faces");
        assert_eq!((known.clusters[&name("a")].face.as_str(), known.fleet.due_ms), ("a", 9));
        assert_eq!(known.clusters[&name("b")], Made::default(), "it was not made");
        let gone = super::plan(Some(&old), &new, &due, faces(&["a"]), 1).expect("plans");
        assert_eq!(gone.deletes, ["api/v1/clusters/b/health.json", "c/b/index.html"]);
    }

    #[test]
    fn live_files_and_manifests_of_older_versions_are_no_trouble() {
        let text = r#"{"schema":"site-manifest/v1","retired":{},
            "files":{"api/v1/live/fleet.json":{"hash":"x","bytes":1}}}"#;
        let old = Manifest::parse(text.as_bytes()).expect("parses");
        assert_eq!(old.faces, None);
        assert_eq!(plan(Some(&old), &site(&[("index.html", "a")]), 0).expect("plans").deletes, [""; 0]);
    }
}
