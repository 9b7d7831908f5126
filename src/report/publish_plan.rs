//! What to upload and in which order, from what the last publication left behind.
//!
//! Pure: the caller reads the old `site-manifest.json`, does the uploads and the deletions in the order
//! given, and stops at the first failure; a half-done publication then only has files that nothing links to.

use std::collections::BTreeMap;

use ring::digest;
use serde::{Deserialize, Serialize};

use super::Site;

/// Where the manifest lies in the site.
pub const MANIFEST_PATH: &str = "site-manifest.json";

/// Hashed assets that no page refers to any more stay this long, so that open tabs keep working.
pub const ASSET_GRACE_MS: i64 = 24 * 3_600_000;

/// `watch` owns what is below here: the report writes such a file only where there is none.
const LIVE_PREFIX: &str = "api/v1/live/";

/// What the last publication uploaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: String,
    pub files: BTreeMap<String, Entry>,
    /// Assets that went out of use, and when, ms since the epoch.
    pub retired: BTreeMap<String, i64>,
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

/// How to get from the site that `old` describes (`None`: nothing is known, upload all) to `site`.
///
/// # Errors
/// When the new manifest cannot be encoded, which would be a bug.
pub fn plan(old: Option<&Manifest>, site: &Site, now_ms: i64) -> Result<Plan, ManifestError> {
    let empty = Manifest::default();
    let before = old.unwrap_or(&empty);
    let files: BTreeMap<String, Entry> = site
        .iter()
        .map(|(path, body)| (path.clone(), Entry { hash: sha256(body), bytes: body.len() as u64 }))
        .collect();
    let mut retired = before.retired.clone();
    let mut deletes = Vec::new();
    for path in before.files.keys().filter(|path| !files.contains_key(*path)) {
        if path.starts_with("assets/") {
            retired.entry(path.clone()).or_insert(now_ms);
        } else {
            // A page of a cluster that is gone: its address should say so.
            deletes.push(path.clone());
        }
    }
    retired.retain(|path, _| !files.contains_key(path));
    let (due, retired): (BTreeMap<String, i64>, BTreeMap<String, i64>) =
        retired.into_iter().partition(|(_, since_ms)| now_ms - since_ms >= ASSET_GRACE_MS);
    deletes.extend(due.into_keys());
    let is_there = |path: &str| {
        let known = before.files.get(path);
        known.is_some_and(|old| path.starts_with(LIVE_PREFIX) || files.get(path) == Some(old))
    };
    let mut uploads: Vec<Upload> = site
        .iter()
        .filter(|(path, _)| !is_there(path))
        .map(|(path, body)| upload(path, body.clone()))
        .collect();
    uploads.sort_by(|a, b| (rank(&a.path), &a.path).cmp(&(rank(&b.path), &b.path)));
    let unchanged = site.len() - uploads.len();
    let manifest = Manifest { schema: "site-manifest/v1".to_owned(), files, retired };
    if old != Some(&manifest) {
        uploads.push(upload(MANIFEST_PATH, serde_json::to_vec(&manifest)?));
    }
    Ok(Plan { uploads, deletes, unchanged })
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
    use super::*;

    fn site(files: &[(&str, &str)]) -> Site {
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
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
    fn live_files_are_left_to_their_owner() {
        let old = manifest_of(&plan(None, &site(&[("api/v1/live/fleet.json", "a")]), 0).expect("plans"));
        let next = plan(Some(&old), &site(&[("api/v1/live/fleet.json", "b")]), 0).expect("plans");
        assert!(!paths(&next).contains(&"api/v1/live/fleet.json"));
    }
}
