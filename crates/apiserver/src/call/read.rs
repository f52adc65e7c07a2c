//! Get and list.
//!
//! Upstream: `apiserver/pkg/storage/cacher` and `etcd3/store.go` for what a resourceVersion means.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use store::Revision;

use super::Stored;
use crate::answer::{self, ListMeta};
use crate::body::Body;
use crate::error::ApiError;
use crate::object::Object;
use crate::options::{Freshness, ListOptions, parse_revision};
use crate::window::{FreshError, Part};

/// Where a paged list goes on; opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    #[serde(rename = "v")]
    version: String,
    /// That of the first page; negative where the list goes on with whatever is newest.
    #[serde(rename = "rv", default)]
    revision: i64,
    /// The first key that was not handed out.
    #[serde(rename = "start", default)]
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";
/// The revision of a token that continues a list whose own revision has been forgotten.
const NEWEST: i64 = -1;

/// What follows every key, so that the next page begins after the last one of this.
const AFTER_KEY: char = '\0';

impl Token {
    fn new(revision: i64, start: String) -> Token {
        Token { version: TOKEN_VERSION.to_owned(), revision, start }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Token, ApiError> {
        let refused = |why: &str| {
            ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| refused(&format!("illegal base64 data: {error}")))?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|error| refused(&error.to_string()))?;
        if token.version != TOKEN_VERSION {
            let why = format!("server does not recognize this encoded version {}", token.version);
            return Err(refused(&why));
        }
        if token.revision == 0 {
            return Err(refused("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if token.start.is_empty() {
            return Err(refused("encoded start key empty (version meta.k8s.io/v1)"));
        }
        // Nothing that a path would resolve: the key stays below the resource's prefix.
        if token.start.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(refused(&token.start));
        }
        Ok(token)
    }
}

impl Stored<'_> {
    pub(super) async fn get(&self) -> Result<Response<Body>, ApiError> {
        let name = self.call.target.name.as_str();
        let asked = self.call.query.get("resourceVersion").unwrap_or("");
        let object = match asked {
            "0" => self.window.get(&self.key(name)),
            _ => {
                if !asked.is_empty() {
                    self.not_older_than(parse_revision(asked)?).await?;
                }
                self.fresh().await?;
                self.window.get(&self.key(name))
            }
        };
        let object = object.ok_or_else(|| ApiError::not_found(self.call.resource, name))?;
        self.object_answer(StatusCode::OK, &object)
    }

    pub(super) async fn list(&self) -> Result<Response<Body>, ApiError> {
        let options = self.list_options(false)?;
        let selection = &options.selection;
        if let Some(token) = &options.continue_token {
            let token = Token::decode(token)?;
            options.refuse_revision_beside_token()?;
            return self.next_page(&token, &options).await;
        }
        match options.freshness {
            Freshness::Latest => self.fresh().await?,
            // COMPAT(v1): a list of any age has no pages.
            Freshness::Any => {}
            Freshness::NotOlderThan(revision) => {
                self.not_older_than(revision).await?;
            }
            Freshness::Exact(revision) => {
                self.not_older_than(revision).await?;
                return self.page(Some(revision), "", &options)?.ok_or_else(|| {
                    ApiError::expired("The resourceVersion for the provided list is too old.")
                });
            }
        }
        if options.limit.is_some() && options.freshness != Freshness::Any {
            return self.page(None, "", &options)?.ok_or_else(|| ApiError::internal("now has expired"));
        }
        let view = self.window.list(&selection.prefix(), |object| selection.matches(object));
        self.list_answer(view.revision, &view.objects, None, None)
    }

    /// Waits for a revision that the store has reached; one from the future is refused.
    pub(super) async fn not_older_than(&self, revision: Revision) -> Result<(), ApiError> {
        let windows = &self.call.server.windows;
        if windows.applied() >= revision {
            return Ok(());
        }
        match windows.fresh().await {
            Ok(()) if windows.applied() >= revision => Ok(()),
            Ok(()) | Err(FreshError::Late { .. }) => {
                Err(ApiError::revision_too_large(revision.0, windows.applied().0))
            }
            Err(error @ FreshError::Revision(_)) => Err(self.late(&error)),
        }
    }

    async fn next_page(&self, token: &Token, options: &ListOptions) -> Result<Response<Body>, ApiError> {
        let at = match u64::try_from(token.revision) {
            Ok(revision) => {
                self.not_older_than(Revision(revision)).await?;
                Some(Revision(revision))
            }
            Err(_) => {
                self.fresh().await?;
                None
            }
        };
        self.page(at, &token.start, options)?
            .ok_or_else(|| ApiError::expired_page(Token::new(NEWEST, token.start.clone()).encode()))
    }

    /// The objects from the key `start` on; nothing if their state at that revision is no longer known.
    fn page(
        &self,
        at: Option<Revision>,
        start: &str,
        options: &ListOptions,
    ) -> Result<Option<Response<Body>>, ApiError> {
        let selection = &options.selection;
        let limit = options.limit.unwrap_or(usize::MAX);
        // Upstream does not count what selectors would have to look at.
        let count_rest = !selection.is_by_selector();
        let part = Part { at, prefix: &selection.prefix(), start, limit, count_rest };
        let Ok(page) = self.window.page(&part, |object| selection.matches(object)) else { return Ok(None) };
        let last = page.objects.last().filter(|_| page.rest > 0);
        let token = last.map(|last| {
            let revision = i64::try_from(page.revision.0).unwrap_or(i64::MAX);
            Token::new(revision, format!("{}{AFTER_KEY}", last.key)).encode()
        });
        let remaining = (count_rest && page.rest > 0).then_some(page.rest);
        self.list_answer(page.revision, &page.objects, token, remaining).map(Some)
    }

    pub(super) fn object_answer(
        &self,
        status: StatusCode,
        object: &Object,
    ) -> Result<Response<Body>, ApiError> {
        self.shape.object(status, object)
    }

    pub(super) fn list_answer(
        &self,
        revision: Revision,
        objects: &[Arc<Object>],
        continue_token: Option<String>,
        remaining: Option<usize>,
    ) -> Result<Response<Body>, ApiError> {
        let meta = ListMeta { revision: revision.0, continue_token, remaining };
        self.shape.list(objects.iter().map(Arc::as_ref), &meta)
    }

    pub(super) fn json_answer<T: Serialize>(
        &self,
        status: StatusCode,
        value: &T,
    ) -> Result<Response<Body>, ApiError> {
        answer::json_response(status, value)
    }
}
