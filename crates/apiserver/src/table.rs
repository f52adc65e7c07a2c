//! Tables: rows for people, computed from JSON objects.
