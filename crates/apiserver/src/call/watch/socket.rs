//! A watch over WebSocket, as browsers have it: each event is a text message.
//!
//! Upstream: `WatchServer.HandleWS` of `apiserver/pkg/endpoints/handlers/watch.go`. The watch itself is the same; it ends
//! when its client goes.

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::Body;
use crate::error::ApiError;
use crate::node_proxy::messages::{self, Encoding};
use crate::websocket;

/// The handshake's answer; the watch goes on behind it.
pub fn over(request: &mut Request<Body>, watch: Response<Body>) -> Result<Response<Body>, ApiError> {
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(ApiError::bad_request("a WebSocket needs HTTP/1.1: this connection cannot be upgraded"));
    }
    // DIFFERS(WS): there is one form of an event, so that whatever protocol is offered first is spoken.
    let protocol = websocket::offered(request.headers()).next().map(str::to_owned);
    let accepted = websocket::accept(request.headers(), protocol.as_deref())
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let client = hyper::upgrade::on(request);
    // Ends with the watch, which ends with the server, or with its client.
    tokio::spawn(async move {
        match client.await {
            Ok(client) => messages::serve(TokioIo::new(client), watch.into_body(), Encoding::Lines).await,
            Err(error) => tracing::debug!(%error, "a client's connection was not upgraded"),
        }
    });
    Ok(accepted)
}
