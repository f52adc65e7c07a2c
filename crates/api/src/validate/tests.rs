//! Claims about validation: one table row a rule, from JSON as a client would send it, after defaulting.

mod daemon_sets;
mod events;
mod objects;
mod pod_changes;
mod pods;

use serde_json::Value;

use crate::field::FieldError;

/// `path kind` of each error: what the tables compare.
fn told(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(|error| format!("{} {:?}", error.path, error.kind)).collect()
}

/// Sets the value at a JSON pointer, making objects on the way; null removes.
fn set(target: &mut Value, pointer: &str, value: Value) {
    let mut at = target;
    let mut keys = pointer.split('/').skip(1).peekable();
    while let Some(key) = keys.next() {
        let key = key.replace("~1", "/");
        if let Ok(index) = key.parse::<usize>() {
            at = &mut at[index];
        } else {
            if at.is_null() {
                *at = serde_json::json!({});
            }
            if keys.peek().is_none() && value.is_null() {
                at.as_object_mut().unwrap().remove(&key);
                return;
            }
            at = &mut at[key.as_str()];
        }
    }
    *at = value;
}
