//! When the certificates of a cluster's ports, and our own, expire.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Subject;
use crate::etcd::{ClusterConfig, TlsConfig, served_certificates};
use crate::model::Instance;

/// Which port served a certificate, or whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// The client port.
    Server,
    Peer,
    Metrics,
    /// Our own, with which we come to the members.
    Client,
}

impl Use {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Peer => "peer",
            Self::Metrics => "metrics",
            Self::Client => "client",
        }
    }
}

/// One certificate, with what was sent along to prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// `None` for our own.
    pub instance: Option<Instance>,
    pub used_as: Use,
    pub subject: String,
    pub issuer: String,
    /// Hexadecimal, as openssl prints it.
    pub serial: String,
    /// The names and addresses it is for.
    pub names: Vec<String>,
    /// When the first certificate of the chain expires, ms since the epoch, UTC.
    pub not_after_ms: i64,
}

/// The certificates of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CertificateCheck {
    /// Sorted by member and use.
    pub seen: Vec<Certificate>,
    /// Ports whose certificate was not seen: what was tried, and why not.
    pub left_out: Vec<(String, String)>,
}

/// Looks at every TLS port of the members once.
pub(super) async fn check(config: &ClusterConfig, subjects: &[Subject]) -> CertificateCheck {
    let timeout = config.timeouts.connect.0 + config.timeouts.call.0;
    let ports = subjects.iter().flat_map(|subject| ports(config, subject));
    let looks = ports.map(|(instance, used_as, address)| async move {
        let seen = look(&address, used_as, config.tls.as_ref(), timeout).await;
        let seen = seen.map(|seen| Certificate { instance: Some(instance.clone()), ..seen });
        seen.map_err(|why| (format!("{} certificate of {instance}", used_as.as_str()), why))
    });
    let mut check = CertificateCheck::default();
    let own = config.tls.as_ref().and_then(|tls| tls.cert.as_deref()).map(own);
    let own = own.map(|seen| seen.map_err(|why| ("our own certificate".to_owned(), why)));
    for outcome in join_all(looks).await.into_iter().chain(own) {
        match outcome {
            Ok(seen) => check.seen.push(seen),
            Err(left_out) => check.left_out.push(left_out),
        }
    }
    check.seen.sort_by(|a, b| (&a.instance, a.used_as).cmp(&(&b.instance, b.used_as)));
    check
}

/// The member's ports that speak TLS.
fn ports(config: &ClusterConfig, subject: &Subject) -> Vec<(Instance, Use, Instance)> {
    let instance = subject.member.instance();
    let mut ports = Vec::new();
    let mut add = |used_as: Use, url: &str| {
        if url.starts_with("https://")
            && let Ok(address) = Instance::of_endpoint(url)
        {
            ports.push((instance.clone(), used_as, address));
        }
    };
    add(Use::Server, subject.member.url());
    if let Some(url) = subject.peer_urls.first() {
        add(Use::Peer, url);
    }
    let own = |(_, endpoint): &(usize, &String)| Instance::of_endpoint(endpoint).as_ref() == Ok(instance);
    let place = config.endpoints.iter().enumerate().find(own).map(|(at, _)| at);
    let metrics = match config.metrics_urls.as_slice() {
        [template] if template.contains("{host}") => Some(template.replace("{host}", instance.host())),
        urls => place.and_then(|at| urls.get(at)).cloned(),
    };
    // On the client port it is the same certificate.
    let is_other = |url: &String| {
        let at = url.trim_end_matches("/metrics");
        Instance::of_endpoint(at).is_ok_and(|address| address != *instance)
    };
    if let Some(url) = metrics.filter(is_other) {
        add(Use::Metrics, url.trim_end_matches("/metrics"));
    }
    ports
}

async fn look(
    address: &Instance,
    used_as: Use,
    identity: Option<&TlsConfig>,
    timeout: Duration,
) -> Result<Certificate, String> {
    let chain = served_certificates(address, identity, timeout).await.map_err(|error| error.to_string())?;
    read(&chain, used_as)
}

/// The certificate with which we come to the members.
fn own(path: &Path) -> Result<Certificate, String> {
    let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let chain: Vec<Vec<u8>> =
        CertificateDer::pem_slice_iter(&pem).flatten().map(|der| der.to_vec()).collect();
    read(&chain, Use::Client).map_err(|why| format!("{}: {why}", path.display()))
}

/// What a chain says, leaf first.
fn read(chain: &[Vec<u8>], used_as: Use) -> Result<Certificate, String> {
    let parse = |der: &Vec<u8>| -> Result<Certificate, String> {
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|error| format!("cannot be parsed: {error}"))?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
        Ok(Certificate {
            instance: None,
            used_as,
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: parsed.raw_serial_as_string(),
            names: names.unwrap_or_default(),
            not_after_ms: parsed.validity().not_after.timestamp().saturating_mul(1_000),
        })
    };
    let parsed = chain.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let first = parsed.iter().map(|certificate| certificate.not_after_ms).min();
    let leaf = parsed.into_iter().next().ok_or("there is no certificate")?;
    Ok(Certificate { not_after_ms: first.unwrap_or(leaf.not_after_ms), ..leaf })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(std::net::Ipv4Addr::from(four).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    }
}
