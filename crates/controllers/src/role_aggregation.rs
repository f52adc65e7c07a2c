//! ClusterRoles that are the union of others: their rules are written into them.
//!
//! The union is of all roles that the selectors match but the role itself, in the order of their names, each rule once.
//! Rights do not wait for it: the API server works the union out itself; this is what `kubectl describe` shows and
//! what other servers of the policy read. Upstream: pkg/controller/clusterroleaggregation.

use api::label::Selector;
use api::meta::Meta;
use client::queue::Outcome;
use client::write::{self, Class};
use client::{Cache, ObjectKey, WorkQueue};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;

use crate::Context;

pub async fn run(context: Context) {
    let scope = context.scope();
    let context = scope.context();
    let roles = Cache::<ClusterRole>::builder(Api::all(context.client.clone()))
        .clock(context.clock.clone())
        .start(&context.tasks);
    let queue: WorkQueue<ObjectKey> = WorkQueue::new(context.clock.clone());
    let shutdown = context.shutdown().clone();
    tokio::select! {
        // Nothing has been begun before the cache is there.
        () = shutdown.cancelled() => return,
        () = roles.synced() => {}
    }
    let mut changes = roles.subscribe();
    let feed = async {
        loop {
            // Changes that are not taken stay in their inbox.
            changes.next().await;
            // Any role may be part of any union, and unions are few.
            for role in roles.list().into_iter().filter(|role| role.aggregation_rule.is_some()) {
                queue.add(ObjectKey::cluster(role.name()));
            }
        }
    };
    tokio::select! {
        // `work` returns at shutdown, after the item in hand; the feed holds nothing.
        () = queue.work(&shutdown, |key| look(context, &roles, key)) => {}
        () = feed => {}
    }
}

async fn look(context: &Context, roles: &Cache<ClusterRole>, key: ObjectKey) -> Outcome {
    let Some(role) = roles.get(&key).filter(|role| !role.is_deleting()) else { return Outcome::Done };
    let mut all = roles.list();
    all.sort_by(|a, b| a.name().cmp(b.name()));
    let Some(rules) = union(&role, all.iter().map(AsRef::as_ref)) else { return Outcome::Done };
    if role.rules.as_deref().unwrap_or_default() == rules {
        return Outcome::Done;
    }
    let mut written = ClusterRole::clone(&role);
    written.rules = Some(rules);
    let api: Api<ClusterRole> = Api::all(context.client.clone());
    match write::replace(&api, &written).await {
        Ok(_) => Outcome::Done,
        Err(error) => match error.class() {
            Class::Missing => Outcome::Done,
            Class::Retry(after) => Outcome::FailedFor(*after),
            _ => {
                tracing::debug!(error = %error.cause(), "{error}");
                Outcome::Failed
            }
        },
    }
}

/// Nothing for a role that is no union.
fn union<'a>(role: &ClusterRole, all: impl Iterator<Item = &'a ClusterRole>) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.iter().flatten();
    // A selector that the API would refuse selects nothing.
    let selectors: Vec<Selector> =
        selectors.filter_map(|selector| Selector::from_label_selector(selector).ok()).collect();
    let mut rules: Vec<PolicyRule> = Vec::new();
    let others: Vec<&ClusterRole> = all.filter(|other| other.name() != role.name()).collect();
    for selector in selectors {
        for other in &others {
            let labels = other.metadata.labels.clone().unwrap_or_default();
            if !selector.matches(&labels) {
                continue;
            }
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(name: &str, labels: serde_json::Value, verb: &str) -> ClusterRole {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels},
            "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]}))
        .unwrap()
    }

    #[test]
    fn union_has_the_rules_of_the_others_once_and_not_its_own() {
        let mut whole = role("whole", json!({"to": "whole"}), "own");
        assert_eq!(union(&whole, [].into_iter()), None);
        whole.aggregation_rule =
            serde_json::from_value(json!({"clusterRoleSelectors": [{"matchLabels": {"to": "whole"}}]}))
                .unwrap();
        let all = [
            role("a", json!({"to": "whole"}), "get"),
            role("b", json!({"to": "whole"}), "list"),
            role("c", json!({"to": "whole"}), "get"),
            role("d", json!({"to": "other"}), "delete"),
            whole.clone(),
        ];
        let verbs: Vec<String> =
            union(&whole, all.iter()).unwrap().into_iter().flat_map(|rule| rule.verbs).collect();
        assert_eq!(verbs, ["get", "list"]);
    }
}
