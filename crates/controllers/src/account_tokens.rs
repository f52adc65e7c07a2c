//! Secrets of the type `kubernetes.io/service-account-token` get the token of the account that they name.
//!
//! The token is bound to the Secret, so it ends when the Secret or the account does; a Secret whose account is gone, or is
//! another by now, is removed. Upstream: pkg/controller/serviceaccount/tokens_controller.go.
//! DIFFERS(token-secret): upstream's such tokens have no end, ours end after 136 years.

use std::collections::BTreeMap;

use api::meta::Meta;
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect};
use client::{Cache, ObjectKey, WorkQueue};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::PostParams;

use crate::Context;

const SECRET_TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const TOKEN: &str = "token";
const CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";
/// The longest that may be asked for.
const SECONDS: i64 = 1 << 32;

pub async fn run(context: Context, root_ca_pem: Option<String>) {
    let scope = context.scope();
    let context = scope.context();
    let secrets = Cache::<Secret>::builder(Api::all(context.client.clone()))
        .fields(format!("type={SECRET_TYPE}"))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(context.clock.clone());
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the cache is there.
        () = shutdown.cancelled() => return,
        () = secrets.synced() => {}
    }
    let mut changes = secrets.subscribe();
    let feed = async {
        loop {
            // Changes that are not taken stay in their inbox.
            queue.add(changes.next().await.key);
        }
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feed holds nothing.
        () = queue.work(&shutdown, |key| look(context, &secrets, root_ca_pem.as_deref(), key)) => {}
        () = feed => {}
    }
}

async fn look(context: &Context, secrets: &Cache<Secret>, ca_pem: Option<&str>, key: ObjectKey) -> Outcome {
    let Some(secret) = secrets.get(&key).filter(|secret| !secret.is_deleting()) else { return Outcome::Done };
    let annotations = secret.metadata.annotations.clone().unwrap_or_default();
    let Some(name) = annotations.get(ACCOUNT_NAME).filter(|name| !name.is_empty()) else {
        return Outcome::Done;
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &key.namespace);
    let account = match accounts.get_opt(name).await {
        Ok(account) => account,
        Err(error) => return after(&key, &Class::of(&error)),
    };
    let own: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let uid = annotations.get(ACCOUNT_UID).filter(|uid| !uid.is_empty());
    let Some(account) = account.filter(|account| uid.is_none_or(|uid| uid == account.uid())) else {
        tracing::info!(secret = %key, account = name, "the account of a token's Secret is gone");
        let deletion = Deletion { expect: Expect::uid(secret.uid()), ..Deletion::default() };
        return match write::delete(&own, secret.name(), deletion).await {
            Ok(_) => Outcome::Done,
            Err(error) => after(&key, error.class()),
        };
    };
    let Some(missing) = missing(&secret, &account, ca_pem) else { return Outcome::Done };
    let mut filled = Secret::clone(&secret);
    filled
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(ACCOUNT_UID.to_owned(), account.uid().to_owned());
    let data = filled.data.get_or_insert_default();
    data.extend(missing);
    if !data.contains_key(TOKEN) {
        let asked = accounts.create_token_request(name, &PostParams::default(), &request(&secret)).await;
        let token = match asked {
            Ok(answer) => answer.status.map(|status| status.token).unwrap_or_default(),
            Err(error) => return after(&key, &Class::of(&error)),
        };
        data.insert(TOKEN.to_owned(), ByteString(token.into_bytes()));
    }
    match write::replace(&own, &filled).await {
        Ok(_) => Outcome::Done,
        Err(error) => after(&key, error.class()),
    }
}

/// What the Secret lacks but for the token; nothing where it lacks nothing.
fn missing(
    secret: &Secret,
    account: &ServiceAccount,
    ca_pem: Option<&str>,
) -> Option<BTreeMap<String, ByteString>> {
    let none = BTreeMap::new();
    let data = secret.data.as_ref().unwrap_or(&none);
    let mut wanted =
        BTreeMap::from([(NAMESPACE.to_owned(), ByteString(secret.namespace().as_bytes().to_vec()))]);
    wanted.extend(ca_pem.map(|pem| (CA.to_owned(), ByteString(pem.as_bytes().to_vec()))));
    wanted.retain(|key, value| data.get(key) != Some(value));
    let annotations = secret.metadata.annotations.as_ref();
    let uid = annotations.and_then(|all| all.get(ACCOUNT_UID)).is_some_and(|uid| uid == account.uid());
    let token = data.get(TOKEN).is_some_and(|token| !token.0.is_empty());
    (!wanted.is_empty() || !uid || !token).then_some(wanted)
}

fn request(secret: &Secret) -> TokenRequest {
    TokenRequest {
        spec: TokenRequestSpec {
            audiences: Vec::new(),
            expiration_seconds: Some(SECONDS),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(secret.name().to_owned()),
                uid: Some(secret.uid().to_owned()),
            }),
        },
        ..TokenRequest::default()
    }
}

fn after(key: &ObjectKey, class: &Class) -> Outcome {
    match class {
        Class::Missing | Class::Exists | Class::NamespaceTerminating => Outcome::Done,
        Class::Retry(after) => Outcome::FailedFor(*after),
        Class::Stale => Outcome::Failed,
        Class::Fatal(refusal) => {
            tracing::warn!(secret = %key, "{}", refusal.message);
            Outcome::Failed
        }
    }
}
