//! Merge keys and strategies by OpenAPI definition and field, and the way from a definition to a nested one.
//!
//! What it decides: how a list or map of the served kinds merges, for strategic merge patch (strategies and merge
//! key) and server-side apply (structure). The OpenAPI documents publish the same rows as `x-kubernetes-patch-*`,
//! `x-kubernetes-list-*` and `x-kubernetes-map-type`, so a client that computes a patch and this server agree.
//!
//! A definition or field without a row: maps merge, lists are replaced. Definitions are named as in OpenAPI, e.g.
//! `io.k8s.api.core.v1.PodSpec`. The legacy DaemonSet versions share the rows of apps/v1.
//!
//! Upstream: the `patchStrategy`/`patchMergeKey` tags and `+listType` markers of `k8s.io/api/*/types.go`.

mod graph;
mod rules;

/// How a strategic merge treats a field; a field may have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// A list is merged item by item instead of replaced.
    Merge,
    /// Clients send `$retainKeys`: keys that the patch does not name are cleared (unions such as a volume's source).
    RetainKeys,
}

/// What identifies the parts of a field that has several owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// One value, owned as a whole.
    AtomicList,
    /// A list of scalars, each of them its own identity.
    SetList,
    /// A list of objects, identified by these fields.
    MapList(&'static [&'static str]),
    /// A map, owned as a whole.
    AtomicMap,
}

/// One field's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRule {
    pub field: &'static str,
    pub strategies: &'static [Strategy],
    /// The field that identifies a list item in a strategic merge; `None` for a list of scalars.
    pub merge_key: Option<&'static str>,
    pub structure: Structure,
}

impl FieldRule {
    pub fn merges(&self) -> bool {
        self.strategies.contains(&Strategy::Merge)
    }

    /// `merge` or `merge,retainKeys`: the value of `x-kubernetes-patch-strategy`.
    pub fn strategy_text(&self) -> Option<&'static str> {
        match self.strategies {
            [] => None,
            [Strategy::Merge] => Some("merge"),
            [Strategy::RetainKeys] => Some("retainKeys"),
            [..] => Some("merge,retainKeys"),
        }
    }
}

/// The row of a field, if it has one.
pub fn rule(definition: &str, field: &str) -> Option<&'static FieldRule> {
    let rows = lookup(rules::RULES, canonical(definition))?;
    rows.binary_search_by(|row| row.field.cmp(field)).ok().map(|at| &rows[at])
}

/// The definition of the objects (or list items) in a field; `None` for scalars, maps of scalars and free-form values.
pub fn nested(definition: &str, field: &str) -> Option<&'static str> {
    let definition = canonical(definition);
    let edges = graph::TABLES.into_iter().find_map(|table| lookup(table, definition))?;
    edges.binary_search_by(|(name, _)| (*name).cmp(field)).ok().map(|at| edges[at].1)
}

/// Whether objects of this definition are owned as a whole (`x-kubernetes-map-type: atomic`).
pub fn is_atomic(definition: &str) -> bool {
    rules::ATOMIC_DEFINITIONS.binary_search(&definition).is_ok()
}

/// The definition whose rows a legacy DaemonSet definition shares: itself for all others.
pub fn canonical(definition: &str) -> &str {
    for legacy in ["io.k8s.api.extensions.v1beta1.", "io.k8s.api.apps.v1beta2."] {
        match definition.strip_prefix(legacy) {
            Some("DaemonSet") => return "io.k8s.api.apps.v1.DaemonSet",
            Some("DaemonSetSpec") => return "io.k8s.api.apps.v1.DaemonSetSpec",
            Some("DaemonSetStatus") => return "io.k8s.api.apps.v1.DaemonSetStatus",
            Some("DaemonSetUpdateStrategy") => return "io.k8s.api.apps.v1.DaemonSetUpdateStrategy",
            _ => {}
        }
    }
    definition
}

/// Every definition that has a row or leads to another one, with its rows and where its fields lead.
pub(crate) fn definitions() -> impl Iterator<Item = (&'static str, &'static [FieldRule], Leads)> {
    let mut names: Vec<&'static str> = rules::RULES.iter().map(|(name, _)| *name).collect();
    names.extend(rules::ATOMIC_DEFINITIONS);
    for (name, fields) in graph::TABLES.into_iter().flatten() {
        names.push(name);
        names.extend(fields.iter().map(|(_, to)| *to));
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| {
        let leads = graph::TABLES.into_iter().find_map(|table| lookup(table, name)).unwrap_or_default();
        (name, lookup(rules::RULES, name).unwrap_or_default(), leads)
    })
}

/// Fields with the definition of their objects.
pub(crate) type Leads = &'static [(&'static str, &'static str)];

fn lookup<T>(table: &'static [(&str, &'static [T])], definition: &str) -> Option<&'static [T]> {
    table.binary_search_by(|(name, _)| (*name).cmp(definition)).ok().map(|at| table[at].1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::schemars::{SchemaGenerator, generate::SchemaSettings};
    use serde_json::Value;

    use super::*;

    fn is_sorted<'a>(names: impl Iterator<Item = &'a str>) -> bool {
        let names: Vec<_> = names.collect();
        names.windows(2).all(|pair| pair[0] < pair[1])
    }

    #[test]
    fn every_table_is_sorted_so_that_lookups_find_all_rows() {
        assert!(is_sorted(rules::RULES.iter().map(|(name, _)| *name)));
        assert!(is_sorted(rules::ATOMIC_DEFINITIONS.iter().copied()));
        for (definition, rows) in rules::RULES {
            assert!(is_sorted(rows.iter().map(|row| row.field)), "{definition}");
        }
        for table in graph::TABLES {
            assert!(is_sorted(table.iter().map(|(name, _)| *name)));
            for (definition, edges) in table {
                assert!(is_sorted(edges.iter().map(|(name, _)| *name)), "{definition}");
            }
        }
    }

    fn reference(schema: &Value) -> Option<&str> {
        let direct = schema.get("$ref").or_else(|| schema.pointer("/items/$ref"));
        let inherited = schema.pointer("/allOf/0/$ref");
        direct.or(inherited)?.as_str()?.rsplit('/').next()
    }

    /// The oracle: the graph that the compiled types themselves describe.
    fn compiled_graph() -> BTreeMap<String, BTreeMap<String, String>> {
        use k8s_openapi::api::storage::v1 as storage;
        use k8s_openapi::api::{apps::v1 as apps, authentication::v1 as authn, authorization::v1 as authz};
        use k8s_openapi::api::{
            certificates::v1 as certificates, discovery::v1 as discovery, node::v1 as node,
        };
        use k8s_openapi::api::{coordination::v1 as coordination, core::v1 as core, events::v1 as events};
        use k8s_openapi::api::{policy::v1 as policy, rbac::v1 as rbac, scheduling::v1 as scheduling};

        let mut generator: SchemaGenerator = SchemaSettings::draft07().into_generator();
        macro_rules! roots {
            ($($root:ty),* $(,)?) => {
                $( generator.subschema_for::<$root>(); )*
            };
        }
        roots!(
            core::ConfigMap,
            core::Event,
            core::Namespace,
            core::Node,
            core::Pod,
            core::Secret,
            core::ServiceAccount,
            core::Binding,
            core::Endpoints,
            core::PodTemplate,
            core::Service,
            apps::ControllerRevision,
            apps::DaemonSet,
            coordination::Lease,
            events::Event,
            rbac::ClusterRoleBinding,
            rbac::ClusterRole,
            rbac::RoleBinding,
            rbac::Role,
            scheduling::PriorityClass,
            authz::LocalSubjectAccessReview,
            authz::SelfSubjectAccessReview,
            authz::SelfSubjectRulesReview,
            authz::SubjectAccessReview,
            authn::SelfSubjectReview,
            authn::TokenReview,
            policy::Eviction,
            policy::PodDisruptionBudget,
            certificates::CertificateSigningRequest,
            discovery::EndpointSlice,
            node::RuntimeClass,
            storage::CSIDriver,
            storage::CSINode,
            storage::StorageClass,
        );
        let definitions = generator.take_definitions(true);
        let mut graph = BTreeMap::new();
        for (name, schema) in &definitions {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { continue };
            let edges: BTreeMap<String, String> = properties
                .iter()
                .filter_map(|(field, schema)| Some((field.clone(), reference(schema)?.to_owned())))
                .filter(|(_, target)| definitions.get(target).is_some_and(|t| t.get("properties").is_some()))
                .collect();
            if !edges.is_empty() {
                graph.insert(name.clone(), edges);
            }
        }
        graph
    }

    #[test]
    fn the_graph_is_that_of_the_compiled_types() {
        let compiled = compiled_graph();
        let written: BTreeMap<String, BTreeMap<String, String>> = graph::TABLES
            .into_iter()
            .flatten()
            .map(|(definition, edges)| {
                let edges = edges.iter().map(|(field, to)| ((*field).to_owned(), (*to).to_owned()));
                ((*definition).to_owned(), edges.collect())
            })
            .collect();
        assert_eq!(written, compiled);
    }

    #[test]
    fn every_root_definition_of_the_scheme_reaches_its_metadata() {
        for resource in api::scheme::RESOURCES {
            assert_eq!(
                nested(resource.definition, "metadata"),
                Some("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
                "{}",
                resource.definition
            );
        }
    }

    #[test]
    fn legacy_daemon_sets_share_the_rows_of_apps_v1() {
        let spec = nested("io.k8s.api.extensions.v1beta1.DaemonSet", "spec").unwrap();
        let template = nested(spec, "template").unwrap();
        let pod_spec = nested(template, "spec").unwrap();
        assert_eq!(rule(pod_spec, "containers").unwrap().merge_key, Some("name"));
    }

    #[test]
    fn known_rows_answer() {
        let pod_spec = "io.k8s.api.core.v1.PodSpec";
        assert_eq!(rule(pod_spec, "volumes").unwrap().strategy_text(), Some("merge,retainKeys"));
        assert!(!rule(pod_spec, "tolerations").unwrap().merges());
        assert_eq!(
            rule("io.k8s.api.core.v1.Container", "ports").unwrap().structure,
            Structure::MapList(&["containerPort", "protocol"])
        );
        let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        assert_eq!(rule(meta, "finalizers").unwrap().merge_key, None);
        assert_eq!(rule(meta, "labels"), None);
        assert!(is_atomic("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"));
    }
}
