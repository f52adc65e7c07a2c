//! The rows of [`crate::keys`] linked together, so that a walk over an object looks nothing up by a definition's name.
//!
//! Beside those rows it knows two facts that only ownership needs: which fields Kubernetes' own encoder writes even when
//! they are empty (so that a manager who fills one does not become the owner of the field itself), and which keys of list
//! items have defaults.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::keys::{self, Structure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DefId(u32);

#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub structure: Option<Structure>,
    pub to: Option<DefId>,
}

#[derive(Debug)]
pub(super) struct Def {
    pub atomic: bool,
    /// Those with something particular; sorted.
    fields: Vec<Field>,
    /// Written even when empty.
    pub always: Vec<&'static str>,
    /// (key, its default as JSON) of items of this definition.
    pub key_defaults: &'static [(&'static str, &'static str)],
}

/// How a value is to be read: its definition, and what its field says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Type {
    pub def: Option<DefId>,
    pub structure: Option<Structure>,
}

/// Beside metadata, spec and status of whatever has metadata: structs without `omitempty`, or of which it takes no notice,
/// in upstream's `types.go`.
static ALWAYS: &[(&str, &[&str])] = &[
    ("io.k8s.api.apps.v1.DaemonSetSpec", &["template", "updateStrategy"]),
    ("io.k8s.api.core.v1.Container", &["resources"]),
    ("io.k8s.api.core.v1.EphemeralContainer", &["resources"]),
    (
        "io.k8s.api.core.v1.Event",
        &["eventTime", "firstTimestamp", "involvedObject", "lastTimestamp", "source"],
    ),
    ("io.k8s.api.core.v1.NodeDaemonEndpoints", &["kubeletEndpoint"]),
    ("io.k8s.api.core.v1.NodeStatus", &["daemonEndpoints", "nodeInfo"]),
    ("io.k8s.api.core.v1.PodCondition", &["lastProbeTime", "lastTransitionTime"]),
    ("io.k8s.api.core.v1.PodSpec", &["containers"]),
    ("io.k8s.api.core.v1.PodTemplate", &["template"]),
    ("io.k8s.api.core.v1.ServiceStatus", &["loadBalancer"]),
    ("io.k8s.api.discovery.v1.EndpointSlice", &["endpoints", "ports"]),
    (
        "io.k8s.api.events.v1.Event",
        &[
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "deprecatedSource",
            "eventTime",
            "regarding",
        ],
    ),
    ("io.k8s.api.rbac.v1.ClusterRole", &["rules"]),
    ("io.k8s.api.rbac.v1.ClusterRoleBinding", &["roleRef"]),
    ("io.k8s.api.rbac.v1.Role", &["rules"]),
    ("io.k8s.api.rbac.v1.RoleBinding", &["roleRef"]),
    ("io.k8s.api.storage.v1.CSINodeSpec", &["drivers"]),
];

/// The fields of an object that has metadata.
const OF_OBJECTS: [&str; 3] = ["metadata", "spec", "status"];

static KEY_DEFAULTS: &[(&str, &[(&str, &str)])] = &[
    ("io.k8s.api.core.v1.ContainerPort", &[("protocol", "\"TCP\"")]),
    ("io.k8s.api.core.v1.ServicePort", &[("protocol", "\"TCP\"")]),
];

struct Defs {
    by_name: BTreeMap<&'static str, DefId>,
    all: Vec<Def>,
}

static DEFS: LazyLock<Defs> = LazyLock::new(|| {
    let mut names: Vec<&'static str> = keys::definitions().map(|(name, _, _)| name).collect();
    names.extend(ALWAYS.iter().map(|(name, _)| *name));
    names.extend(KEY_DEFAULTS.iter().map(|(name, _)| *name));
    names.sort_unstable();
    names.dedup();
    let by_name: BTreeMap<_, _> =
        names.iter().enumerate().map(|(index, name)| (*name, DefId(index as u32))).collect();
    let rows: BTreeMap<_, _> =
        keys::definitions().map(|(name, rules, leads)| (name, (rules, leads))).collect();
    let all = names
        .iter()
        .map(|name| {
            let (rules, leads) = rows.get(name).copied().unwrap_or_default();
            let mut fields: BTreeMap<&str, Field> = BTreeMap::new();
            for (field, to) in leads {
                let to = by_name.get(to).copied();
                fields.insert(field, Field { name: field, structure: None, to });
            }
            for rule in rules {
                let field = fields.entry(rule.field);
                let field = field.or_insert(Field { name: rule.field, structure: None, to: None });
                field.structure = Some(rule.structure);
            }
            let mut always = of(ALWAYS, name).to_vec();
            if fields.contains_key("metadata") {
                always.extend(OF_OBJECTS.iter().filter(|name| fields.contains_key(**name)));
            }
            Def {
                atomic: keys::is_atomic(name),
                fields: fields.into_values().collect(),
                always,
                key_defaults: of(KEY_DEFAULTS, name),
            }
        })
        .collect();
    Defs { by_name, all }
});

fn of<T>(table: &'static [(&str, &'static [T])], name: &str) -> &'static [T] {
    table.iter().find(|(known, _)| *known == name).map(|(_, rows)| *rows).unwrap_or_default()
}

impl Type {
    /// The type of an object of this definition.
    pub fn root(definition: &str) -> Type {
        Type { def: DEFS.by_name.get(keys::canonical(definition)).copied(), structure: None }
    }

    pub fn def(self) -> Option<&'static Def> {
        self.def.map(|DefId(index)| &DEFS.all[index as usize])
    }

    /// The type of a field of an object of this type.
    pub fn field(self, name: &str) -> Type {
        let field = self.def().and_then(|def| {
            let found = def.fields.binary_search_by(|field| field.name.cmp(name));
            found.ok().map(|at| &def.fields[at])
        });
        field.map_or_else(Type::default, |field| Type { def: field.to, structure: field.structure })
    }

    /// The type of a list's items.
    pub fn item(self) -> Type {
        Type { def: self.def, structure: None }
    }

    /// A list whose items have owners of their own.
    pub fn is_list_of_owned(self) -> bool {
        matches!(self.structure, Some(Structure::SetList | Structure::MapList(_)))
    }

    /// An object that has one owner as a whole.
    pub fn is_atomic_map(self) -> bool {
        self.structure == Some(Structure::AtomicMap)
            // A list's structure says nothing of its items, whose type has none.
            || self.def().is_some_and(|def| def.atomic)
    }

    pub fn always(self) -> &'static [&'static str] {
        self.def().map(|def| def.always.as_slice()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_always_written_belong_to_known_definitions() {
        for resource in api::scheme::RESOURCES.iter().filter(|resource| resource.verbs.contains(&"patch")) {
            let root = Type::root(resource.definition);
            assert!(root.always().contains(&"metadata"), "{}", resource.definition);
        }
        let pod = Type::root("io.k8s.api.core.v1.Pod");
        assert_eq!(pod.always(), OF_OBJECTS);
        assert!(pod.field("status").field("conditions").item().always().contains(&"lastProbeTime"));
    }

    #[test]
    fn a_walk_arrives_where_the_tables_lead() {
        let container = ["spec", "template", "spec", "containers"]
            .into_iter()
            .fold(Type::root("io.k8s.api.extensions.v1beta1.DaemonSet"), Type::field)
            .item();
        assert_eq!(
            container.field("ports").structure,
            Some(Structure::MapList(&["containerPort", "protocol"]))
        );
        assert_eq!(container.field("ports").item().def().unwrap().key_defaults, [("protocol", "\"TCP\"")]);
        assert!(Type::root("io.k8s.api.apps.v1.DaemonSet").field("spec").field("selector").is_atomic_map());
        assert_eq!(container.field("image"), Type::default());
    }
}
