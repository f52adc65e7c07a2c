//! Merge keys and strategies by OpenAPI definition and field, and the graph between definitions.
