//! Whom a request comes from: a component of this process, a certificate's subject, a token's bearer, or nobody.
//!
//! Order as upstream's union of authenticators: certificate, then bearer token (of a service account, then of a
//! bootstrap Secret). A credential that is shown and does not count is 401, never nobody. What counts is
//! [`access`](crate::access)'s to decide; here is where requests and windows are looked at.

use http::{HeaderMap, HeaderValue, Request, header};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use crate::access::User;
use crate::access::bootstrap_token::BootstrapToken;
use crate::access::token::{Holder, Life, Living, TokenError};
use crate::access::user::{ANONYMOUS, UNAUTHENTICATED};
use crate::body::Body;
use crate::error::ApiError;
use crate::serve::{Peered, UnknownCertificate};
use crate::server::Inner;
use crate::window::Windows;

/// What load balancers and clients look at before they have credentials; everywhere else nobody is not let in
/// (upstream: `anonymous.conditions` of an AuthenticationConfiguration).
const OPEN_PATHS: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
/// Browsers cannot set headers on a WebSocket: the token comes as one of the protocols.
const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// The user, or 401. The credential is taken out of the request: nobody behind us is to see it.
pub fn identify(server: &Inner, request: &mut Request<Body>) -> Result<User, ApiError> {
    if let Some(user) = request.extensions_mut().remove::<User>() {
        return Ok(user);
    }
    if let Some(Peered(user)) = request.extensions().get::<Peered>() {
        return user.as_deref().cloned().ok_or_else(ApiError::unauthorized);
    }
    // Upstream too answers so before it looks at anything else, open paths included.
    if request.extensions().get::<UnknownCertificate>().is_some() {
        return Err(ApiError::unauthorized());
    }
    if let Some(token) = take_token(request.headers_mut())? {
        let audiences = server.issuer.own_audiences();
        return bearer(server, &token, &audiences).map(|(user, _)| user).map_err(|error| {
            tracing::debug!(%error, "token refused");
            ApiError::unauthorized()
        });
    }
    if !OPEN_PATHS.contains(&request.uri().path()) {
        return Err(ApiError::unauthorized());
    }
    Ok(User { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..User::default() })
}

/// The user of a token, and for which of the `wanted` audiences it is.
pub fn bearer(server: &Inner, token: &str, wanted: &[String]) -> Result<(User, Vec<String>), TokenError> {
    let now = server.config.clock.now();
    if let Some(token) = BootstrapToken::parse(token) {
        let user = bootstrap(&server.windows, token, now).ok_or(TokenError::Bootstrap)?;
        // Such a token is for this server, whatever it is asked about.
        let own = server.issuer.own_audiences();
        let audiences: Vec<String> = wanted.iter().filter(|asked| own.contains(asked)).cloned().collect();
        if audiences.is_empty() {
            return Err(TokenError::Audience { found: own, wanted: wanted.to_vec() });
        }
        return Ok((user, audiences));
    }
    let claims = server.issuer.read(token)?;
    claims.user(&server.issuer.name, wanted, &Objects(&server.windows), now)
}

fn bootstrap(windows: &Windows, token: BootstrapToken<'_>, now: Timestamp) -> Option<User> {
    let key = format!("{}/{}", api::well_known::namespace::KUBE_SYSTEM, token.secret_name());
    let object = windows.window("secrets")?.get(&key)?;
    let secret: Secret = serde_json::from_slice(&object.json()).ok()?;
    token.user(&secret, now)
}

/// The token of a request, of the `Authorization` header or of a WebSocket's protocols.
fn take_token(headers: &mut HeaderMap) -> Result<Option<String>, ApiError> {
    if let Some(value) = headers.remove(header::AUTHORIZATION) {
        // Another scheme is a credential that does not count.
        let value = value.to_str().map_err(|_| ApiError::unauthorized())?;
        let (scheme, token) = value.trim().split_once(' ').ok_or_else(ApiError::unauthorized)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return Err(ApiError::unauthorized());
        }
        return Ok(Some(token.trim().to_owned()));
    }
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let protocols =
        protocols.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let all: Vec<String> = protocols.map(|protocol| protocol.trim().to_owned()).collect();
    let Some(encoded) = all.iter().find_map(|protocol| protocol.strip_prefix(WEBSOCKET_TOKEN)) else {
        return Ok(None);
    };
    use base64::Engine;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let token = engine.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let token = token.filter(|token| !token.is_empty()).ok_or_else(ApiError::unauthorized)?;
    let rest: Vec<&str> =
        all.iter().map(String::as_str).filter(|protocol| !protocol.starts_with(WEBSOCKET_TOKEN)).collect();
    // Upstream: the server must have another protocol to answer with, or it would have to tell the token.
    let rest = HeaderValue::from_str(&rest.join(", ")).ok().filter(|rest| !rest.is_empty());
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, rest.ok_or_else(ApiError::unauthorized)?);
    Ok(Some(token))
}

/// The windows, as tokens ask for objects.
pub struct Objects<'a>(pub &'a Windows);

impl Living for Objects<'_> {
    fn find(&self, holder: Holder, namespace: &str, name: &str) -> Option<Life> {
        let (plural, key) = match holder {
            Holder::ServiceAccount => ("serviceaccounts", format!("{namespace}/{name}")),
            Holder::Pod => ("pods", format!("{namespace}/{name}")),
            Holder::Secret => ("secrets", format!("{namespace}/{name}")),
            Holder::Node => ("nodes", name.to_owned()),
        };
        let object = self.0.window(plural)?.get(&key)?;
        // Only an object on its way out is decoded, and of it only when.
        let deleted_at = object.header.deleting.then(|| deletion(&object.json())).flatten();
        Some(Life { uid: object.header.uid().to_owned(), deleted_at })
    }
}

fn deletion(json: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Probe {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        deletion_timestamp: Option<Timestamp>,
    }
    serde_json::from_slice::<Probe>(json).ok()?.metadata.deletion_timestamp
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(name: &'static str, value: &str) -> (Result<Option<String>, ApiError>, HeaderMap) {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        (take_token(&mut headers), headers)
    }

    #[test]
    fn token_is_taken_from_the_header_or_from_a_websockets_protocols() {
        let (token, headers) = taken("authorization", "Bearer abc");
        assert_eq!(token.unwrap().as_deref(), Some("abc"));
        assert!(headers.is_empty(), "nobody behind us sees it");
        assert_eq!(taken("authorization", "bearer abc").0.unwrap().as_deref(), Some("abc"));
        for wrong in ["Basic abc", "Bearer", "Bearer  ", "abc"] {
            assert!(taken("authorization", wrong).0.is_err(), "{wrong}");
        }
        let offered = format!("v4.channel.k8s.io, {WEBSOCKET_TOKEN}YWJj");
        let (token, headers) = taken("sec-websocket-protocol", &offered);
        assert_eq!(token.unwrap().as_deref(), Some("abc"));
        assert_eq!(headers["sec-websocket-protocol"], "v4.channel.k8s.io");
        let alone = format!("{WEBSOCKET_TOKEN}YWJj");
        assert!(taken("sec-websocket-protocol", &alone).0.is_err());
        assert_eq!(taken("sec-websocket-protocol", "v4.channel.k8s.io").0.unwrap(), None);
    }
}
