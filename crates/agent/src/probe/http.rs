//! An HTTP request as a probe or hook makes it: GET, no redirects to other hosts, certificates not checked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{HTTPGetAction, Pod};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;

/// Upstream follows this many redirects on one host.
const REDIRECTS_MAX: usize = 10;
/// No more of an answer is read: only its status counts.
const BODY_BYTES_MAX: usize = 10 * 1024;

/// Where to ask.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    https: bool,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// A redirect to another host, which is not followed.
    pub leaves_host: bool,
}

impl HttpTarget {
    pub fn of(get: &HTTPGetAction, pod: &Pod, container: &str, pod_ip: &str) -> Result<HttpTarget, String> {
        let path = get.path.clone().unwrap_or_default();
        Ok(HttpTarget {
            https: get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: get.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_ip.to_owned()),
            port: super::port(&get.port, pod, container)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: get
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Asks, at most for `limit`. An error is a text for people.
pub async fn http_get(target: &HttpTarget, limit: Duration) -> Result<Answer, String> {
    let scheme = if target.https { "https" } else { "http" };
    let shown = format!("Get \"{scheme}://{}{}\"", target.authority(), target.path);
    match tokio::time::timeout(limit, follow(target)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{shown}: {error}")),
        Err(_) => Err(format!(
            "{shown}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn follow(target: &HttpTarget) -> Result<Answer, String> {
    let mut target = target.clone();
    for _ in 0..REDIRECTS_MAX {
        let (status, location) = ask(&target).await?;
        let Some(location) = location.filter(|_| (300..400).contains(&status)) else {
            return Ok(Answer { status, leaves_host: false });
        };
        let Ok(next) = location.parse::<Uri>() else { return Ok(Answer { status, leaves_host: false }) };
        if let Some(host) = next.host() {
            if host.trim_matches(['[', ']']) != target.host {
                return Ok(Answer { status, leaves_host: true });
            }
            target.https = next.scheme_str() == Some("https");
            target.port = next.port_u16().unwrap_or(if target.https { 443 } else { 80 });
        }
        target.path = next.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    }
    Err(format!("stopped after {REDIRECTS_MAX} redirects"))
}

async fn ask(target: &HttpTarget) -> Result<(u16, Option<String>), String> {
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .map_err(|error| format!("dial tcp {}: {error}", target.authority()))?;
    if !target.https {
        return exchange(stream, target).await;
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    exchange(stream, target).await
}

async fn exchange<S>(stream: S, target: &HttpTarget) -> Result<(u16, Option<String>), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut request = Request::get(&target.path)
        .header(http::header::HOST, target.authority())
        .header(http::header::USER_AGENT, "kube-probe/1.35")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close");
    for (name, value) in &target.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
            return Err(format!("invalid header {name:?}"));
        };
        if let Some(headers) = request.headers_mut() {
            headers.insert(name, value);
        }
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let location = response.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(str::to_owned);
        let mut body = response.into_body();
        let mut read = 0;
        // A server that is cut off in the middle of its answer may log an error, so some of it is read.
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read >= BODY_BYTES_MAX {
                break;
            }
        }
        Ok((status, location))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        // The connection is driven here and needed no longer than the answer.
        answer = &mut exchange => answer,
        // It may have brought the answer with its last bytes; if not, the exchange says so.
        _ = connection => exchange.await,
    }
}

/// Probes check that something answers, not who.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
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
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn server(answer: &'static str) -> HttpTarget {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        HttpTarget {
            https: false,
            host: "127.0.0.1".to_owned(),
            port,
            path: "/".to_owned(),
            headers: vec![("X-Test".to_owned(), "1".to_owned())],
        }
    }

    #[tokio::test]
    async fn status_is_what_counts() {
        let target = server("HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno").await;
        assert_eq!(http_get(&target, LIMIT).await, Ok(Answer { status: 503, leaves_host: false }));
    }

    #[tokio::test]
    async fn redirect_to_another_host_is_not_followed() {
        let target =
            server("HTTP/1.1 302 F\r\nlocation: http://elsewhere.test/x\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(http_get(&target, LIMIT).await, Ok(Answer { status: 302, leaves_host: true }));
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_with_the_address() {
        let mut target = server("").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        target.port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(http_get(&target, LIMIT).await.unwrap_err().contains("dial tcp 127.0.0.1"));
    }
}
