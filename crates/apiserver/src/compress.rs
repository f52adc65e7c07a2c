//! Compression of large answers. Watches, streams and small answers are left as they are.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::{self, Body};
use crate::limits::GZIP_BYTES_MIN;

pub fn is_accepted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim().eq_ignore_ascii_case("gzip") && !quality.replace(' ', "").starts_with("q=0")
        })
}

/// Compresses a body whose whole length is known and large.
pub async fn if_large(response: Response<Body>) -> Response<Body> {
    let large = response.body().size_hint().exact().is_some_and(|size| size >= GZIP_BYTES_MIN as u64);
    if !large || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A body of known length is in memory already; collecting it cannot fail for want of a peer.
    let Ok(collected) = body.collect().await else { return Response::from_parts(parts, body::empty()) };
    let plain = collected.to_bytes();
    let compressed = tokio::task::spawn_blocking({
        let plain = plain.clone();
        move || {
            // Upstream's level: a list is sent once, speed counts more than size.
            let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
            encoder.write_all(&plain).and_then(|()| encoder.finish())
        }
    });
    let Ok(Ok(compressed)) = compressed.await else {
        return Response::from_parts(parts, body::full(plain));
    };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body::full(compressed))
}
