//! TLS for the API server's listener and for its calls to nodes' agents.
//!
//! TLS 1.2 and 1.3, ring. A client that shows no certificate gets through the handshake, because its answer is an
//! HTTP 401; one that shows a certificate of another CA, or one that has ended, gets a TLS alert.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;

use super::{AuthorityError, Identity, Pki};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the identity cannot be used")]
    Identity(#[source] AuthorityError),
    #[error("the CA cannot be trusted")]
    Ca(#[source] rustls::Error),
    #[error("clients' certificates cannot be checked")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    #[error("TLS cannot be set up")]
    Config(#[source] rustls::Error),
}

impl Pki {
    /// For the API server's listener.
    pub fn server_tls(&self) -> Result<Arc<ServerConfig>, TlsError> {
        server_config(self.authority().certificate(), &self.server)
    }

    /// For calls from the API server to nodes' agents. HTTP/1.1 only, because exec and the like upgrade.
    pub fn node_tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = client_config(self.authority().certificate(), &self.kubelet_client)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Serves `identity`, and takes clients' certificates of this CA.
pub fn server_config(ca: &CertificateDer<'_>, identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    let (certificate, key) = (identity.certificate(), identity.key());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.map_err(TlsError::Identity)?], key.map_err(TlsError::Identity)?)
        .map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Shows `identity`, and trusts servers of this CA only.
pub fn client_config(ca: &CertificateDer<'_>, identity: &Identity) -> Result<ClientConfig, TlsError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .with_root_certificates(roots(ca)?)
        .with_client_auth_cert(
            vec![identity.certificate().map_err(TlsError::Identity)?],
            identity.key().map_err(TlsError::Identity)?,
        )
        .map_err(TlsError::Config)
}

fn roots(ca: &CertificateDer<'_>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned()).map_err(TlsError::Ca)?;
    Ok(roots)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
