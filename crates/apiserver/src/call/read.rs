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
use crate::options::{Freshness, ListOptions};
use crate::window::FreshError;

/// Where a paged list goes on; opaque to clients.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    #[serde(rename = "v")]
    version: String,
    #[serde(rename = "rv")]
    revision: u64,
    /// The last key that was handed out.
    #[serde(rename = "start")]
    after: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Token {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Token, ApiError> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let token = bytes.ok().and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
        token.filter(|token| token.version == TOKEN_VERSION).ok_or_else(|| {
            ApiError::bad_request("continue key is not valid: illegal base64 data or an unknown version")
        })
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
                    let revision = asked.parse().map_err(|_| {
                        ApiError::bad_request(format!("invalid resource version {asked:?}: not a number"))
                    })?;
                    self.not_older_than(Revision(revision)).await?;
                }
                self.fresh().await?;
                self.window.get(&self.key(name))
            }
        };
        let object = object.ok_or_else(|| ApiError::not_found(self.call.resource, name))?;
        self.object_answer(StatusCode::OK, &object)
    }

    pub(super) async fn list(&self) -> Result<Response<Body>, ApiError> {
        let options =
            ListOptions::parse(&self.call.query, self.namespace(), self.strategy.selectable(), false)?;
        let selection = &options.selection;
        if let Some(token) = &options.continue_token {
            return self.next_page(&Token::decode(token)?, &options);
        }
        match options.freshness {
            Freshness::Latest => self.fresh().await?,
            Freshness::Any => {}
            Freshness::NotOlderThan(revision) => self.not_older_than(revision).await?,
            Freshness::Exact(revision) => {
                self.not_older_than(revision).await?;
                return self.exactly(revision, &options);
            }
        }
        if let Some(limit) = options.limit {
            let (revision, objects) = self.window.snapshot();
            return self.page(revision, &objects, limit, &options, "");
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

    fn exactly(&self, revision: Revision, options: &ListOptions) -> Result<Response<Body>, ApiError> {
        let limit = options.limit.unwrap_or(usize::MAX);
        if let Some(objects) = self.window.snapshot_at(revision) {
            return self.page(revision, &objects, limit, options, "");
        }
        let (newest, objects) = self.window.snapshot();
        // Nothing of this resource has changed since: its state is still that of the revision.
        if self.window.unchanged_since(revision) && newest >= revision {
            return self.page(newest, &objects, limit, options, "");
        }
        Err(expired())
    }

    fn next_page(&self, token: &Token, options: &ListOptions) -> Result<Response<Body>, ApiError> {
        let revision = Revision(token.revision);
        let limit = options.limit.unwrap_or(usize::MAX);
        let Some(objects) = self.window.snapshot_at(revision) else { return Err(expired()) };
        self.page(revision, &objects, limit, options, &token.after)
    }

    fn page(
        &self,
        revision: Revision,
        objects: &[Arc<Object>],
        limit: usize,
        options: &ListOptions,
        after: &str,
    ) -> Result<Response<Body>, ApiError> {
        let selection = &options.selection;
        let start = objects.partition_point(|object| !after.is_empty() && object.key.as_ref() <= after);
        let mut matching = objects[start..].iter().filter(|object| selection.matches(object));
        let page: Vec<Arc<Object>> = matching.by_ref().take(limit).cloned().collect();
        let rest = matching.count();
        let token = page.last().filter(|_| rest > 0).map(|last| {
            Token { version: TOKEN_VERSION.to_owned(), revision: revision.0, after: last.key.to_string() }
                .encode()
        });
        // Upstream does not count what selectors would have to look at.
        let remaining = (rest > 0 && !selection.is_by_selector()).then_some(rest);
        self.list_answer(revision, &page, token, remaining)
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

fn expired() -> ApiError {
    ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
    )
}
