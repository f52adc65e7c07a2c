//! The gRPC health check (grpc.health.v1.Health/Check), by hand: one request of one string, one answer of one number.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// HealthCheckResponse.ServingStatus
const SERVING: u64 = 1;
/// A health answer is a few bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// `Ok` when the service says that it serves.
pub async fn is_serving(host: &str, port: u16, service: &str) -> Result<(), String> {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let stream =
        TcpStream::connect((host, port)).await.map_err(|error| format!("dial tcp {address}: {error}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .header(http::header::USER_AGENT, "kube-probe/1.35")
        .body(Full::new(request_frame(service)))
        .map_err(|error| error.to_string())?;
    let ask = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, mut body) = response.into_parts();
        let mut data = Vec::new();
        let mut status = head.headers.get("grpc-status").cloned();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            if let Some(chunk) = frame.data_ref() {
                data.extend_from_slice(chunk);
                if data.len() > ANSWER_BYTES_MAX {
                    return Err("answer is too long".to_owned());
                }
            } else if let Some(trailers) = frame.trailers_ref() {
                status = trailers.get("grpc-status").cloned().or(status);
            }
        }
        match status.as_ref().and_then(|status| status.to_str().ok()) {
            Some("0") => {}
            Some("12") => return Err("service does not implement the grpc health protocol".to_owned()),
            other => return Err(format!("health rpc failed with status {}", other.unwrap_or("unknown"))),
        }
        match serving_status(&data) {
            SERVING => Ok(()),
            other => Err(format!("service unhealthy (responded with {other})")),
        }
    };
    let mut ask = std::pin::pin!(ask);
    tokio::select! {
        // The connection is driven here and needed no longer than the answer.
        answer = &mut ask => answer,
        // It may have brought the answer with its last bytes; if not, the question says so.
        _ = connection => ask.await,
    }
}

/// Not compressed, a length, and field 1 as a string.
fn request_frame(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(message);
    Bytes::from(frame)
}

/// Field 1 of the answer; 0 when it is not there.
fn serving_status(data: &[u8]) -> u64 {
    match data.get(5..) {
        Some([0x08, value, ..]) => u64::from(*value),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderMap, HeaderValue, Response};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;

    /// Serves health as gRPC servers do: the service `good` serves, `bad` does not, others are unknown. The port.
    async fn health_server() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(connection);
            }
        });
        port
    }

    async fn answer(
        request: Request<Incoming>,
    ) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible> + Send>, Infallible> {
        let path = request.uri().path().to_owned();
        let asked = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let (data, status) = match () {
            () if path != "/grpc.health.v1.Health/Check" => (vec![], "12"),
            () if asked == request_frame("good") => (vec![0, 0, 0, 0, 2, 8, 1], "0"),
            () if asked == request_frame("bad") => (vec![0, 0, 0, 0, 2, 8, 2], "0"),
            () => (vec![], "5"),
        };
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        let body = Full::new(Bytes::from(data)).with_trailers(async move { Some(Ok(trailers)) });
        Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
    }

    #[tokio::test]
    async fn only_a_service_that_says_so_is_serving() {
        let port = health_server().await;
        assert_eq!(is_serving("127.0.0.1", port, "good").await, Ok(()));
        let bad = is_serving("127.0.0.1", port, "bad").await;
        assert_eq!(bad, Err("service unhealthy (responded with 2)".to_owned()));
        let unknown = is_serving("127.0.0.1", port, "unknown").await;
        assert_eq!(unknown, Err("health rpc failed with status 5".to_owned()));
    }

    #[test]
    fn frames_have_a_length_and_the_field() {
        assert_eq!(&request_frame("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request_frame("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(request_frame(&"x".repeat(200)).len(), 5 + 3 + 200);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), SERVING);
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), 0);
    }
}
