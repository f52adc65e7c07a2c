//! TLS for the API server's listener and for its calls to nodes' agents.
//!
//! TLS 1.2 and 1.3, ring. Whoever shows no certificate, or one of another CA, or one that has ended, gets through the
//! handshake as at upstream, because the answer is an HTTP 401 that says what a TLS alert cannot. [`ServerTls::peer`] tells
//! them apart; that a client has the key of the certificate that it shows is checked in the handshake, always.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

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
    pub fn server_tls(&self) -> Result<ServerTls, TlsError> {
        let clients = client_verifier(self.authority().certificate())?;
        let any = Arc::new(AnyClient { clients: Arc::clone(&clients) });
        // Who joins by the CA's hash finds the CA at the end of the chain.
        let ca = self.authority().certificate().clone();
        Ok(ServerTls { config: config(&self.server, vec![ca], any)?, clients })
    }

    /// For calls from the API server to nodes' agents. HTTP/1.1 only, because exec and the like upgrade.
    pub fn node_tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut config = client_config(self.authority().certificate(), &self.kubelet_client)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// How the API server's listener talks, and whose certificates count.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pub config: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Peer {
    /// Showed no certificate.
    Nameless,
    /// Showed one of the cluster's CA that holds now.
    Known(CertificateDer<'static>),
    /// Showed another one.
    Stranger(rustls::Error),
}

impl ServerTls {
    /// Judges the chain that a client has shown.
    pub fn peer(&self, shown: Option<&[CertificateDer<'_>]>, now: UnixTime) -> Peer {
        let Some((own, between)) = shown.and_then(<[_]>::split_first) else { return Peer::Nameless };
        match self.clients.verify_client_cert(own, between, now) {
            Ok(_) => Peer::Known(own.clone().into_owned()),
            Err(why) => Peer::Stranger(why),
        }
    }
}

/// Takes every certificate whose key the client has; whose it is, is judged after the handshake.
#[derive(Debug)]
struct AnyClient {
    clients: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

fn client_verifier(ca: &CertificateDer<'_>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)
}

/// Serves `identity`, and takes clients' certificates of this CA only.
pub fn server_config(ca: &CertificateDer<'_>, identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    config(identity, Vec::new(), client_verifier(ca)?)
}

fn config(
    identity: &Identity,
    above: Vec<CertificateDer<'static>>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = (identity.certificate().map_err(TlsError::Identity)?, identity.key());
    let chain = std::iter::once(certificate).chain(above).collect();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key.map_err(TlsError::Identity)?)
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
