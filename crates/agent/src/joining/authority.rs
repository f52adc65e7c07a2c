//! Finding a cluster's CA by the hash of its key, before anything is trusted.
//!
//! The server's chain is looked at in a handshake in which nothing is sent: an everynode server shows its CA at the
//! end of it. A server that shows none (a kubeadm cluster) is asked for `kube-public/cluster-info` without credentials.
//! Whatever comes is believed only if its key has the hash. Upstream: kubeadm's `--discovery-token-ca-cert-hash`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{JoinError, material};

/// For connecting and shaking hands.
const CONNECT_SECONDS: u64 = 10;
const PORT_DEFAULT: u16 = 6443;

/// `sha256:` and the hash of a CA's public key, as kubeadm writes it.
#[derive(Clone, PartialEq, Eq)]
pub struct CaHash([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the hash of a CA: it looks like sha256: and 64 hexadecimal digits")]
pub struct CaHashError(String);

impl CaHash {
    /// Of a certificate in PEM.
    pub fn of_pem(pem: &str) -> Result<CaHash, JoinError> {
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(material("CA certificate"))?;
        CaHash::of(&certificate).ok_or_else(|| material("CA certificate")("it is not a certificate"))
    }

    fn of(certificate: &CertificateDer<'_>) -> Option<CaHash> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(CaHash(Sha256::digest(parsed.public_key().raw).into()))
    }
}

impl FromStr for CaHash {
    type Err = CaHashError;

    fn from_str(text: &str) -> Result<CaHash, CaHashError> {
        let refused = || CaHashError(text.to_owned());
        let digits = text.strip_prefix("sha256:").ok_or_else(refused)?;
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused());
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refused())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
        }
        Ok(CaHash(hash))
    }
}

impl fmt::Display for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", crate::pause::hex(&self.0))
    }
}

impl fmt::Debug for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The PEM text of the CA of this server whose key has one of the hashes.
pub async fn find_ca(server: &str, hashes: &[CaHash]) -> Result<String, JoinError> {
    let uri: Uri = server.parse().map_err(|_| JoinError::Server(server.to_owned()))?;
    let (Some("https"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(JoinError::Server(server.to_owned()));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let chain = shown_by(host, uri.port_u16().unwrap_or(PORT_DEFAULT)).await;
    let chain = chain.map_err(|source| JoinError::Connect { server: server.to_owned(), source })?;
    let mut shown = Vec::new();
    for certificate in &chain {
        match CaHash::of(certificate) {
            Some(hash) if hashes.contains(&hash) => return Ok(pem(certificate)),
            Some(hash) => shown.push(hash.to_string()),
            None => {}
        }
    }
    if let Some(found) = published(&uri).await
        && let Ok(hash) = CaHash::of_pem(&found)
    {
        if hashes.contains(&hash) {
            return Ok(found);
        }
        shown.push(hash.to_string());
    }
    let wanted: Vec<String> = hashes.iter().map(ToString::to_string).collect();
    Err(JoinError::Hash { server: server.to_owned(), wanted: wanted.join(" or "), shown: shown.join(", ") })
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// The certificates that a server shows. Nothing is sent to it after the handshake.
async fn shown_by(host: &str, port: u16) -> std::io::Result<Vec<CertificateDer<'static>>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Onlooker(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    let look = async {
        let stream = TcpStream::connect((host, port)).await?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        Ok(chain.iter().map(|certificate| certificate.clone().into_owned()).collect())
    };
    tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS), look)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Looks at a server's certificate and trusts nothing: its connection carries no data.
#[derive(Debug)]
struct Onlooker(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Onlooker {
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The CA in `cluster-info`, which kubeadm publishes for everyone. Asked without credentials, over a connection that
/// is not trusted: the hash decides.
async fn published(server: &Uri) -> Option<String> {
    let mut config = kube::Config::new(server.clone());
    config.accept_invalid_certs = true;
    config.default_retry = false;
    let client = kube::Client::try_from(config).ok()?;
    let maps: Api<ConfigMap> = Api::namespaced(client, "kube-public");
    let asked = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS), maps.get("cluster-info")).await;
    let text = asked.ok()?.ok()?.data?.remove("kubeconfig")?;
    let file = kube::config::Kubeconfig::from_yaml(&text).ok()?;
    let encoded = file.clusters.into_iter().next()?.cluster?.certificate_authority_data?;
    String::from_utf8(STANDARD.decode(encoded).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::ServerConfig;
    use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server that shows this chain; its URL.
    async fn server(with_ca: bool) -> (String, String) {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.clone().self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(with_ca.then(|| ca.der().clone()));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        // Whoever asks for more than the certificates gets no answer that helps.
                        use tokio::io::AsyncWriteExt;
                        let _ =
                            stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        (url, ca.pem())
    }

    #[tokio::test]
    async fn a_ca_is_taken_for_its_hash_alone() {
        let (url, ca) = server(true).await;
        let hash = CaHash::of_pem(&ca).unwrap();
        let found = find_ca(&url, std::slice::from_ref(&hash)).await.unwrap();
        assert_eq!(CaHash::of_pem(&found).unwrap(), hash);
        let (other, _) = server(true).await;
        let error = find_ca(&other, std::slice::from_ref(&hash)).await.unwrap_err().to_string();
        assert!(error.contains(&format!("no certificate authority with the hash {hash}")), "{error}");
        let (bare, _) = server(false).await;
        assert!(matches!(find_ca(&bare, &[hash]).await, Err(JoinError::Hash { .. })));
    }

    #[test]
    fn hashes_are_written_as_kubeadm_writes_them() {
        let text = format!("sha256:{}", "0aF".repeat(21) + "b");
        assert_eq!(text.parse::<CaHash>().unwrap().to_string(), text.to_lowercase());
        for wrong in ["", "sha256:", "sha1:00", "sha256:zz", &text[..70]] {
            assert!(wrong.parse::<CaHash>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn what_is_no_server_is_said_to_be_none() {
        for text in ["", "example:6443", "http://example:6443"] {
            assert!(matches!(find_ca(text, &[]).await, Err(JoinError::Server(_))), "{text}");
        }
    }
}
