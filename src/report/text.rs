//! Text that others wrote, made fit to be read: nothing in it may act, hide or reorder.
//!
//! Escaping for HTML is the templates' part (they escape everything); here control and bidirectional
//! characters become visible and addresses disappear where the configuration says so.

use std::fmt::Write as _;

/// Longest text that a page shows of a foreign string, in characters.
const CHARS_MAX: usize = 400;

/// `text` on one line, with control, zero-width and bidirectional characters spelled out as `\u{202e}`.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    for c in chars.by_ref().take(CHARS_MAX) {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_deceptive(c) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{}", c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `url` if a browser may follow it: `http` or `https`, without anything deceptive.
pub(crate) fn web_link(url: &str) -> Option<String> {
    let good = (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= 2_000
        && !url.chars().any(|c| is_deceptive(c) || c.is_whitespace() || matches!(c, '"' | '<' | '>'));
    good.then(|| url.to_owned())
}

/// Takes addresses out of text: pairs of (what is hidden, what is shown), the longest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redaction(Vec<(String, String)>);

impl Redaction {
    /// Hides every `host:port` and its bare host behind the member's name.
    pub(crate) fn of_members<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut pairs = Vec::new();
        for (instance, shown) in members {
            if let Some((host, _)) = instance.rsplit_once(':') {
                pairs.push((host.trim_matches(['[', ']']).to_owned(), shown.clone()));
            }
            pairs.push((instance.to_owned(), shown));
        }
        pairs.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        Self(pairs)
    }

    /// [`visible`], with the addresses replaced.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (hidden, shown) in &self.0 {
            // A member's name may be its host; replacing it by itself would be noise, not a leak.
            if hidden != shown {
                text = text.replace(hidden.as_str(), shown);
            }
        }
        visible(&text)
    }
}

/// `14:05 UTC` of the day `now_ms` lies in, `21 Nov 14:05 UTC` on another.
pub(crate) fn clock(ts_ms: i64, now_ms: i64) -> String {
    let (Some(ts), Some(now)) =
        (chrono::DateTime::from_timestamp_millis(ts_ms), chrono::DateTime::from_timestamp_millis(now_ms))
    else {
        return ts_ms.to_string();
    };
    let format = if ts.date_naive() == now.date_naive() { "%H:%M UTC" } else { "%-d %b %H:%M UTC" };
    ts.format(format).to_string()
}

/// Markdown's code marks taken out: the catalogue's texts also go into documents.
pub(crate) fn plain(text: &str) -> String {
    text.replace('`', "")
}

/// `1 member`, `3 members`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceptive_characters_become_visible() {
        for (text, shown) in [
            ("plain <b> \"q\" 'q'", "plain <b> \"q\" 'q'"),
            ("a\nb\tc", "a b c"),
            ("evil\u{202e}txt", "evil\\u{202e}txt"),
            ("nul\0", "nul\\u{0}"),
            ("\u{feff}\u{200b}x", "\\u{feff}\\u{200b}x"),
            ("ключ 鍵 🔑", "ключ 鍵 🔑"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible(&"x".repeat(500)).chars().count(), CHARS_MAX + 1);
    }

    #[test]
    fn only_web_links_are_followed() {
        for (url, good) in [
            ("https://runbooks.example/a?b=c#d", true),
            ("http://wiki/x", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("https://a\"onclick=", false),
            ("//host/x", false),
            ("https://a b", false),
        ] {
            assert_eq!(web_link(url).is_some(), good, "{url}");
        }
    }

    #[test]
    fn addresses_are_replaced_by_names() {
        let members = [("10.0.0.1:2379", "etcd-0".to_owned()), ("10.0.0.11:2379", "etcd-1".to_owned())];
        let redaction = Redaction::of_members(members);
        assert_eq!(
            redaction.clean("dial 10.0.0.11:2379 via 10.0.0.1: refused"),
            "dial etcd-1 via etcd-0: refused"
        );
    }

    #[test]
    fn clock_names_the_day_only_when_it_is_another() {
        let now = 1_763_733_912_000; // 2025-11-21T14:05:12Z
        assert_eq!(clock(now - 60_000, now), "14:04 UTC");
        assert_eq!(clock(now - 86_400_000, now), "20 Nov 14:05 UTC");
    }
}
