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

/// The style sheet as a `data:` URL, for a page that is one file.
pub(crate) fn inline_css() -> String {
    use base64::Engine as _;
    let css = base64::engine::general_purpose::STANDARD.encode(include_str!("../../site/dist/site.css"));
    format!("data:text/css;base64,{css}")
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Theme = BTreeMap<String, [f64; 3]>;

    /// The custom properties of one block of the source style sheet, as linear red, green and blue.
    fn theme(block: &str) -> Theme {
        let tokens = block.split(['{', ';', '}']).filter_map(|line| line.trim().strip_prefix("--"));
        tokens
            .filter_map(|token| token.split_once(": #"))
            .map(|(name, hex)| {
                let channel = |at: usize| {
                    let value =
                        f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("is a colour")) / 255.0;
                    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
                };
                (name.to_owned(), [channel(0), channel(2), channel(4)])
            })
            .collect()
    }

    /// Contrast as WCAG 2.2 defines it.
    fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
        let luminance = |c: [f64; 3]| 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn colours_have_the_contrast_that_text_needs() {
        let css = include_str!("../../site/src/site.css");
        let blocks: Vec<&str> = css.split(":root").skip(1).collect();
        let (light, dark_auto, dark) = (theme(blocks[0]), theme(blocks[1]), theme(blocks[2]));
        assert_eq!(dark_auto, dark, "both ways into the dark theme give the same colours");
        for (name, theme) in [("light", &light), ("dark", &dark)] {
            let check = |front: &str, back: &str, least: f64| {
                let found = contrast(theme[front], theme[back]);
                assert!(found >= least, "{name}: {front} on {back} is {found:.2}, needs {least}");
            };
            for text in ["text", "dim", "link", "ok", "warn", "crit", "unknown", "info"] {
                check(text, "card", 4.5);
                check(text, "bg", 4.5);
            }
            for state in ["ok", "warn", "crit", "unknown"] {
                check(state, &format!("{state}-t"), 4.5);
                check("text", &format!("{state}-t"), 4.5);
                check("link", &format!("{state}-t"), 4.5);
            }
            for line in 0..5 {
                check(&format!("s{line}"), "card", 3.0);
            }
        }
    }

    #[test]
    fn names_follow_content() {
        assert_ne!(hashed("a.css", "x"), hashed("a.css", "y"));
        assert!(path_of("site.css").starts_with("assets/site.") && path_of("site.css").ends_with(".css"));
        for (name, path, text) in all() {
            assert!(text.len() > 50, "{name} is empty: npm run build in site/");
            assert_eq!(path.len(), "assets/.12345678".len() + name.len());
        }
    }
}
