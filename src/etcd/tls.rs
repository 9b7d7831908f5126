//! TLS material from PEM files, read again when a file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::config::TlsConfig;
use super::error::EtcdError;
use crate::model::ErrorKind;

/// Makes ring the process' TLS provider. Safe to call again.
pub fn install_crypto_provider() {
    // An error means that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The files' content, and when they were last written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsMaterial {
    ca: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    written: Vec<Option<SystemTime>>,
}

impl TlsMaterial {
    /// Reads the files that `config` names.
    ///
    /// # Errors
    /// (key, message) of every file that cannot be read or holds no PEM of its kind.
    pub fn read(config: &TlsConfig) -> Result<Self, Vec<(&'static str, String)>> {
        let mut problems = Vec::new();
        let mut file = |key, path: &Option<PathBuf>, label: &str| {
            let path = path.as_ref()?;
            read_pem(path, label).map_err(|message| problems.push((key, message))).ok()
        };
        let ca = file("tls.ca", &config.ca, "CERTIFICATE");
        let cert = file("tls.cert", &config.cert, "CERTIFICATE");
        let key = file("tls.key", &config.key, "PRIVATE KEY");
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { ca, identity: cert.zip(key), written: written(config) })
    }

    /// Whether a file changed since it was read.
    pub fn is_outdated(&self, config: &TlsConfig) -> bool {
        written(config) != self.written
    }

    /// The endpoint with this TLS.
    pub(super) fn apply(
        &self,
        endpoint: Endpoint,
        url: &str,
        config: &TlsConfig,
    ) -> Result<Endpoint, EtcdError> {
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let Some((cert, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(cert, key));
        }
        if let Some(name) = &config.server_name {
            tls = tls.domain_name(name);
        }
        let applied = if config.insecure_skip_verify {
            let verifier = Arc::new(AcceptAny(Arc::new(rustls::crypto::ring::default_provider())));
            endpoint.tls_config_with_verifier(tls, verifier)
        } else {
            endpoint.tls_config(tls)
        };
        applied.map_err(|error| EtcdError::new(url, "connect", ErrorKind::Tls, super::error::chain(&error)))
    }

    /// The HTTP client's builder with this TLS.
    pub(super) fn apply_http(
        &self,
        mut builder: reqwest::ClientBuilder,
        config: &TlsConfig,
    ) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        if let Some(pem) = &self.ca {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?);
        }
        if let Some((cert, key)) = &self.identity {
            let both = [cert.as_slice(), b"\n", key.as_slice()].concat();
            builder = builder.identity(reqwest::Identity::from_pem(&both)?);
        }
        Ok(builder.tls_danger_accept_invalid_certs(config.insecure_skip_verify))
    }
}

fn read_pem(path: &Path, label: &str) -> Result<Vec<u8>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let has = text.lines().any(|line| line.starts_with("-----BEGIN ") && line.contains(label));
    if has { Ok(bytes) } else { Err(format!("{} holds no PEM {label}", path.display())) }
}

fn written(config: &TlsConfig) -> Vec<Option<SystemTime>> {
    let files = [&config.ca, &config.cert, &config.key];
    files.map(|path| path.as_ref().and_then(|path| std::fs::metadata(path).ok()?.modified().ok())).to_vec()
}

/// `insecure-skip-verify`: any certificate will do, signatures of the handshake are still checked.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
