//! Answers for people: JSON with one field a line, to whoever asks for it and to command-line clients and browsers.
//!
//! Upstream: `isPrettyPrint` of `apiserver/pkg/endpoints/handlers/negotiation`, and Go's `json.MarshalIndent`. Watches and
//! what comes from nodes and Pods are left as they are.

use http::{HeaderMap, Response, Uri, header};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::body::{self, Body};
use crate::request::Query;

/// User agents that are answered so unless they say otherwise.
const READ_BY_PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// Whether the answer is to be read by people.
pub fn is_wanted(uri: &Uri, headers: &HeaderMap) -> bool {
    if let Some(query) = uri.query().filter(|query| query.contains("pretty"))
        && let Some(asked) = Query::parse(query).get("pretty").filter(|asked| !asked.is_empty())
    {
        // As Go's strconv.ParseBool reads it.
        return matches!(asked, "1" | "t" | "T" | "true" | "TRUE" | "True");
    }
    let agent = headers.get(header::USER_AGENT).map(header::HeaderValue::as_bytes).unwrap_or_default();
    READ_BY_PEOPLE.iter().any(|known| agent.starts_with(known.as_bytes()))
}

/// The answer with its JSON indented. A body of unknown length is a watch's, and stays as it is.
pub async fn indented(response: Response<Body>) -> Response<Body> {
    let kind = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
    let whole = response.body().size_hint().exact().is_some_and(|size| size > 0);
    if !whole || !kind.is_some_and(|kind| kind.starts_with(b"application/json")) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A body of known length is in memory already; collecting it cannot fail for want of a peer.
    let Ok(collected) = body.collect().await else { return Response::from_parts(parts, body::empty()) };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body::full(indent(&collected.to_bytes())))
}

/// JSON with two blanks a level, a line for each field and item, nothing inside what is empty.
fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut level, mut quoted, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, level: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * level, b' ');
    };
    for &byte in json {
        if quoted {
            out.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        let opened = matches!(out.last(), Some(b'{' | b'['));
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            b'}' | b']' => {
                level = level.saturating_sub(1);
                if !opened {
                    line(&mut out, level);
                }
            }
            _ if opened => line(&mut out, level),
            _ => {}
        }
        out.push(byte);
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => level += 1,
            b',' => line(&mut out, level),
            b':' => out.push(b' '),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::Value;

    use super::*;

    #[test]
    fn people_are_known_by_their_clients_unless_the_query_says_otherwise() {
        for (uri, agent, wanted) in [
            ("/api", "curl/7.88.1", true),
            ("/api", "Wget/1.21", true),
            ("/api", "Mozilla/5.0 (X11; Linux x86_64)", true),
            ("/api", "kubectl/v1.35.0", false),
            ("/api", "", false),
            ("/api?pretty=true", "kubectl/v1.35.0", true),
            ("/api?pretty=1", "", true),
            ("/api?pretty=false", "curl/7.88.1", false),
            ("/api?pretty=no", "curl/7.88.1", false),
            ("/api?pretty=", "curl/7.88.1", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            assert_eq!(is_wanted(&uri.parse().unwrap(), &headers), wanted, "{uri} {agent}");
        }
    }

    #[test]
    fn json_is_indented_as_serde_and_go_do() {
        for json in [
            r#"{"a":[1,{"b":null}],"c":{},"d":[],"e":"x,{\"y\":[\\","f":{"g":true}}"#,
            "[]",
            "{}",
            "5",
            r#""text""#,
            " { \"a\" : [ ] , \"b\" : [ 1 ] }\n",
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            let wanted = serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(String::from_utf8(indent(json.as_bytes())).unwrap(), wanted, "{json}");
        }
    }
}
