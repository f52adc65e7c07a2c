//! Request and response bodies: one boxed type for both, read with a limit.

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::error::ApiError;
use crate::limits::{BODY_BYTES_MAX, BODY_TIMEOUT};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of requests and responses inside the server.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body of bytes that are already there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn empty() -> Body {
    full(Bytes::new())
}

/// Any body as the server's own type.
pub fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// The whole body, or 413 as soon as it exceeds the limit; 504 where it does not arrive in time.
pub async fn collect(body: Body) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, read(body)).await {
        Ok(read) => read,
        Err(_) => Err(ApiError::timeout("request did not complete within the allotted timeout")),
    }
}

async fn read(mut body: Body) -> Result<Bytes, ApiError> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "a request body broke off");
                return Err(ApiError::bad_request("the request body could not be read"));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > BODY_BYTES_MAX {
            return Err(ApiError::too_large(format!("limit is {BODY_BYTES_MAX}")));
        }
        if first.is_empty() && rest.is_empty() {
            // Most bodies come in one piece, which needs no copy.
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// What of a body fits into `bytes_max`, as far as it can be read: of a refusal, whose rest nobody misses.
pub async fn beginning(mut body: Body, bytes_max: usize) -> Bytes {
    let mut read = BytesMut::new();
    while read.len() < bytes_max
        && let Some(Ok(frame)) = body.frame().await
    {
        let Ok(data) = frame.into_data() else { continue };
        read.extend_from_slice(&data[..data.len().min(bytes_max - read.len())]);
    }
    read.freeze()
}
