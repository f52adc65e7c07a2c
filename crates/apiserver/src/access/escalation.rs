//! Nobody grants what they do not hold: the check on writes of roles and bindings.
//!
//! Decides which of the rules that a role or binding would give are not covered by the rules that its writer
//! holds. Matches upstream's ConfirmNoEscalation and Covers (pkg/registry/rbac/validation,
//! component-helpers/auth/rbac/validation): a rule is broken down to single verbs, groups, resources, names and
//! URLs, and each of these must be covered by one rule held. Whether the writer may `escalate` or
//! `bind` instead is asked of the authorizer by the caller.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rbac::{listed, url_matches};
use super::{User, UserRules, quoted};

/// The rights that would be granted and are not held.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Escalation {
    pub missing: Vec<PolicyRule>,
    /// What upstream puts after `… is forbidden: `.
    message: String,
}

/// May `user`, who holds `held`, give away `granted`?
pub fn confirm_none(user: &User, held: &UserRules, granted: &[PolicyRule]) -> Result<(), Escalation> {
    let missing: Vec<PolicyRule> = granted
        .iter()
        .flat_map(break_down)
        .filter(|single| !held.rules.iter().any(|rule| covers(rule, single)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut shown: Vec<String> = compact(&missing).iter().map(show).collect();
    shown.sort();
    let mut message = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quoted(&user.name),
        list(&user.groups),
        shown.join("\n")
    );
    if !held.errors.is_empty() {
        message.push_str(&format!("; resolution errors: [{}]", held.errors.join(" ")));
    }
    Err(Escalation { missing, message })
}

/// The rules, as few as say it, that allow what `held` does not of `wanted`.
pub fn uncovered(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let singles = wanted.iter().flat_map(break_down);
    compact(&singles.filter(|single| !held.iter().any(|rule| covers(rule, single))).collect::<Vec<_>>())
}

/// Rules with one verb and one group and resource (and name), or one verb and one URL.
fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut singles = Vec::new();
    let one = |text: &String| Some(vec![text.clone()]);
    for verb in &rule.verbs {
        for group in listed(&rule.api_groups) {
            for resource in listed(&rule.resources) {
                let single = PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: one(group),
                    resources: one(resource),
                    ..PolicyRule::default()
                };
                match listed(&rule.resource_names) {
                    [] => singles.push(single),
                    names => singles.extend(
                        names.iter().map(|name| PolicyRule { resource_names: one(name), ..single.clone() }),
                    ),
                }
            }
        }
        for url in listed(&rule.non_resource_urls) {
            singles.push(PolicyRule {
                verbs: vec![verb.clone()],
                non_resource_urls: one(url),
                ..PolicyRule::default()
            });
        }
    }
    singles
}

/// Whether `held` allows all that the broken-down rule `single` does.
fn covers(held: &PolicyRule, single: &PolicyRule) -> bool {
    let has = |own: &[String], wanted: &[String]| {
        own.iter().any(|own| own == "*") || wanted.iter().all(|wanted| own.contains(wanted))
    };
    let resource = |wanted: &String| {
        let own = listed(&held.resources);
        let under_all = wanted.split_once('/').is_some_and(|(_, subresource)| {
            own.iter().any(|own| own.strip_prefix("*/") == Some(subresource))
        });
        under_all || own.contains(wanted)
    };
    let all_resources = listed(&held.resources).iter().any(|own| own == "*");
    let (held_names, names) = (listed(&held.resource_names), listed(&single.resource_names));
    // A rule for every name covers one for some; one for some covers only these.
    let names_covered =
        held_names.is_empty() || (!names.is_empty() && names.iter().all(|name| held_names.contains(name)));
    let urls_covered = listed(&single.non_resource_urls)
        .iter()
        .all(|url| listed(&held.non_resource_urls).iter().any(|own| url_matches(own, url)));
    has(&held.verbs, &single.verbs)
        && has(listed(&held.api_groups), listed(&single.api_groups))
        && (all_resources || listed(&single.resources).iter().all(resource))
        && names_covered
        && urls_covered
}

/// Joins what differs only in its verb, as upstream shows it.
fn compact(singles: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut compact: Vec<PolicyRule> = Vec::new();
    for single in singles {
        let same = compact.iter_mut().find(|rule| {
            rule.api_groups == single.api_groups
                && rule.resources == single.resources
                && rule.resource_names == single.resource_names
                && rule.non_resource_urls == single.non_resource_urls
        });
        match same {
            Some(rule) => {
                for verb in &single.verbs {
                    if !rule.verbs.contains(verb) {
                        rule.verbs.push(verb.clone());
                    }
                }
            }
            None => compact.push(single.clone()),
        }
    }
    compact
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`
fn show(rule: &PolicyRule) -> String {
    let parts = [
        ("APIGroups", listed(&rule.api_groups)),
        ("Resources", listed(&rule.resources)),
        ("NonResourceURLs", listed(&rule.non_resource_urls)),
        ("ResourceNames", listed(&rule.resource_names)),
        ("Verbs", rule.verbs.as_slice()),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{}", list(values)))
        .collect();
    format!("{{{}}}", parts.join(", "))
}

/// Go's `%q` of a slice.
fn list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", quoted.join(" "))
}
