//! What browsers load besides pages, embedded: built from `site/` and checked in under `site/dist/`.
//!
//! A name carries the hash of its content, so a file is never changed under its name and may be cached for
//! good.

use std::sync::LazyLock;

use ring::digest;

const FILES: [(&str, &str); 3] = [
    ("site.css", include_str!("../../site/dist/site.css")),
    ("boot.js", include_str!("../../site/dist/boot.js")),
    ("app.js", include_str!("../../site/dist/app.js")),
];

/// Path in the site and content of every asset.
pub(crate) fn all() -> &'static [(&'static str, String, &'static str)] {
    static ALL: LazyLock<Vec<(&'static str, String, &'static str)>> =
        LazyLock::new(|| FILES.iter().map(|(name, text)| (*name, hashed(name, text), *text)).collect());
    &ALL
}

/// The path of the asset called `name`; a name that does not exist stays as it is, which the link check
/// of the tests would find.
pub(crate) fn path_of(name: &str) -> String {
    all()
        .iter()
        .find(|(plain, ..)| *plain == name)
        .map_or_else(|| name.to_owned(), |(_, path, _)| path.clone())
}

fn hashed(name: &str, text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let hash: String = hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("assets/{stem}.{hash}.{extension}")
}
