//! The rules that a compiler does not check: layers, file sizes, names, absences in pure crates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::{compat, layers};

/// A file longer than this is a fault: split it by concept.
const FILE_LINES_MAX: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

/// Words that mark unfinished work.
const UNFINISHED: &str = r"\b(TODO|FIXME|XXX)\b|#\[ignore";

/// What a pure crate never names outside its tests.
const IMPURE: &[(&str, &str)] = &[
    (r"\basync\s+(fn|move|\{)|\.await\b", "an async function"),
    (r"\bSystemTime::now|\bInstant::now|Timestamp::now\b|Zoned::now\b", "a clock"),
    (r"\brand::|\bgetrandom\b|Uuid::new_v4", "randomness"),
    (r"\bHashMap\b|\bHashSet\b", "hash map order"),
    (r"\bstd::env\b|\benv::var", "the environment"),
    (r"\bstd::fs\b|\bstd::net::(Tcp|Udp|ToSocketAddrs)|\bstd::process\b|\btokio::", "I/O"),
    (r"\bstd::thread\b", "a thread"),
];

/// Prints every fault; an error when there is one.
pub fn run(root: &Path) -> Result<()> {
    let layers = layers::read(root)?;
    let mut manifests = Vec::new();
    let mut sources = Vec::new();
    for top in ["crates", "xtask", "tests"] {
        collect(&root.join(top), &mut |path| {
            let relative = path.strip_prefix(root).unwrap_or(path).display().to_string();
            if path.file_name().is_some_and(|name| name == "Cargo.toml") {
                manifests.push((relative, path.to_path_buf()));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push((relative, path.to_path_buf()));
            }
        })?;
    }
    let manifests = read_all(manifests)?;
    let sources = read_all(sources)?;

    let mut faults = layers::faults(&layers, &manifests)?;
    for (path, text) in &sources {
        faults.extend(source_faults(path, text)?);
        let pure = layers.pure.crates.iter().any(|name| path.starts_with(&format!("crates/{name}/src/")));
        if pure {
            faults.extend(impurities(path, text)?);
        }
    }
    let table = fs::read_to_string(root.join(compat::PATH)).context(compat::PATH)?;
    faults.extend(compat::faults(&table, &sources)?);
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults", faults.len());
    }
    println!("tidy: {} crates, {} files", manifests.len(), sources.len());
    Ok(())
}

fn collect(folder: &Path, found: &mut impl FnMut(&Path)) -> Result<()> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        let hidden =
            path.file_name().and_then(|n| n.to_str()).is_none_or(|n| n.starts_with('.') || n == "target");
        if hidden {
            continue;
        }
        if path.is_dir() { collect(&path, found)? } else { found(&path) }
    }
    Ok(())
}

fn read_all(paths: Vec<(String, PathBuf)>) -> Result<Vec<(String, String)>> {
    paths
        .into_iter()
        .map(|(name, path)| {
            Ok((name, fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?))
        })
        .collect()
}

fn is_generated(path: &str) -> bool {
    path.contains("/generated/")
}

fn source_faults(path: &str, text: &str) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    if is_generated(path) {
        return Ok(faults);
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{path}: {lines} lines, {FILE_LINES_MAX} is the limit: split it by concept"));
    }
    let parts = path.split('/').map(|part| part.trim_end_matches(".rs"));
    for part in parts.filter(|part| EMPTY_NAMES.contains(part)) {
        faults.push(format!("{path}: the name {part} says nothing: use the domain's noun"));
    }
    if path.ends_with("/mod.rs") {
        faults.push(format!("{path}: name.rs beside name/ instead of mod.rs"));
    }
    if path.contains("/src/") && !text.trim_start().starts_with("//!") {
        faults.push(format!("{path}: a module begins with its //! doc"));
    }
    if !path.starts_with("xtask/src/tidy") {
        let unfinished = Regex::new(UNFINISHED)?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| unfinished.is_match(line)) {
            faults.push(format!("{path}:{}: unfinished: {}", number + 1, line.trim()));
        }
    }
    Ok(faults)
}

/// What a pure crate names that it must not; its tests (from `#[cfg(test)]` on) may.
fn impurities(path: &str, text: &str) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
    if test_file {
        return Ok(faults);
    }
    for (pattern, what) in IMPURE {
        let pattern = Regex::new(pattern)?;
        for (number, line) in text.lines().enumerate() {
            if line.trim() == "#[cfg(test)]" {
                break;
            }
            let code = line.trim_start();
            if !code.starts_with("//") && pattern.is_match(code) {
                faults.push(format!("{path}:{}: a pure crate has no {what}: {code}", number + 1));
            }
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_a_pure_crate_is_a_fault_and_in_its_tests_is_not() {
        let text = "//! d\nlet now = Timestamp::now();\n#[cfg(test)]\nlet now = Timestamp::now();\n";
        let faults = impurities("crates/api/src/x.rs", text).unwrap();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("crates/api/src/x.rs:2: a pure crate has no a clock"));
    }

    #[test]
    fn a_long_file_and_an_empty_name_are_faults() {
        let text = format!("//! d\n{}", "x\n".repeat(FILE_LINES_MAX));
        let faults = source_faults("crates/api/src/utils.rs", &text).unwrap();
        assert_eq!(faults.len(), 2);
    }

    #[test]
    fn a_generated_file_may_be_long() {
        let text = "x\n".repeat(FILE_LINES_MAX + 1);
        assert!(source_faults("crates/cri/src/generated/v1.rs", &text).unwrap().is_empty());
    }
}
