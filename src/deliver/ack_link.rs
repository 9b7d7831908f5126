//! Links by which who reads a message takes the incident on: the signature is the right to do so.
//!
//! A link is for one episode of one incident, for a time, and for nothing else. Its key is configured, or one
//! that whoever serves the links made and keeps in the store, so that every process signs and checks alike.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

use super::aws::hexadecimal;
use super::commit::store_error;
use super::{DeliverError, Deliverer, lock};
use crate::model::Incident;
use crate::store::{Create, Store, key};

/// How long a link works: over a long weekend. A repeat of the message brings a new one.
const LIFE_MS: i64 = 4 * 86_400_000;
/// What is signed begins with this, so that no signature of another purpose fits.
const PURPOSE: &str = "etcd-monitor acknowledge v1";
/// The shortest configured secret, characters.
const SECRET_MIN: usize = 16;

/// Makes links and knows its own again.
#[derive(Clone)]
pub struct AckLinks {
    /// Without a slash at its end.
    base: String,
    key: hmac::Key,
}

/// What a link names, once its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub fingerprint: String,
    pub episode: u64,
}

/// Why a link gives no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("parts of the link are missing")]
    Incomplete,
    #[error("the signature does not fit")]
    Forged,
    #[error("the link has expired")]
    Expired,
}

impl AckLinks {
    /// `base` is where the links are answered, such as `https://status.example.com`.
    pub fn new(base: &str, secret: &[u8]) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// `None` for an incident that nobody needs to take on: it is over, or somebody has.
    pub fn of(&self, incident: &Incident, now_ms: i64) -> Option<String> {
        if !incident.awaits_somebody() {
            return None;
        }
        let expires = now_ms.saturating_add(LIFE_MS).div_euclid(1000);
        let (fingerprint, episode) = (&incident.fingerprint, incident.episode);
        let tag = hmac::sign(&self.key, signed_text(fingerprint, episode, expires).as_bytes());
        let signature = hexadecimal(tag.as_ref());
        let base = &self.base;
        Some(format!("{base}/ack/{fingerprint}?episode={episode}&expires={expires}&sig={signature}"))
    }

    /// What the link with this last segment and these query parameters names. The comparison takes the same
    /// time wherever a signature is wrong, and comes before all others.
    ///
    /// # Errors
    /// When the link is incomplete, forged or too old.
    pub fn check(
        &self,
        fingerprint: &str,
        query: &[(String, String)],
        now_ms: i64,
    ) -> Result<Signed, LinkError> {
        let part = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let (Some(episode), Some(expires), Some(signature)) = (part("episode"), part("expires"), part("sig"))
        else {
            return Err(LinkError::Incomplete);
        };
        let (Ok(episode), Ok(expires)) = (episode.parse::<u64>(), expires.parse::<i64>()) else {
            return Err(LinkError::Incomplete);
        };
        let tag = bytes_of(signature).ok_or(LinkError::Forged)?;
        hmac::verify(&self.key, signed_text(fingerprint, episode, expires).as_bytes(), &tag)
            .map_err(|_| LinkError::Forged)?;
        if now_ms.div_euclid(1000) >= expires {
            return Err(LinkError::Expired);
        }
        Ok(Signed { fingerprint: fingerprint.to_owned(), episode })
    }
}

fn signed_text(fingerprint: &str, episode: u64, expires: i64) -> String {
    format!("{PURPOSE}\n{fingerprint}\n{episode}\n{expires}")
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    if !hexadecimal.len().is_multiple_of(2) || !hexadecimal.is_ascii() {
        return None;
    }
    let digits = hexadecimal.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Where the links lead, and what signs them.
#[derive(Debug, Clone)]
pub struct AckSource {
    pub base: String,
    /// `None`: the store's.
    pub secret: Option<SecretString>,
}

/// # Errors
/// When it is too short to be a secret.
pub fn check_ack_secret(secret: &SecretString) -> Result<(), String> {
    match secret.expose_secret().chars().count() {
        0..SECRET_MIN => Err(format!("a secret for links has at least {SECRET_MIN} characters")),
        _ => Ok(()),
    }
}

impl AckSource {
    /// The links, with the store's key made where there is none: for who answers them.
    ///
    /// # Errors
    /// When the store cannot be read or written, or the system has no randomness.
    pub async fn serve(&self, store: &Store) -> Result<AckLinks, DeliverError> {
        if let Some(links) = self.find(store).await? {
            return Ok(links);
        }
        let key = key::ack_secret();
        let failed = |source| store_error("keep", key.as_str(), source);
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| DeliverError::NoRandomness)?;
        match store.create(&key, hexadecimal(&secret).into_bytes().into()).await.map_err(failed)? {
            Create::Won => Ok(AckLinks::new(&self.base, hexadecimal(&secret).as_bytes())),
            // Another process made one at the same time: the first counts.
            Create::Exists(secret) => Ok(AckLinks::new(&self.base, &secret)),
        }
    }

    /// The links; `None` while nobody answers any, as then there is no key.
    async fn find(&self, store: &Store) -> Result<Option<AckLinks>, DeliverError> {
        if let Some(secret) = &self.secret {
            return Ok(Some(AckLinks::new(&self.base, secret.expose_secret().as_bytes())));
        }
        let key = key::ack_secret();
        let secret = store.get(&key).await.map_err(|source| store_error("read", key.as_str(), source))?;
        Ok(secret.map(|secret| AckLinks::new(&self.base, &secret)))
    }
}

impl Deliverer {
    /// Lets the messages carry links to acknowledge with, as soon as somebody answers them.
    #[must_use]
    pub fn with_ack_links(mut self, source: Option<AckSource>) -> Self {
        self.ack_source = source;
        self
    }

    /// A message without a link is better than none: what fails here costs the link only.
    pub(super) async fn ack_links(&self) -> Option<AckLinks> {
        let source = self.ack_source.as_ref()?;
        let known = lock(&self.ack_links).clone();
        if known.is_some() {
            return known;
        }
        let found = source.find(&self.store).await.ok()?;
        lock(&self.ack_links).clone_from(&found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Kind;
    use crate::deliver::trial;
    use crate::model::IncidentState;

    const NOW_MS: i64 = 1_764_000_000_000;

    fn parts(link: &str) -> (String, Vec<(String, String)>) {
        let url: reqwest::Url = link.parse().expect("a URL");
        let fingerprint = url.path_segments().expect("a path").next_back().expect("a segment").to_owned();
        (fingerprint, url.query_pairs().into_owned().collect())
    }

    #[test]
    fn a_link_is_for_one_episode_and_for_a_time() {
        let links = AckLinks::new("https://status.example.com/", b"a secret of the test");
        let incident = trial::group(Kind::Firing, "way", NOW_MS).incidents.remove(0);
        let link = links.of(&incident, NOW_MS).expect("it fires");
        assert!(link.starts_with("https://status.example.com/ack/test-1764000000000?episode=1&"), "{link}");
        let (fingerprint, query) = parts(&link);
        let signed = Signed { fingerprint: fingerprint.clone(), episode: 1 };
        let with = |name: &str, value: &str| {
            let mut query = query.clone();
            query.iter_mut().filter(|(key, _)| key == name).for_each(|(_, v)| value.clone_into(v));
            query
        };
        let without = |name: &str| query.iter().filter(|(key, _)| key != name).cloned().collect::<Vec<_>>();
        let other = AckLinks::new("https://status.example.com", b"another secret of it");
        let late_ms = NOW_MS + LIFE_MS;
        for (what, links, fingerprint, query, now_ms, outcome) in [
            ("as it was made", &links, fingerprint.as_str(), query.clone(), NOW_MS, Ok(signed.clone())),
            ("just in time", &links, &fingerprint, query.clone(), late_ms - 1000, Ok(signed)),
            ("too late", &links, &fingerprint, query.clone(), late_ms, Err(LinkError::Expired)),
            (
                "longer life",
                &links,
                &fingerprint,
                with("expires", "9999999999"),
                NOW_MS,
                Err(LinkError::Forged),
            ),
            ("another episode", &links, &fingerprint, with("episode", "2"), NOW_MS, Err(LinkError::Forged)),
            ("another incident", &links, "ab", query.clone(), NOW_MS, Err(LinkError::Forged)),
            ("another key", &other, &fingerprint, query.clone(), NOW_MS, Err(LinkError::Forged)),
            ("cut", &links, &fingerprint, with("sig", "ab"), NOW_MS, Err(LinkError::Forged)),
            ("no digits", &links, &fingerprint, with("sig", "zé"), NOW_MS, Err(LinkError::Forged)),
            ("forged and late", &links, &fingerprint, with("sig", "ab"), late_ms, Err(LinkError::Forged)),
            ("no signature", &links, &fingerprint, without("sig"), NOW_MS, Err(LinkError::Incomplete)),
            ("no time", &links, &fingerprint, without("expires"), NOW_MS, Err(LinkError::Incomplete)),
            ("no number", &links, &fingerprint, with("episode", "x"), NOW_MS, Err(LinkError::Incomplete)),
        ] {
            assert_eq!(links.check(fingerprint, &query, now_ms), outcome, "{what}");
        }
        for (state, linked) in
            [(IncidentState::Unknown, true), (IncidentState::Acked, false), (IncidentState::Resolved, false)]
        {
            let incident = Incident { state, ..incident.clone() };
            assert_eq!(links.of(&incident, NOW_MS).is_some(), linked, "{state:?}");
        }
    }

    #[tokio::test]
    async fn all_processes_sign_with_the_key_of_the_first_that_serves() {
        let store = Store::in_memory();
        let source = AckSource { base: "https://a.example".to_owned(), secret: None };
        assert!(source.find(&store).await.expect("readable").is_none(), "nobody answers links yet");
        let incident = trial::group(Kind::Firing, "way", NOW_MS).incidents.remove(0);
        let (one, two) = tokio::join!(source.serve(&store), source.serve(&store));
        let found = source.find(&store).await.expect("readable").expect("there is a key now");
        let link = |links: &AckLinks| links.of(&incident, NOW_MS);
        assert_eq!(link(&one.expect("made")), link(&found));
        assert_eq!(link(&two.expect("made")), link(&found));
    }
}
