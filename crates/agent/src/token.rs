//! Tokens of Pods' service accounts: asked for when a volume needs one, kept, renewed long before they end.
//!
//! One token for each Pod, audience and lifetime. A token is renewed when four fifths of its life are over or it is a day
//! old; while the API server is away the old one serves, from the disk too ([`crate::offline`]). Upstream: pkg/kubelet/token/token_manager.go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api::meta::Meta;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use process::Clock;

use crate::offline::{self, KeptToken};

/// A projection that names no lifetime.
const SECONDS_DEFAULT: i64 = 3_600;
/// Upstream's `maxTTL`: older tokens are renewed however long they live.
const AGE_SECONDS_MAX: i64 = 24 * 60 * 60;
/// How long a start waits for a new token where an older one is there.
const KNOWN_AFTER_MS: u64 = 3_000;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("failed to fetch token: this node has no API server")]
    Alone,
    #[error("failed to fetch token: serviceaccount {account:?}")]
    Ask {
        account: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("failed to fetch token: the answer has none")]
    Empty,
    #[error("failed to fetch token: no answer in time")]
    Late,
}

impl TokenError {
    /// Whether somebody who knows has refused.
    fn is_an_answer(&self) -> bool {
        match self {
            TokenError::Ask { source, .. } => crate::objects::is_an_answer(source),
            TokenError::Alone | TokenError::Empty => true,
            TokenError::Late => false,
        }
    }
}

/// What a projection asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Empty: the API server's own.
    pub audience: String,
    pub seconds: i64,
}

impl Wanted {
    pub fn of(source: &ServiceAccountTokenProjection) -> Wanted {
        Wanted {
            audience: source.audience.clone().unwrap_or_default(),
            seconds: source.expiration_seconds.unwrap_or(SECONDS_DEFAULT),
        }
    }
}

#[derive(Debug, Clone)]
struct Kept {
    text: Arc<str>,
    issued_at: Timestamp,
    ends_at: Timestamp,
}

impl Kept {
    fn is_to_be_renewed(&self, now: Timestamp) -> bool {
        let life = self.ends_at.duration_since(self.issued_at);
        let old = SignedDuration::from_secs(AGE_SECONDS_MAX);
        now.duration_since(self.issued_at) > (life / 5 * 4).min(old)
    }
}

/// This node's tokens, by Pod.
pub struct Tokens {
    client: Option<kube::Client>,
    clock: Arc<dyn Clock>,
    disk: Arc<offline::Kept>,
    kept: Mutex<BTreeMap<String, BTreeMap<Wanted, Kept>>>,
}

impl Tokens {
    pub fn new(client: Option<kube::Client>, clock: Arc<dyn Clock>, disk: Arc<offline::Kept>) -> Tokens {
        Tokens { client, clock, disk, kept: Mutex::default() }
    }

    /// Every token that the Pod's volumes name.
    pub async fn of_volumes(&self, pod: &Pod) -> Result<BTreeMap<Wanted, Arc<str>>, TokenError> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let projected = volumes.flat_map(|volume| &volume.projected);
        let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
        let wanted: BTreeSet<Wanted> =
            sources.filter_map(|source| source.service_account_token.as_ref()).map(Wanted::of).collect();
        let mut found = BTreeMap::new();
        for wanted in wanted {
            let token = self.one(pod, &wanted).await?;
            found.insert(wanted, token);
        }
        Ok(found)
    }

    /// The Pod has gone from the node; so have its tokens, because the API server knows that too.
    pub fn forget(&self, uid: &str) {
        self.kept.lock().remove(uid);
    }

    async fn one(&self, pod: &Pod, wanted: &Wanted) -> Result<Arc<str>, TokenError> {
        let now = self.clock.now();
        let kept = self.kept.lock().get(pod.uid()).and_then(|of_pod| of_pod.get(wanted)).cloned();
        if let Some(kept) = kept.as_ref().filter(|kept| !kept.is_to_be_renewed(now)) {
            return Ok(Arc::clone(&kept.text));
        }
        // A machine that boots while the API server is away has what it was given before, ended or not.
        let old = kept.or_else(|| self.on_disk(pod.uid(), wanted));
        let asked = match &old {
            Some(_) => {
                let patience = Duration::from_millis(KNOWN_AFTER_MS);
                tokio::time::timeout(patience, self.ask(pod, wanted, now))
                    .await
                    .unwrap_or(Err(TokenError::Late))
            }
            None => self.ask(pod, wanted, now).await,
        };
        match (asked, old) {
            (Ok(new), _) => {
                self.keep_on_disk(pod.uid(), wanted, &new);
                let text = Arc::clone(&new.text);
                let mut all = self.kept.lock();
                all.entry(pod.uid().to_owned()).or_default().insert(wanted.clone(), new);
                Ok(text)
            }
            (Err(error), Some(old)) if now < old.ends_at || !error.is_an_answer() => {
                tracing::warn!(pod = pod.name(), error = %crate::error_chain(&error), "token not renewed yet");
                Ok(old.text)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn on_disk(&self, uid: &str, wanted: &Wanted) -> Option<Kept> {
        let needs = self.disk.needs(uid);
        let same = |token: &&KeptToken| token.audience == wanted.audience && token.seconds == wanted.seconds;
        let token = needs.tokens.iter().find(same)?;
        let text = token.text.as_str().into();
        Some(Kept { text, issued_at: token.issued_at, ends_at: token.ends_at })
    }

    fn keep_on_disk(&self, uid: &str, wanted: &Wanted, new: &Kept) {
        let token = KeptToken {
            audience: wanted.audience.clone(),
            seconds: wanted.seconds,
            text: new.text.to_string(),
            issued_at: new.issued_at,
            ends_at: new.ends_at,
        };
        self.disk.keep_needs(uid, |needs| {
            needs.tokens.retain(|old| old.audience != token.audience || old.seconds != token.seconds);
            needs.tokens.push(token);
        });
    }

    async fn ask(&self, pod: &Pod, wanted: &Wanted, now: Timestamp) -> Result<Kept, TokenError> {
        let client = self.client.clone().ok_or(TokenError::Alone)?;
        let account =
            pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default();
        let audiences = if wanted.audience.is_empty() { Vec::new() } else { vec![wanted.audience.clone()] };
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences,
                expiration_seconds: Some(wanted.seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod.name().to_owned()),
                    uid: Some(pod.uid().to_owned()),
                }),
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client, pod.namespace());
        let answer = accounts
            .create_token_request(&account, &PostParams::default(), &request)
            .await
            .map_err(|source| TokenError::Ask { account, source: Box::new(source) })?;
        let status = answer.status.filter(|status| !status.token.is_empty()).ok_or(TokenError::Empty)?;
        Ok(Kept { text: status.token.into(), issued_at: now, ends_at: status.expiration_timestamp.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_renewed_after_four_fifths_of_its_life_or_a_day() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let kept = |seconds: i64| Kept { text: "t".into(), issued_at: at(0), ends_at: at(seconds) };
        assert!(!kept(1_000).is_to_be_renewed(at(800)));
        assert!(kept(1_000).is_to_be_renewed(at(801)));
        let year = kept(365 * 24 * 60 * 60);
        assert!(!year.is_to_be_renewed(at(AGE_SECONDS_MAX)));
        assert!(year.is_to_be_renewed(at(AGE_SECONDS_MAX + 1)));
    }
}
