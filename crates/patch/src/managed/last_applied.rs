//! From kubectl's client-side apply to the server's: the annotation with the configuration that was applied last.
//!
//! Only the manager `kubectl` is treated so. What its client-side apply has set, and is still as it set it, is no conflict;
//! where the annotation is there it follows every apply, so that the older way goes on to work.
//! Upstream: `apimachinery/pkg/util/managedfields/internal/{lastappliedmanager,lastappliedupdater}.go`.

use serde_json::Value;

use super::compare::compare;
use super::conflict::Contested;
use super::field_set::field_set;
use super::track::Writer;
use super::tree::Tree;

const MANAGER: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Bytes of all names and values of an object's annotations (upstream `TotalAnnotationSizeLimitB`).
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    let text = object.get("metadata")?.get("annotations")?.get(ANNOTATION)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// What of the conflicts is not kubectl's own.
pub(super) fn others<'a>(
    writer: &Writer<'_>,
    live: Option<&Value>,
    contested: Vec<Contested<'a>>,
) -> Vec<Contested<'a>> {
    if writer.manager != MANAGER {
        return contested;
    }
    let Some(live) = live else { return contested };
    let last = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let requested = writer.requested.api_version();
    let Some(last) = last.filter(|last| last["apiVersion"].as_str() == Some(requested.as_str())) else {
        return contested;
    };
    let definition = writer.requested.definition;
    let (last_tree, live_tree) = (Tree::whole(&last), Tree::whole(live));
    let changed = compare(definition, Some(&last_tree), &live_tree);
    let own = field_set(definition, &last_tree)
        .difference(&changed.modified)
        .difference(&changed.added)
        .difference(&changed.removed)
        .into_owned();
    let each = contested.into_iter().map(|Contested { manager, fields }| {
        let fields = fields.difference(&own);
        Contested { manager, fields }
    });
    each.filter(|contested| !contested.fields.is_empty()).collect()
}

/// Writes the configuration into the annotation of an object that has it.
pub(super) fn follow(writer: &Writer<'_>, object: &mut Value, config: &Value) {
    if writer.manager != MANAGER || annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) else {
        return;
    };
    // As kubectl writes it: with a line's end.
    let mut text = format!("{config}\n");
    let others = annotations.iter().filter(|(name, _)| *name != ANNOTATION);
    let bytes: usize =
        others.map(|(name, value)| name.len() + value.as_str().unwrap_or_default().len()).sum();
    if bytes + ANNOTATION.len() + text.len() > ANNOTATIONS_BYTES_MAX {
        text.clear();
    }
    annotations.insert(ANNOTATION.to_owned(), Value::String(text));
}
