//! Which crate imports which, against `layers.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Layers {
    /// Crate name → our crates that it may import.
    pub crates: BTreeMap<String, BTreeSet<String>>,
    pub pure: Pure,
}

#[derive(Debug, Deserialize)]
pub struct Pure {
    /// Crates without async, clock, randomness, hash map order, environment and I/O.
    pub crates: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    package: Package,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    #[serde(default, rename = "dev-dependencies")]
    dev_dependencies: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

pub fn read(root: &Path) -> Result<Layers> {
    let path = root.join("layers.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

/// Every import of one of our crates that `layers.toml` does not list, as a sentence.
pub fn faults(layers: &Layers, manifests: &[(String, String)]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in manifests {
        let manifest: Manifest = toml::from_str(text).with_context(|| format!("parse {path}"))?;
        let name = manifest.package.name;
        let Some(allowed) = layers.crates.get(&name) else {
            faults.push(format!("{path}: crate {name} is not in layers.toml"));
            continue;
        };
        let dependencies = manifest.dependencies.keys().chain(manifest.dev_dependencies.keys());
        for dependency in dependencies {
            if layers.crates.contains_key(dependency) && !allowed.contains(dependency) {
                faults.push(format!("{path}: {name} may not import {dependency} (layers.toml)"));
            }
        }
        seen.insert(name);
    }
    for name in layers.crates.keys().filter(|name| !seen.contains(*name)) {
        faults.push(format!("layers.toml: crate {name} does not exist"));
    }
    faults.extend(cycles(layers));
    Ok(faults)
}

/// An arrow that leads back to where it came from.
fn cycles(layers: &Layers) -> Vec<String> {
    let reaches = |from: &str| {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = layers.crates.get(from).into_iter().flatten().map(String::as_str).collect();
        while let Some(next) = open.pop() {
            if found.insert(next.to_owned()) {
                open.extend(layers.crates.get(next).into_iter().flatten().map(String::as_str));
            }
        }
        found
    };
    layers
        .crates
        .keys()
        .filter(|name| reaches(name).contains(*name))
        .map(|name| format!("layers.toml: {name} imports itself by a detour"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: &str) -> Layers {
        toml::from_str(text).unwrap()
    }

    fn manifest(name: &str, dependencies: &str) -> (String, String) {
        (name.to_owned(), format!("[package]\nname = \"{name}\"\n[dependencies]\n{dependencies}"))
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_a_fault() {
        let layers = layers("[crates]\na = []\nb = [\"a\"]\n[pure]\ncrates = []");
        let manifests = [manifest("a", "b.workspace = true"), manifest("b", "a.workspace = true")];
        let faults = faults(&layers, &manifests).unwrap();
        assert_eq!(faults, ["a: a may not import b (layers.toml)"]);
    }

    #[test]
    fn a_cycle_in_the_table_is_a_fault() {
        let layers = layers("[crates]\na = [\"b\"]\nb = [\"a\"]\n[pure]\ncrates = []");
        let manifests = [manifest("a", ""), manifest("b", "")];
        assert_eq!(faults(&layers, &manifests).unwrap().len(), 2);
    }

    #[test]
    fn a_crate_that_the_table_does_not_know_is_a_fault() {
        let layers = layers("[crates]\n[pure]\ncrates = []");
        let faults = faults(&layers, &[manifest("stray", "")]).unwrap();
        assert_eq!(faults, ["stray: crate stray is not in layers.toml"]);
    }
}
