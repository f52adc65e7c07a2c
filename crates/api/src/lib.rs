//! The vocabulary: kinds, names, selectors, quantities; convert, default, validate.
