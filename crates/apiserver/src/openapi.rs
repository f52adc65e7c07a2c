//! OpenAPI documents: what clients learn the types from (`kubectl explain`, apply, validation).
//!
//! What it does: computes the OpenAPI v3 index, one v3 document a group and version, and the v2 document (JSON and
//! protobuf) from the scheme, the compiled Kubernetes types and `patch::keys`. What it does not know: HTTP, objects.
//!
//! Documents are built when first asked for, and kept gzipped: they are megabytes of text that a server in use sends
//! a few times an hour. Same build, same bytes, same tags.
//!
//! Upstream: `kube-openapi/pkg/{builder,builder3,handler,handler3}`, `api/openapi-spec` in the Kubernetes repository.

mod operations;
mod protobuf;
mod schemas;
mod v2;
mod v3;

pub use schemas::referred;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::LazyLock;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::accept::media_ranges;

const JSON: &str = "application/json";
/// What the protobuf form is called in answers: Go's own parser refuses the `@` that clients ask for.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const V2_PROTOBUF_ASKED: [&str; 2] =
    ["application/com.github.proto-openapi.spec.v2@v1.0+protobuf", V2_PROTOBUF];

/// One document, compressed.
#[derive(Debug, Clone)]
pub struct Document {
    pub content_type: &'static str,
    /// For clients with `Accept-Encoding: gzip`; others get [`Document::plain`].
    pub gzip: Bytes,
    /// Quoted; 304 if the client has it.
    pub etag: String,
}

impl Document {
    fn new(content_type: &'static str, plain: &[u8]) -> Document {
        // Writing into memory cannot fail; an empty document would show in every test.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let gzip = encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default();
        Document { content_type, gzip: gzip.into(), etag: format!("\"{}\"", hash(plain)) }
    }

    /// The document as it was before it was compressed.
    pub fn plain(&self) -> Bytes {
        let mut plain = Vec::new();
        // These are our own bytes: a prefix that decodes is all there is.
        let _ = GzDecoder::new(&self.gzip[..]).read_to_end(&mut plain);
        plain.into()
    }
}

/// What is at a path below `/openapi`.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    Found(&'static Document),
    /// There is a document, but not in a form that the Accept header allows: 406.
    NotAcceptable,
    Unknown,
}

/// The document at a path such as `/openapi/v2`, `/openapi/v3` or `/openapi/v3/apis/apps/v1`.
pub fn document(path: &str, accept: Option<&str>) -> Answer {
    let path = path.trim_end_matches('/');
    let accept = accept.filter(|header| !header.trim().is_empty()).unwrap_or(JSON);
    let types: Vec<&str> = media_ranges(accept).map(|range| range.media_type).collect();
    let first = types.iter().find_map(|media_type| match *media_type {
        JSON | "*/*" | "application/*" => Some(JSON),
        asked if path == "/openapi/v2" && V2_PROTOBUF_ASKED.contains(&asked) => Some(V2_PROTOBUF),
        _ => None,
    });
    let found = match path {
        "/openapi/v2" => Some(if first == Some(V2_PROTOBUF) { &*V2_PROTOBUF_DOCUMENT } else { &*V2_JSON }),
        "/openapi/v3" => Some(&V3.index),
        _ => path.strip_prefix("/openapi/v3/").and_then(|group_version| V3.documents.get(group_version)),
    };
    match (found, first) {
        (None, _) => Answer::Unknown,
        (Some(_), None) => Answer::NotAcceptable,
        (Some(document), Some(_)) => Answer::Found(document),
    }
}

/// Every definition by name, in upstream's shape. Costs milliseconds: whoever asks keeps what it needs of it.
pub fn definitions() -> BTreeMap<String, serde_json::Value> {
    schemas::all()
}

struct V3Documents {
    index: Document,
    /// By group and version as in a URL: `api/v1`, `apis/apps/v1`.
    documents: BTreeMap<String, Document>,
}

static V3: LazyLock<V3Documents> = LazyLock::new(|| {
    let schemas = schemas::all();
    let mut documents = BTreeMap::new();
    let mut hashes = BTreeMap::new();
    for version in operations::group_versions() {
        let plain = v3::document(&version, &schemas).to_string();
        hashes.insert(version.path(), hash(plain.as_bytes()));
        documents.insert(version.path(), Document::new(JSON, plain.as_bytes()));
    }
    let index = v3::index(&hashes).to_string();
    V3Documents { index: Document::new(JSON, index.as_bytes()), documents }
});

static V2_JSON: LazyLock<Document> =
    LazyLock::new(|| Document::new(JSON, v2::document().to_string().as_bytes()));

static V2_PROTOBUF_DOCUMENT: LazyLock<Document> =
    LazyLock::new(|| Document::new(V2_PROTOBUF, &protobuf::encode(&v2::document())));

/// SHA-256 of the plain document, in upper-case hexadecimal as upstream writes its tags.
fn hash(plain: &[u8]) -> String {
    Sha256::digest(plain).iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests;
