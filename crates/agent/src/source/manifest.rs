//! A manifest's bytes → the static Pods of this node, and the ConfigMaps and Secrets beside them.
//!
//! Upstream's rules (pkg/kubelet/config): YAML or JSON, unknown fields dropped, the name gets the node's name as suffix,
//! the uid is a hash over the effective content, the node and the file's path, so that comments and blanks change
//! nothing and a rename makes another Pod.
//! DIFFERS(static-documents): every document of a file is read, and every item of a Pod list; upstream reads the first
//! document of a file alone. A manifest counts as a whole: one bad document refuses all of it.
//! It does not know which other manifests there are: whether a reference can be met is decided in [`super::manifests`].

mod adopt;
pub mod references;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::Value;

use super::SourceKind;

/// Upstream's limit for one manifest.
pub const MANIFEST_BYTES_MAX: u64 = 10 << 20;
/// Objects in one manifest: far above what a node can run.
pub const OBJECTS_MAX: usize = 1_000;

/// Why a text is not a manifest. For the operator who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("larger than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge,
    #[error("more than {OBJECTS_MAX} objects")]
    TooMany,
    #[error("not UTF-8 text")]
    Encoding,
    #[error("empty: no Pod in it")]
    Empty,
    #[error("neither YAML nor JSON: {message}")]
    Syntax { message: String },
    #[error(
        "only Pods of apiVersion v1, lists of them, and ConfigMaps and Secrets for them can be here, this is {kind:?} of {api_version:?}"
    )]
    Kind { kind: String, api_version: String },
    #[error("not a {kind}: {message}")]
    Decode { kind: &'static str, message: String },
    #[error("metadata.name: must be set")]
    NoName,
    #[error("{field}: {message}")]
    Invalid { field: String, message: String },
    #[error(
        "{field}: a static Pod cannot refer to API objects ({what}); use a DaemonSet, or put the data on the node and mount it with hostPath"
    )]
    ApiReference { field: String, what: &'static str },
    #[error("{kind} {name} is in it twice")]
    Twice { kind: &'static str, name: String },
    #[error("object {at} of {total}: {source}")]
    Object { at: usize, total: usize, source: Box<ManifestError> },
}

/// What makes a manifest this node's own.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    pub kind: SourceKind,
    pub node_name: &'a str,
    /// The file's path or the URL, part of the uid.
    pub path: &'a str,
    pub seen_at: Timestamp,
}

/// Everything that one manifest holds: fine in itself, and this node's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    pub pods: Vec<Pod>,
    pub config_maps: Vec<ConfigMap>,
    pub secrets: Vec<Secret>,
}

/// What two manifests must not both hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl Manifest {
    pub fn names(&self) -> impl Iterator<Item = ObjectName> {
        let pods = self.pods.iter().map(|pod| ("Pod", &pod.metadata));
        let maps = self.config_maps.iter().map(|map| ("ConfigMap", &map.metadata));
        let secrets = self.secrets.iter().map(|secret| ("Secret", &secret.metadata));
        pods.chain(maps).chain(secrets).map(|(kind, meta)| ObjectName {
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        })
    }
}

/// Reads a manifest and makes it this node's.
pub fn read(bytes: &[u8], origin: Origin<'_>) -> Result<Manifest, ManifestError> {
    let values = objects(bytes)?;
    let total = values.len();
    if total > OBJECTS_MAX {
        return Err(ManifestError::TooMany);
    }
    let mut manifest = Manifest::default();
    for (index, value) in values.into_iter().enumerate() {
        take(&mut manifest, value, origin).map_err(|source| match total {
            1 => source,
            _ => ManifestError::Object { at: index + 1, total, source: Box::new(source) },
        })?;
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in manifest.names() {
        if !seen.insert(name.clone()) {
            let shown = format!("{}/{}", name.namespace, name.name);
            return Err(ManifestError::Twice { kind: name.kind, name: shown });
        }
    }
    Ok(manifest)
}

/// The documents, lists taken apart.
fn objects(bytes: &[u8]) -> Result<Vec<Value>, ManifestError> {
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Encoding)?;
    if text.trim().is_empty() {
        return Err(ManifestError::Empty);
    }
    let documents = if text.trim_start().starts_with('{') {
        // Several JSON texts after each other are as good as several documents.
        let read: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
        read.map_err(|error| ManifestError::Syntax { message: error.to_string() })?
    } else {
        serde_saphyr::from_multiple::<Value>(text)
            .map_err(|error| ManifestError::Syntax { message: one_line(&error.to_string()) })?
    };
    let documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
    if documents.is_empty() {
        return Err(ManifestError::Empty);
    }
    let mut objects = Vec::new();
    for document in documents {
        let (kind, api_version) = type_of(&document);
        let item_kind = match (kind.as_str(), api_version.as_str()) {
            ("List", "v1") => None,
            ("PodList", "v1") => Some("Pod"),
            ("ConfigMapList", "v1") => Some("ConfigMap"),
            ("SecretList", "v1") => Some("Secret"),
            _ => {
                objects.push(document);
                continue;
            }
        };
        let items = match document {
            Value::Object(mut fields) => fields.remove("items"),
            _ => None,
        };
        let Some(Value::Array(items)) = items else {
            return Err(ManifestError::Decode { kind: "list", message: "items: expected a list".to_owned() });
        };
        for mut item in items {
            // Items of a typed list need not say what they are.
            if let (Some(kind), Value::Object(fields)) = (item_kind, &mut item) {
                fields.entry("kind").or_insert_with(|| kind.into());
                fields.entry("apiVersion").or_insert_with(|| "v1".into());
            }
            objects.push(item);
        }
    }
    Ok(objects)
}

fn type_of(value: &Value) -> (String, String) {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    (field("kind"), field("apiVersion"))
}

fn take(manifest: &mut Manifest, mut value: Value, origin: Origin<'_>) -> Result<(), ManifestError> {
    let (kind, api_version) = type_of(&value);
    match (kind.as_str(), api_version.as_str()) {
        ("Pod", "v1") => {
            quantities_as_text(&mut value);
            let invalid = |message: &str| ManifestError::Invalid {
                field: "spec".to_owned(),
                message: message.to_owned(),
            };
            let spec = value.get("spec").ok_or_else(|| invalid("must be set"))?;
            if !spec.is_object() {
                let message = format!("spec: expected a mapping, found {spec}");
                return Err(ManifestError::Decode { kind: "Pod", message });
            }
            manifest.pods.push(adopt::pod(decode("Pod", value)?, origin)?);
        }
        ("ConfigMap", "v1") => manifest.config_maps.push(adopt::config_map(decode("ConfigMap", value)?)?),
        ("Secret", "v1") => manifest.secrets.push(adopt::secret(decode("Secret", value)?)?),
        _ => return Err(ManifestError::Kind { kind, api_version }),
    }
    Ok(())
}

fn decode<T: serde::de::DeserializeOwned>(kind: &'static str, value: Value) -> Result<T, ManifestError> {
    serde_json::from_value(value).map_err(|error| ManifestError::Decode { kind, message: error.to_string() })
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// A quantity may be written as a number.
fn quantities_as_text(value: &mut Value) {
    fn to_text(value: &mut Value) {
        if let Value::Number(number) = value {
            *value = Value::String(number.to_string());
        }
    }
    match value {
        Value::Object(map) => {
            for (key, child) in map.iter_mut() {
                match (key.as_str(), &mut *child) {
                    ("limits" | "requests" | "overhead", Value::Object(resources)) => {
                        resources.values_mut().for_each(to_text);
                    }
                    ("sizeLimit" | "divisor", number) => to_text(number),
                    (_, other) => quantities_as_text(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities_as_text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: a, image: b}\n";

    fn origin() -> Origin<'static> {
        Origin {
            kind: SourceKind::File,
            node_name: "node-a",
            path: "/m/web.yaml",
            seen_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn read_all(text: &str) -> Result<Manifest, ManifestError> {
        read(text.as_bytes(), origin())
    }

    fn read_one(text: &str) -> Result<Pod, ManifestError> {
        read_all(text).map(|mut manifest| manifest.pods.remove(0))
    }

    fn names(manifest: &Manifest) -> Vec<String> {
        manifest.names().map(|name| name.to_string()).collect()
    }

    #[test]
    fn name_gets_the_nodes_as_suffix_and_the_annotations_say_where_it_is_from() {
        let pod = read_one(POD).unwrap();
        let meta = &pod.metadata;
        assert_eq!(meta.name.as_deref(), Some("web-node-a"));
        assert_eq!(meta.namespace.as_deref(), Some("default"));
        let annotations = meta.annotations.as_ref().unwrap();
        assert_eq!(annotations["kubernetes.io/config.hash"], *meta.uid.as_ref().unwrap());
        assert_eq!(annotations["kubernetes.io/config.source"], "file");
        assert_eq!(pod.spec.as_ref().unwrap().node_name.as_deref(), Some("node-a"));
        let tolerations = pod.spec.unwrap().tolerations.unwrap();
        assert!(tolerations.iter().any(|t| t.operator.as_deref() == Some("Exists")
            && t.effect.as_deref() == Some("NoExecute")
            && t.key.is_none()));
    }

    #[test]
    fn a_pod_from_a_url_has_no_toleration_of_its_own_and_a_uid_that_knows_no_node() {
        let from = |node_name, path| {
            let origin = Origin { kind: SourceKind::Http, node_name, path, seen_at: Timestamp::UNIX_EPOCH };
            read(POD.as_bytes(), origin).unwrap().pods.remove(0)
        };
        let pod = from("node-a", "http://h/p");
        assert_eq!(pod.metadata.annotations.as_ref().unwrap()["kubernetes.io/config.source"], "http");
        assert_eq!(pod.spec.as_ref().unwrap().tolerations, None);
        assert_eq!(pod.metadata.uid, from("node-b", "http://h/p").metadata.uid);
        assert_ne!(pod.metadata.uid, from("node-a", "http://h/other").metadata.uid);
    }

    #[test]
    fn uid_ignores_blanks_comments_and_order_but_not_path_node_or_content() {
        let uid =
            |text: &str, origin| read(text.as_bytes(), origin).unwrap().pods[0].metadata.uid.clone().unwrap();
        let first = uid(POD, origin());
        let shuffled = "# hello\nkind: Pod\nspec:\n  containers:\n  - image: b\n    name: a\n\nmetadata:\n  name: web\napiVersion: v1\n";
        assert_eq!(first, uid(shuffled, origin()));
        assert_eq!(first.len(), 32);
        assert_ne!(first, uid(POD, Origin { path: "/m/other.yaml", ..origin() }));
        assert_ne!(first, uid(POD, Origin { node_name: "b", ..origin() }));
        assert_ne!(first, uid(&POD.replace("image: b", "image: c"), origin()));
    }

    #[test]
    fn every_document_and_every_item_of_a_list_is_read() {
        let named = |name: &str| POD.replace("{name: web}", &format!("{{name: {name}}}"));
        let list = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: c}\n  spec: {containers: [{name: a, image: b}]}\n";
        let local = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: v}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: other}\nstringData: {k: v}\n";
        let text = format!("---\n{}---\n# nothing\n---\n{}---\n{list}---\n{local}", named("a"), named("b"));
        let manifest = read_all(&text).unwrap();
        assert_eq!(
            names(&manifest),
            [
                "Pod default/a-node-a",
                "Pod default/b-node-a",
                "Pod default/c-node-a",
                "ConfigMap default/m",
                "Secret other/s"
            ]
        );
        assert_eq!(manifest.secrets[0].data.as_ref().unwrap()["k"].0, b"v", "stringData is data");
        let json = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"a","image":"b"}]}}]}"#;
        assert_eq!(names(&read_all(json).unwrap()), ["Pod default/j-node-a"]);
    }

    #[test]
    fn one_bad_object_refuses_the_whole_manifest_and_is_named() {
        let error = read_all(&format!("{POD}---\napiVersion: apps/v1\nkind: DaemonSet\n")).unwrap_err();
        assert!(error.to_string().starts_with("object 2 of 2: only Pods of apiVersion v1"), "{error}");
        let error = read_all(&format!("{POD}---\n{POD}")).unwrap_err();
        assert_eq!(error.to_string(), "Pod default/web-node-a is in it twice");
    }

    #[test]
    fn uid_of_the_manifest_is_kept() {
        let pod = read_one(&POD.replace("{name: web}", "{name: web, uid: mine}")).unwrap();
        assert_eq!(pod.metadata.uid.as_deref(), Some("mine"));
    }

    #[test]
    fn json_is_read_as_well() {
        let pod = read_one(r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"a","image":"b","resources":{"limits":{"cpu":1}}}]}}"#).unwrap();
        let container = &pod.spec.unwrap().containers[0];
        assert_eq!(container.resources.as_ref().unwrap().limits.as_ref().unwrap()["cpu"].0, "1");
    }

    #[test]
    fn faults_are_told_precisely() {
        let read = |text: &str| read_all(text).map(drop);
        assert_eq!(read(" \n"), Err(ManifestError::Empty));
        assert!(matches!(read("kind: [a"), Err(ManifestError::Syntax { .. })));
        assert!(matches!(read("apiVersion: apps/v1\nkind: DaemonSet"), Err(ManifestError::Kind { .. })));
        assert!(matches!(
            read("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: ...\n"),
            Err(ManifestError::Decode { .. })
        ));
        let nameless = POD.replace("{name: web}", "{}");
        assert_eq!(read(&nameless), Err(ManifestError::NoName));
        assert!(matches!(read(&POD.replace("web", "We_b")), Err(ManifestError::Invalid { .. })));
        let with_account = format!("{POD}  serviceAccountName: robot\n");
        let error = read(&with_account).unwrap_err().to_string();
        assert!(
            error.starts_with("spec.serviceAccountName: a static Pod cannot refer to API objects"),
            "{error}"
        );
    }
}
