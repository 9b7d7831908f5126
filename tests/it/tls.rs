//! A private CA with the certificates that TLS tests need, as PEM files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

pub struct Pki {
    pub ca: PathBuf,
    /// A CA that signed nothing.
    pub other_ca: PathBuf,
    /// For 127.0.0.1 and localhost.
    pub server_cert: PathBuf,
    pub server_key: PathBuf,
    pub expired_cert: PathBuf,
    pub expired_key: PathBuf,
    /// What may take the place of `server_cert`.
    pub next_cert: PathBuf,
    pub next_key: PathBuf,
    pub client_cert: PathBuf,
    pub client_key: PathBuf,
}

impl Pki {
    /// Writes everything into `dir`.
    pub fn new(dir: &Path) -> Self {
        let (ca, issuer) = authority("it CA");
        let (other, _) = authority("other CA");
        let (server_cert, server_key) = leaf(&issuer, "server", false);
        let (expired_cert, expired_key) = leaf(&issuer, "server", true);
        let (next_cert, next_key) = leaf(&issuer, "server", false);
        let (client_cert, client_key) = leaf(&issuer, "client", false);
        let write = |name: &str, pem: String| {
            let path = dir.join(name);
            std::fs::write(&path, pem).expect("PEM file");
            path
        };
        Self {
            ca: write("ca.pem", ca),
            other_ca: write("other-ca.pem", other),
            server_cert: write("server.pem", server_cert),
            server_key: write("server-key.pem", server_key),
            expired_cert: write("expired.pem", expired_cert),
            expired_key: write("expired-key.pem", expired_key),
            next_cert: write("next.pem", next_cert),
            next_key: write("next-key.pem", next_key),
            client_cert: write("client.pem", client_cert),
            client_key: write("client-key.pem", client_key),
        }
    }
}

impl Pki {
    /// Servers that look at their files anew show this certificate from now on.
    pub fn replace_server(&self, cert: &Path, key: &Path) {
        std::fs::copy(cert, &self.server_cert).expect("copied");
        std::fs::copy(key, &self.server_key).expect("copied");
    }
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.self_signed(&key).expect("CA").pem();
    (pem, Issuer::new(params, key))
}

fn leaf(issuer: &Issuer<'static, KeyPair>, name: &str, expired: bool) -> (String, String) {
    let key = KeyPair::generate().expect("key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).expect("params");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    if expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }
    let pem = params.signed_by(&key, issuer).expect("certificate").pem();
    (pem, key.serialize_pem())
}
