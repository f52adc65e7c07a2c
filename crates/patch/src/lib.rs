//! (old object, patch, schema) -> new object: JSON, merge, strategic merge.
