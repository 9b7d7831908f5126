//! The certificate that a port serves, seen in a handshake and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{EtcdError, TlsConfig, tls};
use crate::model::{ErrorKind, Instance, chain};

/// What the errors call it.
const CALL: &str = "certificate";

/// The chain, leaf first, as DER, that the port at `address` serves. No trust is asked of it, so an expired or
/// foreign one is seen, too; the connection is closed before anything is sent. `identity` is shown where the
/// server demands a client certificate; that it is refused does not matter.
///
/// # Errors
/// When nobody listens there, it speaks no TLS, or `timeout` is over.
pub async fn served_certificates(
    address: &Instance,
    identity: Option<&TlsConfig>,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, EtcdError> {
    let failed = |kind: ErrorKind, message: String| EtcdError::Call {
        endpoint: format!("https://{address}"),
        call: CALL,
        kind,
        message,
        source: None,
    };
    let material = match identity {
        Some(config) => tls::load(config).await?,
        None => tls::Material::system(),
    };
    let seen = Arc::new(Seen::default());
    let config = material.watching(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>);
    let config = config.map_err(|problem| failed(ErrorKind::Tls, problem))?;
    let host = address.host().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| failed(ErrorKind::Tls, error.to_string()))?;
    let handshake = async {
        let stream = TcpStream::connect(address.as_str()).await;
        let stream = stream.map_err(|error| failed(ErrorKind::Unreachable, error.to_string()))?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        connected.map_err(|error| failed(ErrorKind::Tls, chain(&error)))
    };
    let outcome = tokio::time::timeout(timeout, handshake).await;
    let certificates = std::mem::take(&mut *seen.chain.lock().unwrap_or_else(PoisonError::into_inner));
    match outcome {
        // A server may refuse us after it showed what we came for.
        _ if !certificates.is_empty() => Ok(certificates),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) => Err(failed(ErrorKind::Tls, "the server showed no certificate".to_owned())),
        Err(_) => Err(EtcdError::timeout(&format!("https://{address}"), CALL, timeout)),
    }
}

/// Accepts whatever it is shown, and keeps it.
#[derive(Debug, Default)]
struct Seen {
    chain: Mutex<Vec<Vec<u8>>>,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(|der| der.to_vec()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    // Whose key it is does not matter to a certificate's date.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
