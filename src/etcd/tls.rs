//! PEM files into TLS settings for gRPC and HTTP, and noticing that they changed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{EtcdError, TlsConfig};

/// Modification time and length per file: enough to see that an agent replaced it.
pub(super) type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// The files of a [`TlsConfig`], read and parsed. Not `Debug`: it holds the private key.
#[derive(Clone)]
pub(super) struct Material {
    ca_pem: Option<Vec<u8>>,
    identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    roots: Option<Arc<RootCertStore>>,
    insecure: bool,
    server_name: Option<String>,
}

pub(super) async fn stamp(tls: &TlsConfig) -> Stamp {
    let mut stamp = Vec::new();
    for path in [&tls.ca, &tls.cert, &tls.key].into_iter().flatten() {
        let meta = tokio::fs::metadata(path).await.ok();
        stamp.push((path.clone(), meta.and_then(|m| Some((m.modified().ok()?, m.len())))));
    }
    stamp
}

async fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, EtcdError> {
    let problem = |e: std::io::Error| EtcdError::TlsFile {
        key,
        path: path.to_owned(),
        problem: format!("cannot be read: {e}"),
    };
    tokio::fs::read(path).await.map_err(problem)
}

fn bad(key: &'static str, path: &Path, problem: impl std::fmt::Display) -> EtcdError {
    EtcdError::TlsFile { key, path: path.to_owned(), problem: format!("{problem}") }
}

/// Reads and checks the files, so that a wrong one is named before any handshake.
pub(super) async fn load(tls: &TlsConfig) -> Result<Material, EtcdError> {
    let mut material = Material {
        ca_pem: None,
        identity_pem: None,
        roots: None,
        insecure: tls.insecure_skip_verify,
        server_name: tls.server_name.clone(),
    };
    if let Some(path) = &tls.ca {
        let pem = read("tls.ca", path).await?;
        material.roots = Some(Arc::new(roots(path, &pem)?));
        material.ca_pem = Some(pem);
    }
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        let (cert_pem, key_pem) = (read("tls.cert", cert).await?, read("tls.key", key).await?);
        identity((cert, &cert_pem), (key, &key_pem))?;
        material.identity_pem = Some((cert_pem, key_pem));
    }
    Ok(material)
}

/// What is wrong with the files of `tls` right now: for a check before anything is started. Blocks.
pub fn file_problems(tls: &TlsConfig) -> Vec<EtcdError> {
    let read = |key: &'static str, path: &Path| {
        std::fs::read(path).map_err(|error| bad(key, path, format!("cannot be read: {error}")))
    };
    let trust = tls.ca.as_deref().map(|path| roots(path, &read("tls.ca", path)?).map(drop));
    let files = tls.cert.as_deref().zip(tls.key.as_deref());
    let own = files.map(|(cert, key)| {
        let (cert_pem, key_pem) = (read("tls.cert", cert)?, read("tls.key", key)?);
        identity((cert, &cert_pem), (key, &key_pem))
    });
    [trust, own].into_iter().flatten().filter_map(Result::err).collect()
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, EtcdError> {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| bad("tls.ca", path, format!("is no valid PEM: {error}")))?;
        roots.add(der).map_err(|_| bad("tls.ca", path, "holds a certificate that cannot be parsed"))?;
    }
    if roots.is_empty() {
        return Err(bad("tls.ca", path, "holds no PEM certificate"));
    }
    Ok(roots)
}

/// The client certificate and its key, each with its path.
fn identity(cert: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<(), EtcdError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(cert.1).flatten().collect();
    if chain.is_empty() {
        return Err(bad("tls.cert", cert.0, "holds no PEM certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(key.1)
        .map_err(|_| bad("tls.key", key.0, "holds no unencrypted PEM private key"))?;
    CertifiedKey::from_der(chain, private, &provider()).map(drop).map_err(|error| match error {
        rustls::Error::InvalidCertificate(_) => {
            bad("tls.cert", cert.0, "holds a certificate that cannot be parsed")
        }
        rustls::Error::InconsistentKeys(_) => {
            bad("tls.key", key.0, format!("is not the key of the certificate {}", cert.0.display()))
        }
        _ => bad("tls.key", key.0, "holds a private key that cannot be parsed"),
    })
}

impl Material {
    /// TLS as the system trusts it, without a client certificate.
    pub(super) fn system() -> Self {
        Self { ca_pem: None, identity_pem: None, roots: None, insecure: false, server_name: None }
    }

    pub(super) fn apply(
        &self,
        endpoint: tonic::transport::Endpoint,
    ) -> Result<tonic::transport::Endpoint, tonic::transport::Error> {
        let mut config = tonic::transport::ClientTlsConfig::new();
        // The lenient verifier replaces all roots; tonic refuses to be given both.
        config = match &self.ca_pem {
            _ if self.insecure => config,
            Some(pem) => config.ca_certificate(tonic::transport::Certificate::from_pem(pem)),
            None => config.with_native_roots(),
        };
        if let Some((cert, key)) = &self.identity_pem {
            config = config.identity(tonic::transport::Identity::from_pem(cert, key));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        if self.insecure {
            return endpoint.tls_config_with_verifier(config, Arc::new(Lenient::any()));
        }
        endpoint.tls_config(config)
    }

    /// The same trust for `/metrics` and `/health`.
    pub(super) fn apply_http(
        &self,
        builder: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, String> {
        let mut config = self.trusting()?;
        // One server; the default makes room for 256 sessions of each member.
        config.resumption = Resumption::in_memory_sessions(4);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(builder.tls_backend_preconfigured(config))
    }

    /// The same trust for a connection that speaks HTTP/2 only.
    pub(super) fn http2(&self) -> Result<Arc<rustls::ClientConfig>, String> {
        let mut config = self.trusting()?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn trusting(&self) -> Result<rustls::ClientConfig, String> {
        let verifier = if self.insecure {
            Lenient::any()
        } else {
            let roots = self.roots.as_ref().unwrap_or(&SYSTEM_ROOTS);
            Lenient::named(Arc::clone(roots), self.server_name.as_deref())?
        };
        self.watching(Arc::new(verifier))
    }

    /// A client that shows our certificate, if there is one, and leaves the server's to `verifier`.
    pub(super) fn watching(
        &self,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<rustls::ClientConfig, String> {
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match &self.identity_pem {
            None => Ok(config.with_no_client_auth()),
            Some((cert, key)) => {
                let chain = CertificateDer::pem_slice_iter(cert).flatten().collect();
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| e.to_string())?;
                config.with_client_auth_cert(chain, key).map_err(|e| e.to_string())
            }
        }
    }
}

/// What the system trusts, read once for all members. A system without certificates trusts nobody.
static SYSTEM_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    // One file that cannot be read leaves the others; a server that needs it is refused as unknown.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Verifies against given roots under a given name, or trusts anything (`insecure-skip-verify`).
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    trust: Trust,
    name: Option<ServerName<'static>>,
}

#[derive(Debug)]
enum Trust {
    Anything,
    /// There are no roots; a plain URL needs none.
    Nothing,
    Roots(Arc<WebPkiServerVerifier>),
}

impl Lenient {
    fn any() -> Self {
        Self { provider: provider(), trust: Trust::Anything, name: None }
    }

    fn named(roots: Arc<RootCertStore>, name: Option<&str>) -> Result<Self, String> {
        let name = name.map(|n| ServerName::try_from(n.to_owned())).transpose().map_err(|e| e.to_string())?;
        let trust = if roots.is_empty() {
            Trust::Nothing
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
            Trust::Roots(verifier.map_err(|e| e.to_string())?)
        };
        Ok(Self { provider: provider(), trust, name })
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.name.as_ref().unwrap_or(server_name);
        match &self.trust {
            Trust::Anything => Ok(ServerCertVerified::assertion()),
            Trust::Nothing => Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)),
            Trust::Roots(roots) => {
                roots.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
