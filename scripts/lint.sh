#!/usr/bin/env bash
# What does not land when it fails: format, tidy, clippy, licences and sources of dependencies.
. "$(dirname "$0")/lib.sh"
setup_build
setup_cargo_tool cargo-deny cargo-deny
cd "$root"
say "format";  cargo fmt --all --check
say "tidy";    cargo xtask tidy
say "clippy";  cargo clippy --workspace --all-targets --quiet -- -D warnings
say "cargo-deny"; cargo deny --log-level error check bans licenses sources
