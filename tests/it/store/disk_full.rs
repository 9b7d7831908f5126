//! A full disk is a clear error, leaves no half object, and the store goes on when there is room again.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use etcd_monitor::store::key::{self, Prefix};
use etcd_monitor::store::{Create, Store, StoreConfig, StoreError};

/// A file system of 256 KiB in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(at)
            .output()
            .expect("mount runs");
        assert!(
            mounted.status.success(),
            "this test mounts a tmpfs and so needs root: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("lists") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_no_half_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(folder.path());
    let config = StoreConfig { url: disk.0.display().to_string(), ..StoreConfig::default() };
    let store = Store::open(&config, &|_| None).await.expect("opens");
    let body = Bytes::from(vec![7_u8; 60_000]);
    let mut kept = 0;
    let error = loop {
        match store.create(&key::evaluation("g", kept * 60_000), body.clone()).await {
            Ok(created) => assert_eq!(created, Create::Won),
            Err(error) => break error,
        }
        kept += 1;
        assert!(kept < 10, "256 KiB hold no ten bodies of 60 kB");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("no space left in the store"), "{error}");
    let listed = store.list(&Prefix::evaluations("g")).await.expect("lists");
    assert_eq!(i64::try_from(listed.len()).expect("few"), kept);
    assert!(listed.iter().all(|entry| entry.size_bytes == 60_000), "{listed:?}");
    assert_eq!(files_under(&disk.0).len(), listed.len(), "no leftovers of the failed one");

    store.put_site("x", Bytes::new(), "text/html", "no-cache").await.expect("an empty file still fits");
    std::fs::remove_file(disk.0.join(listed[0].key.as_str())).expect("makes room");
    let again = store.create(&key::evaluation("g", kept * 60_000), body).await.expect("there is room");
    assert_eq!(again, Create::Won);
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_a_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("writes");
    let config = StoreConfig { url: file.join("store").display().to_string(), ..StoreConfig::default() };
    let error = Store::open(&config, &|_| None).await.expect_err("a file is no folder");
    assert!(error.to_string().contains("create folder"), "{error}");
}
