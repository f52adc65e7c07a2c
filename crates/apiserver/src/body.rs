//! Request and response bodies: one boxed type for both, read with a limit.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};

use crate::error::ApiError;
use crate::limits::BODY_BYTES_MAX;

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

/// The whole body, or 413 as soon as it exceeds the limit.
pub async fn collect(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::too_large(format!("limit is {BODY_BYTES_MAX}")))
        }
        Err(error) => Err(ApiError::bad_request(format!("the request body could not be read: {error}"))),
    }
}
