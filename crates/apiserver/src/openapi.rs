//! OpenAPI documents, computed from the scheme and the compiled types.
