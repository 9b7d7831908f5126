//! Certificates for tests: a CA, a server, a client, and the ones that must be refused.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// PEM files of one CA and what it signed, and the CA of somebody else.
pub struct Authority {
    pub ca: PathBuf,
    pub other_ca: PathBuf,
    pub server_cert: PathBuf,
    pub server_key: PathBuf,
    pub client_cert: PathBuf,
    pub client_key: PathBuf,
    /// For 127.0.0.1, out of date since 2001.
    pub expired_cert: PathBuf,
    pub expired_key: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Self {
        let issuer = issuer("test ca");
        let ca = write(folder, "ca.pem", &issuer.pem());
        let other_ca = write(folder, "other-ca.pem", &self::issuer("another ca").pem());
        let leaf = |name: &str, usage, expired: bool| {
            let key = KeyPair::generate().expect("a key");
            let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
            let mut params = CertificateParams::new(names).expect("parameters");
            // No common name: etcd takes a client certificate's one for a user name.
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.extended_key_usages = vec![usage];
            if expired {
                params.not_before = rcgen::date_time_ymd(2000, 1, 1);
                params.not_after = rcgen::date_time_ymd(2001, 1, 1);
            }
            let cert = params.signed_by(&key, &issuer).expect("signed");
            (
                write(folder, &format!("{name}.pem"), &cert.pem()),
                write(folder, &format!("{name}.key"), &key.serialize_pem()),
            )
        };
        let (server_cert, server_key) = leaf("server", ExtendedKeyUsagePurpose::ServerAuth, false);
        let (client_cert, client_key) = leaf("client", ExtendedKeyUsagePurpose::ClientAuth, false);
        let (expired_cert, expired_key) = leaf("expired", ExtendedKeyUsagePurpose::ServerAuth, true);
        Self { ca, other_ca, server_cert, server_key, client_cert, client_key, expired_cert, expired_key }
    }
}

fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("self-signed")
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("written");
    path
}
