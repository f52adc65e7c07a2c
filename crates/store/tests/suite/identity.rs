//! Certificates for an etcd that speaks TLS and for its clients.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use store::etcd::TlsFiles;
use tempfile::TempDir;

pub struct Identities {
    dir: TempDir,
}

impl Identities {
    pub fn new() -> Identities {
        let identities = Identities { dir: tempfile::tempdir().unwrap() };
        let ca = authority();
        identities.write("ca.crt", &ca.0);
        identities.write("another-ca.crt", &authority().0);
        for (name, purpose) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
            // etcd's own gateway dials with the server's certificate.
            params.extended_key_usages = vec![purpose, ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&key, &ca.1).unwrap();
            identities.write(&format!("{name}.crt"), &certificate.pem());
            identities.write(&format!("{name}.key"), &key.serialize_pem());
        }
        identities
    }

    pub fn etcd_options(&self) -> [String; 7] {
        let path = |name: &str| self.path(name).display().to_string();
        [
            "--cert-file".to_owned(),
            path("server.crt"),
            "--key-file".to_owned(),
            path("server.key"),
            "--client-cert-auth".to_owned(),
            "--trusted-ca-file".to_owned(),
            path("ca.crt"),
        ]
    }

    pub fn client(&self) -> TlsFiles {
        TlsFiles {
            certificate: Some(self.path("client.crt")),
            key: Some(self.path("client.key")),
            ..self.client_without_certificate()
        }
    }

    pub fn client_without_certificate(&self) -> TlsFiles {
        TlsFiles { ca: Some(self.path("ca.crt")), ..TlsFiles::default() }
    }

    pub fn client_that_trusts_another_ca(&self) -> TlsFiles {
        TlsFiles { ca: Some(self.path("another-ca.crt")), ..self.client() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).unwrap();
    }
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}
