//! Where a request is passed on to, and the connection to it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::NodeProxyError;
use crate::keep_alive;

/// Time to reach an agent or a Pod, TLS included: what is up answers in milliseconds, and a person waits.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Where somebody listens: for an agent the node's InternalIP and `status.daemonEndpoints.kubeletEndpoint.Port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAddress {
    /// An IP address or a name; an agent's certificate must be valid for it.
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// An agent: TLS with the server's kubelet-client certificate.
    Agent,
    /// An agent whose certificate the client of the API does not want checked.
    AgentUnchecked,
    Http,
    /// TLS to whatever answers, without a certificate: upstream checks none on its way to Pods either.
    Https,
}

/// Whom a request is passed on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub address: NodeAddress,
    pub transport: Transport,
}

impl Backend {
    pub fn agent(address: NodeAddress) -> Backend {
        Backend { address, transport: Transport::Agent }
    }
}

/// A connection, whatever it is made of.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Dialer {
    agent: TlsConnector,
    agent_unchecked: TlsConnector,
    anybody: TlsConnector,
}

impl Dialer {
    pub fn new(agent: Arc<ClientConfig>) -> Dialer {
        let mut unchecked = ClientConfig::clone(&agent);
        unchecked.dangerous().set_certificate_verifier(Arc::new(Unchecked(ring::default_provider())));
        let mut anybody = unchecked.clone();
        anybody.client_auth_cert_resolver = Arc::new(NoCertificate);
        Dialer {
            agent: TlsConnector::from(agent),
            agent_unchecked: TlsConnector::from(Arc::new(unchecked)),
            anybody: TlsConnector::from(Arc::new(anybody)),
        }
    }

    pub async fn dial(&self, to: &Backend) -> Result<Box<dyn Connection>, NodeProxyError> {
        match tokio::time::timeout(DIAL_TIMEOUT, self.connect(to)).await {
            Ok(dialled) => dialled,
            Err(_) => {
                let source = io::Error::from(io::ErrorKind::TimedOut);
                Err(NodeProxyError::Dial { address: to.address.clone(), source })
            }
        }
    }

    async fn connect(&self, to: &Backend) -> Result<Box<dyn Connection>, NodeProxyError> {
        let address = &to.address;
        let stream = TcpStream::connect((address.host.as_str(), address.port))
            .await
            .map_err(|source| NodeProxyError::Dial { address: address.clone(), source })?;
        keep_alive::set(&stream);
        let tls = match to.transport {
            Transport::Http => return Ok(Box::new(stream)),
            Transport::Agent => &self.agent,
            Transport::AgentUnchecked => &self.agent_unchecked,
            Transport::Https => &self.anybody,
        };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| NodeProxyError::Address(address.clone()))?;
        let stream = tls
            .connect(name, stream)
            .await
            .map_err(|source| NodeProxyError::Tls { address: address.clone(), source })?;
        Ok(Box::new(stream))
    }
}

/// An I/O error as Go's net package words it, which is what people search for.
pub(super) fn in_gos_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => error.to_string(),
    }
}

/// Shows no certificate: the server's own is for agents only.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Takes every certificate, and still checks that whoever shows it has its key.
#[derive(Debug)]
struct Unchecked(CryptoProvider);

impl ServerCertVerifier for Unchecked {
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
