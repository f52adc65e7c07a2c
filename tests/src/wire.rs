//! Bytes over TLS: for clients that no library would be, silent, slow or wrong.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::Machine;

/// More than any answer that a test reads.
const REPLY_BYTES_MAX: u64 = 1 << 20;

/// Who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// With the administrator's certificate.
    Admin,
    /// Without any.
    Nobody,
}

/// The way to one server.
#[derive(Clone)]
pub struct Wire {
    pub address: SocketAddr,
    connector: TlsConnector,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub code: u16,
    pub body: String,
}

impl Reply {
    fn parse(text: &str) -> Option<Reply> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let code = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Reply { code, body: body.to_owned() })
    }

    /// `404 NotFound: pods "a" not found`.
    pub fn said(&self) -> String {
        let status: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let text = |field: &str| status[field].as_str().unwrap_or("-").to_owned();
        format!("{} {}: {}", self.code, text("reason"), text("message"))
    }
}

impl Wire {
    pub fn new(machine: &Machine, who: As) -> Wire {
        let text = std::fs::read_to_string(machine.kubeconfig()).expect("the kubeconfig");
        let mut roots = RootCertStore::empty();
        let authority = pem(&text, "certificate-authority-data");
        roots.add(CertificateDer::from_pem_slice(&authority).expect("a certificate")).expect("a root");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match who {
            As::Nobody => builder.with_no_client_auth(),
            As::Admin => {
                let certificate = CertificateDer::from_pem_slice(&pem(&text, "client-certificate-data"));
                let key = PrivateKeyDer::from_pem_slice(&pem(&text, "client-key-data"));
                let certificate = certificate.expect("a certificate");
                builder.with_client_auth_cert(vec![certificate], key.expect("a key")).expect("an identity")
            }
        };
        let address = SocketAddr::from(([127, 0, 0, 1], machine.port));
        Wire { address, connector: TlsConnector::from(Arc::new(config)) }
    }

    pub async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(self.address.ip().into());
        self.connector.connect(name, stream).await
    }

    /// One request on a connection of its own; `body` is only begun if the server does not want all of it.
    pub async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> std::io::Result<Reply> {
        let mut stream = self.connect().await?;
        let length = match headers.to_ascii_lowercase().contains("transfer-encoding") {
            true => String::new(),
            false => format!("content-length: {}\r\n", body.len()),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: everynode\r\nconnection: close\r\n{length}{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let (reading, mut writing) = tokio::io::split(stream);
        // The server may answer and close before it has read everything.
        let (_, reply) = tokio::join!(
            async {
                writing.write_all(body).await?;
                writing.flush().await
            },
            reply(reading)
        );
        reply
    }
}

/// Everything up to the end of the connection, as an answer.
pub async fn reply(reading: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<Reply> {
    let mut read = Vec::new();
    // A connection that is reset after the answer is still answered.
    let ended = reading.take(REPLY_BYTES_MAX).read_to_end(&mut read).await;
    match Reply::parse(&String::from_utf8_lossy(&read)) {
        Some(reply) => Ok(reply),
        None => {
            ended?;
            Err(std::io::Error::other(format!("no answer but {:?}", String::from_utf8_lossy(&read))))
        }
    }
}

/// A PEM in a kubeconfig.
fn pem(kubeconfig: &str, field: &str) -> Vec<u8> {
    let line = kubeconfig.lines().find_map(|line| line.trim().strip_prefix(field)?.strip_prefix(':'));
    let encoded = line.unwrap_or_else(|| panic!("no {field}")).trim().trim_matches('"');
    base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64")
}
