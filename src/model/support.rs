//! With which versions of etcd this program is tested.

/// How well a version of etcd is known to work with this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Tests start members of this minor version.
    Live,
    /// Tests read what a member of this minor version said once.
    Recorded,
    Untested,
}

/// The minor versions with their test, oldest first. The servers are those of `tests/deps/etcd.sh` and the system's
/// package; what is recorded is below `tests/data/etcd`.
pub const MINORS: [((u64, u64), Support); 3] =
    [((3, 4), Support::Live), ((3, 5), Support::Live), ((3, 6), Support::Recorded)];

/// The support of a version such as `3.5.16`; `None` for what is no version.
pub fn support(version: &str) -> Option<Support> {
    let mut numbers = version.split('.');
    let minor = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let known = MINORS.iter().find(|(known, _)| *known == minor);
    Some(known.map_or(Support::Untested, |(_, support)| *support))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_minor() {
        for (version, expected) in [
            ("3.4.23", Some(Support::Live)),
            ("3.5.30", Some(Support::Live)),
            ("3.6.14", Some(Support::Recorded)),
            ("3.6.0-rc.3", Some(Support::Recorded)),
            ("3.8.0-alpha", Some(Support::Untested)),
            ("3.3.27", Some(Support::Untested)),
            ("", None),
            ("unknown", None),
        ] {
            assert_eq!(support(version), expected, "{version}");
        }
    }

    #[test]
    fn what_is_said_to_be_recorded_is() {
        let recorded = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/etcd");
        let folders = std::fs::read_dir(recorded).expect("recordings");
        let found: Vec<Option<Support>> =
            folders.map(|folder| support(&folder.expect("a folder").file_name().to_string_lossy())).collect();
        assert!(
            found.contains(&Some(Support::Recorded)) && !found.contains(&Some(Support::Untested)),
            "{found:?}"
        );
    }
}
