//! Connections to one member, in the clear or with TLS. tonic asks for one when it needs one.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Member;

/// For the connection and its TLS handshake together; the other members are waiting for their turn.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Files of certificates and keys, as PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whom we trust.
    pub ca: Option<PathBuf>,
    /// Who we are; etcd may ask for it.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("an etcds:// store needs the CA that signed etcd's certificates")]
    NoCa,
    #[error("a certificate for etcd and its key belong together: one of them is missing")]
    HalfAnIdentity,
    #[error("{} cannot be read", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: pem::Error,
    },
    #[error("TLS to etcd cannot be set up")]
    Config(#[source] rustls::Error),
}

/// How to speak TLS.
#[derive(Clone)]
pub struct Tls(TlsConnector);

impl Tls {
    pub fn read(files: &TlsFiles) -> Result<Tls, TlsError> {
        let ca = files.ca.as_deref().ok_or(TlsError::NoCa)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(TlsError::Config)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Config)?
            .with_root_certificates(roots);
        let mut config = match (files.certificate.as_deref(), files.key.as_deref()) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let unreadable = |source| TlsError::File { path: key.to_owned(), source };
                let key = PrivateKeyDer::from_pem_file(key).map_err(unreadable)?;
                builder.with_client_auth_cert(certificates(certificate)?, key).map_err(TlsError::Config)?
            }
            _ => return Err(TlsError::HalfAnIdentity),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Tls(TlsConnector::from(Arc::new(config))))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::File { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)
}

/// Bytes both ways.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Dials one member, whatever address it is asked for.
#[derive(Clone)]
pub struct Dialer {
    host: String,
    port: u16,
    tls: Option<Tls>,
}

impl Dialer {
    pub fn new(member: &Member, tls: Option<Tls>) -> Dialer {
        Dialer { host: member.host.clone(), port: member.port, tls }
    }

    async fn dial(self) -> io::Result<TokioIo<Box<dyn Wire>>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let wire: Box<dyn Wire> = match self.tls {
            None => Box::new(tcp),
            Some(Tls(connector)) => {
                let name = ServerName::try_from(self.host).map_err(|error: InvalidDnsNameError| {
                    io::Error::new(io::ErrorKind::InvalidInput, error)
                })?;
                Box::new(connector.connect(name, tcp).await?)
            }
        };
        Ok(TokioIo::new(wire))
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<Box<dyn Wire>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone().dial();
        Box::pin(async move {
            tokio::time::timeout(DIAL_TIMEOUT, dial)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}
