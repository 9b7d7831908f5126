//! Where the links of messages lead: a page that asks, and a button that acknowledges.
//!
//! Mail programs and chats open links before people do, so looking changes nothing; only the page's form does.
//! The signature in the link is the right to do so: there is no login, no cookie and so nothing for another
//! site to abuse. The daemon's server and the Lambda adapter are thin shells around [`AckDesk::answer`].

mod page;

use std::collections::BTreeMap;

use reqwest::Url;

use crate::alert::Routes;
use crate::deliver::{AckLinks, AckSource, Deliverer, LinkError, Person};
use crate::model::{Incident, IncidentState, chain};
use crate::store::key::SequenceKey;
use crate::store::{Store, Writer, sequence};

/// Above all pages.
pub const PATH: &str = "/ack/";

/// A request, as either host has it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
    /// Of a POST: a form, at most [`BODY_BYTES_MAX`].
    pub body: &'a [u8],
}

/// More than the form holds is not read.
pub const BODY_BYTES_MAX: usize = 8 * 1024;

/// Longer names and notes are cut, characters.
const NAME_MAX: usize = 80;
const NOTE_MAX: usize = 500;

/// An answer, with [`HEADERS`] beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// Nothing from elsewhere, nothing inline; the address, which holds the right, goes nowhere else.
pub const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-robots-tag", "noindex"),
];

/// Answers the links.
pub struct AckDesk {
    store: Store,
    deliverer: Deliverer,
    links: AckLinks,
}

impl AckDesk {
    /// Makes the key of the links where there is none.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn open(store: Store, writer: Writer, source: &AckSource) -> anyhow::Result<Self> {
        let links = source.serve(&store).await?;
        // Routes decide what is told; the sweep tells it.
        let deliverer = Deliverer::new(store.clone(), writer, BTreeMap::new(), Routes::default());
        Ok(Self { store, deliverer, links })
    }

    /// GET shows the incident and asks, POST acknowledges; both say why not where that is so.
    pub async fn answer(&self, ask: Ask<'_>, now_ms: i64) -> Answer {
        let name = ask.path.strip_prefix(PATH).unwrap_or_default();
        if name == page::STYLE_NAME {
            return page::style();
        }
        if !matches!(ask.method, "GET" | "HEAD" | "POST") {
            return page::told(405, "This page is only looked at and sent", &[]);
        }
        let signed = match self.links.check(name, &pairs(ask.query.as_bytes()), now_ms) {
            Ok(signed) => signed,
            Err(LinkError::Incomplete) => {
                return page::told(400, "This link is incomplete", &["Open it as it is in the message."]);
            }
            Err(LinkError::Forged) => {
                return page::told(403, "This link is not valid", &["Open it as it is in the message."]);
            }
            Err(LinkError::Expired) => {
                return page::told(
                    410,
                    "This link has expired",
                    &["A newer message of the incident has a new one; so does its next repeat."],
                );
            }
        };
        let sequence = SequenceKey::incident(&signed.fingerprint);
        let incident = match sequence::latest::<Incident>(&self.store, &sequence).await {
            Ok(Some((_, incident))) => incident,
            Ok(None) => return page::told(404, "This incident is not known any more", &[]),
            Err(error) => return unavailable(&error),
        };
        if incident.episode != signed.episode || !incident.state.is_active() {
            return page::over(&incident, signed.episode);
        }
        match (incident.state, ask.method) {
            (IncidentState::Acked, _) => page::acked(&incident, false),
            (_, "POST") => self.acknowledge(&signed.fingerprint, ask.body, now_ms).await,
            _ => page::question(&incident),
        }
    }

    async fn acknowledge(&self, fingerprint: &str, body: &[u8], now_ms: i64) -> Answer {
        let form = pairs(body.get(..BODY_BYTES_MAX).unwrap_or(body));
        let field = |name: &str, max: usize| {
            let value = form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim());
            let printable = value.chars().map(|c| if c.is_control() { ' ' } else { c });
            printable.take(max).collect::<String>()
        };
        let (name, note) = (field("name", NAME_MAX), field("note", NOTE_MAX));
        let name = if name.is_empty() { "somebody by link".to_owned() } else { format!("{name} (by link)") };
        let who = if note.is_empty() { name } else { format!("{name}: {note}") };
        match self.deliverer.by_person(fingerprint, Person::Acknowledges, &who, now_ms).await {
            Ok(Some(incident)) => page::acked(&incident, true),
            Ok(None) => page::told(410, "This incident has just ended", &["There is nothing to take on."]),
            Err(error) => unavailable(&error),
        }
    }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> Answer {
    tracing::warn!(error = chain(error), "an incident cannot be acknowledged by its link");
    page::told(
        503,
        "Nothing was acknowledged: the store does not answer",
        &["Try again in a moment, or use the command line."],
    )
}

/// The pairs of a query or form.
fn pairs(text: &[u8]) -> Vec<(String, String)> {
    // The URL standard's parser knows the escapes; the rest of this URL says nothing.
    let Ok(mut url) = Url::parse("http://form/") else { return Vec::new() };
    url.set_query(Some(&String::from_utf8_lossy(text)));
    url.query_pairs().into_owned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_send_them() {
        let read = pairs(b"name=Ann+B%C3%B6rg&note=on%20it%26+more%23&empty=");
        let expected = [("name", "Ann Börg"), ("note", "on it& more#"), ("empty", "")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(pairs(b"").is_empty());
        assert_eq!(pairs(b"a=\xff")[0].1, "\u{fffd}");
    }
}
