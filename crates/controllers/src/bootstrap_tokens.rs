//! Bootstrap tokens that have ended are removed when they end.
//!
//! Looks at Secrets of the type `bootstrap.kubernetes.io/token` in kube-system and nothing else; a time that cannot be
//! read has passed. Upstream: pkg/controller/bootstrap/tokencleaner.go.

use std::time::Duration;

use api::meta::Meta;
use api::well_known::namespace::KUBE_SYSTEM;
use client::queue::Outcome;
use client::write::{self, Class, Deletion, Expect};
use client::{Cache, ObjectKey, WorkQueue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::Context;

const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const EXPIRATION: &str = "expiration";

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context();
    let secrets = Cache::<Secret>::builder(Api::namespaced(context.client.clone(), KUBE_SYSTEM))
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
        () = queue.work(&shutdown, |key| look(context, &secrets, key)) => {}
        () = feed => {}
    }
}

async fn look(context: &Context, secrets: &Cache<Secret>, key: ObjectKey) -> Outcome {
    let Some(secret) = secrets.get(&key) else { return Outcome::Done };
    match left(&secret, context.clock.now()) {
        Left::Forever => Outcome::Done,
        Left::For(time) => Outcome::Again(time),
        Left::Nothing => {
            let api: Api<Secret> = Api::namespaced(context.client.clone(), KUBE_SYSTEM);
            let deletion = Deletion { expect: Expect::uid(secret.uid()), ..Deletion::default() };
            tracing::info!(secret = secret.name(), "a bootstrap token has ended");
            match write::delete(&api, secret.name(), deletion).await {
                Ok(_) => Outcome::Done,
                Err(error) => match error.class() {
                    Class::Missing | Class::Stale => Outcome::Done,
                    Class::Retry(after) => Outcome::FailedFor(*after),
                    _ => Outcome::Failed,
                },
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Forever,
    For(Duration),
    Nothing,
}

fn left(secret: &Secret, now: Timestamp) -> Left {
    let Some(text) = secret.data.as_ref().and_then(|data| data.get(EXPIRATION)) else { return Left::Forever };
    if text.0.is_empty() {
        return Left::Forever;
    }
    let ends = std::str::from_utf8(&text.0).ok().and_then(|text| text.parse::<Timestamp>().ok());
    let left = ends.map(|ends| ends.duration_since(now)).and_then(|left| Duration::try_from(left).ok());
    match left {
        Some(left) if !left.is_zero() => Left::For(left),
        _ => Left::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn token_ends_at_its_time_and_one_with_an_unreadable_time_has_ended() {
        let secret = |text: Option<&str>| {
            let mut secret = Secret::default();
            if let Some(text) = text {
                secret.data = Some([(EXPIRATION.to_owned(), ByteString(text.as_bytes().to_vec()))].into());
            }
            secret
        };
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            (None, Left::Forever),
            (Some(""), Left::Forever),
            (Some("2026-01-01T00:00:10Z"), Left::For(Duration::from_secs(10))),
            (Some("2026-01-01T01:00:10+01:00"), Left::For(Duration::from_secs(10))),
            (Some("2026-01-01T00:00:00Z"), Left::Nothing),
            (Some("2025-12-31T23:59:59Z"), Left::Nothing),
            (Some("tomorrow"), Left::Nothing),
        ] {
            assert_eq!(left(&secret(text), now), expected, "{text:?}");
        }
    }
}
