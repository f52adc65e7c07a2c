//! Service accounts' tokens: signed JSON web tokens, and who such a token says that its bearer is.
//!
//! Tokens are signed with ECDSA P-256 (`ES256`) and nothing else, so there is no algorithm to be talked into. What a
//! token says is upstream's (`pkg/serviceaccount/claims.go`): issuer, audiences, times, the account, and the Pod, Secret or
//! Node that it is bound to. A signature alone lets nobody in: on every use the account and what the token is bound to must
//! still be there with the same uid ([`Claims::user`]). Objects are looked at through [`Living`], time is an argument.

mod key;
mod verified;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::User;
use super::user::SERVICE_ACCOUNT_USER_PREFIX;
pub use key::{KeyError, SigningKey};
pub use verified::Verified;

/// Who issues tokens where nobody says otherwise: kubeadm's `--service-account-issuer`.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// The group of all service accounts; those of one namespace are in `system:serviceaccounts:NAMESPACE` too.
pub const ACCOUNTS_GROUP: &str = "system:serviceaccounts";
/// Clocks differ: go-jose's leeway on a token's times, and upstream's on objects that were deleted a moment ago.
pub const LEEWAY_SECONDS: i64 = 60;
/// What the ServiceAccount admission asks for: such a token lives on for a year, and its use past this is warned of.
pub const WARN_ONLY_SECONDS: i64 = 3607;
/// Upstream's `ExpirationExtensionSeconds`.
pub const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

/// What a token says, in the order in which upstream's encoder writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(rename = "aud", deserialize_with = "one_or_many")]
    pub audiences: Vec<String>,
    #[serde(rename = "exp")]
    pub expires_second: i64,
    #[serde(rename = "iat")]
    pub issued_second: i64,
    #[serde(rename = "iss")]
    pub issuer: String,
    #[serde(rename = "jti", default)]
    pub id: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    #[serde(rename = "nbf")]
    pub not_before_second: i64,
    #[serde(rename = "sub")]
    pub subject: String,
}

/// The account, and what the token ends with.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    #[serde(rename = "serviceaccount")]
    pub account: Reference,
    #[serde(rename = "warnafter", default, skip_serializing_if = "Option::is_none")]
    pub warn_after_second: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// Kinds that a token can depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    ServiceAccount,
    Pod,
    Secret,
    Node,
}

/// An object as far as tokens depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    pub uid: String,
    pub deleted_at: Option<Timestamp>,
}

/// Knows which objects there are. Answers from memory: it is asked while a request waits.
pub trait Living {
    /// `namespace` is empty for nodes.
    fn find(&self, holder: Holder, namespace: &str, name: &str) -> Option<Life>;
}

/// Why a token is worth nothing. The texts are upstream's; only a TokenReview shows them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("invalid bearer token")]
    NotOurs,
    #[error("invalid bearer token, token audiences {found:?} is invalid for the target audiences {wanted:?}")]
    Audience { found: Vec<String>, wanted: Vec<String> },
    #[error("[invalid bearer token, service account token has expired]")]
    Expired,
    #[error("[invalid bearer token, service account token is not valid yet]")]
    NotYet,
    #[error("[invalid bearer token, service account {account} has been deleted]")]
    AccountDeleted { account: String },
    #[error("[invalid bearer token, serviceaccounts {name:?} not found]")]
    AccountMissing { name: String },
    #[error("[invalid bearer token, {what} UID ({found}) does not match {claim} ({claimed})]")]
    Uid { what: &'static str, claim: &'static str, found: String, claimed: String },
    #[error("[invalid bearer token, service account token has been invalidated]")]
    Invalidated,
    #[error("invalid bearer token")]
    Bootstrap,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audiences {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audiences::deserialize(deserializer)? {
        Audiences::One(one) => vec![one],
        Audiences::Many(many) => many,
    })
}

impl Claims {
    /// Of a token that is issued now.
    pub fn new(
        issuer: &str,
        id: String,
        audiences: Vec<String>,
        bound: Bound,
        now: Timestamp,
        seconds: i64,
    ) -> Claims {
        let now = now.as_second();
        Claims {
            audiences,
            expires_second: now.saturating_add(seconds),
            issued_second: now,
            issuer: issuer.to_owned(),
            id,
            not_before_second: now,
            subject: format!("{SERVICE_ACCOUNT_USER_PREFIX}{}:{}", bound.namespace, bound.account.name),
            kubernetes: bound,
        }
    }

    /// The user that the token makes its bearer, and for which of the `wanted` audiences.
    pub fn user(
        &self,
        issuer: &str,
        wanted: &[String],
        living: &dyn Living,
        now: Timestamp,
    ) -> Result<(User, Vec<String>), TokenError> {
        let Bound { namespace, account, .. } = &self.kubernetes;
        let subject = self.subject.strip_prefix(SERVICE_ACCOUNT_USER_PREFIX);
        let named = subject.and_then(|rest| rest.split_once(':'));
        if self.issuer != issuer || named != Some((namespace.as_str(), account.name.as_str())) {
            return Err(TokenError::NotOurs);
        }
        let audiences: Vec<String> =
            wanted.iter().filter(|audience| self.audiences.contains(audience)).cloned().collect();
        if audiences.is_empty() {
            return Err(TokenError::Audience { found: self.audiences.clone(), wanted: wanted.to_vec() });
        }
        let second = now.as_second();
        if second.saturating_sub(LEEWAY_SECONDS) > self.expires_second {
            return Err(TokenError::Expired);
        }
        if second.saturating_add(LEEWAY_SECONDS) < self.not_before_second.max(self.issued_second) {
            return Err(TokenError::NotYet);
        }
        self.check_objects(living, second)?;
        Ok((self.described(), audiences))
    }

    fn check_objects(&self, living: &dyn Living, now_second: i64) -> Result<(), TokenError> {
        let Bound { namespace, account, .. } = &self.kubernetes;
        let ended = |life: &Life| {
            life.deleted_at.is_some_and(|at| at.as_second() < now_second.saturating_sub(LEEWAY_SECONDS))
        };
        let uid = |what, claim, life: &Life, claimed: &Reference| {
            if life.uid == claimed.uid {
                return Ok(());
            }
            let (found, claimed) = (life.uid.clone(), claimed.uid.clone());
            Err(TokenError::Uid { what, claim, found, claimed })
        };
        let Some(found) = living.find(Holder::ServiceAccount, namespace, &account.name) else {
            return Err(TokenError::AccountMissing { name: account.name.clone() });
        };
        if ended(&found) {
            return Err(TokenError::AccountDeleted { account: format!("{namespace}/{}", account.name) });
        }
        uid("service account", "claim", &found, account)?;
        if let Some(secret) = &self.kubernetes.secret {
            let found = living.find(Holder::Secret, namespace, &secret.name).filter(|life| !ended(life));
            let found = found.ok_or(TokenError::Invalidated)?;
            uid("secret", "service account secret ref claim", &found, secret)?;
        }
        if let Some(pod) = &self.kubernetes.pod {
            let found = living.find(Holder::Pod, namespace, &pod.name).filter(|life| !ended(life));
            let found = found.ok_or(TokenError::Invalidated)?;
            uid("pod", "service account pod ref claim", &found, pod)?;
        } else if let Some(node) = &self.kubernetes.node {
            // Beside a Pod the node is only told, as upstream: the Pod ends with it.
            let found = living.find(Holder::Node, "", &node.name).filter(|life| !ended(life));
            let found = found.ok_or(TokenError::Invalidated)?;
            uid("node", "service account node ref claim", &found, node)?;
        }
        Ok(())
    }

    fn described(&self) -> User {
        let Bound { namespace, account, pod, node, .. } = &self.kubernetes;
        let groups = [ACCOUNTS_GROUP.to_owned(), format!("{ACCOUNTS_GROUP}:{namespace}")];
        let mut user = User::authenticated(self.subject.clone(), groups);
        user.uid = Some(account.uid.clone());
        let mut extra = BTreeMap::new();
        let mut add = |key: &str, value: String| {
            if !value.is_empty() {
                extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
            }
        };
        if !self.id.is_empty() {
            add("credential-id", format!("JTI={}", self.id));
        }
        for (reference, name, uid) in [(pod, "pod-name", "pod-uid"), (node, "node-name", "node-uid")] {
            if let Some(reference) = reference {
                add(name, reference.name.clone());
                add(uid, reference.uid.clone());
            }
        }
        user.extra = extra;
        user
    }
}

/// What signs tokens and says who issued them.
#[derive(Debug)]
pub struct Issuer {
    pub key: SigningKey,
    pub name: String,
    /// Where the key is published, for whoever checks tokens by OpenID Connect.
    pub keys_url: String,
    verified: Verified,
}

impl Issuer {
    pub fn new(key: SigningKey, name: impl Into<String>, keys_url: impl Into<String>) -> Issuer {
        Issuer { key, name: name.into(), keys_url: keys_url.into(), verified: Verified::default() }
    }

    /// With a key that ends with the process, and its tokens with it.
    pub fn ephemeral() -> Result<Issuer, KeyError> {
        Ok(Issuer::new(SigningKey::generate()?, ISSUER, format!("{ISSUER}/openid/v1/jwks")))
    }

    /// The audiences of a token that names none, and of requests to this server.
    pub fn own_audiences(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    pub fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        self.key.sign(&serde_json::to_vec(claims).map_err(|_| KeyError::Encode)?)
    }

    /// What a token says whose signature is ours. The same token's signature is not checked twice.
    pub fn read(&self, token: &str) -> Result<std::sync::Arc<Claims>, TokenError> {
        if let Some(claims) = self.verified.get(token) {
            return Ok(claims);
        }
        let payload = self.key.verify(token).ok_or(TokenError::NotOurs)?;
        let claims = serde_json::from_slice::<Claims>(&payload).map_err(|_| TokenError::NotOurs)?;
        Ok(self.verified.keep(token, claims))
    }

    /// `/.well-known/openid-configuration`
    pub fn discovery(&self) -> serde_json::Value {
        serde_json::json!({
            "issuer": self.name,
            "jwks_uri": self.keys_url,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [key::ALGORITHM],
        })
    }
}

#[cfg(test)]
mod tests;
