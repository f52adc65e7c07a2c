//! The rules of docs/compat.md: every test that it names is there, and what it calls the same as upstream has a test.
//!
//! A test is named `crate::file::test`, with `*` for every test of that file; `blackbox` is `tests/`. The file is one of that
//! name, or one in a folder of that name.

use regex::Regex;

/// Where the table is.
pub const PATH: &str = "docs/compat.md";

/// What is wrong with the text, given the sources as (path, text).
pub fn faults(text: &str, sources: &[(String, String)]) -> anyhow::Result<Vec<String>> {
    let named = Regex::new("`([a-z_0-9]+)::([a-z_0-9:]+)::([a-z_0-9]+|\\*)`")?;
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let [behaviour, _, state, tests] = cells.as_slice() else { continue };
        let at = format!("{PATH}:{}", number + 1);
        let mut names = named.captures_iter(tests).peekable();
        if names.peek().is_none() && *state == "same" {
            faults.push(format!("{at}: {behaviour:?} is said to be the same and no test holds it"));
        }
        for name in names {
            let (krate, file, test) = (&name[1], &name[2], &name[3]);
            if !sources.iter().any(|(path, text)| holds(path, text, krate, file, test)) {
                faults.push(format!("{at}: there is no test {}", &name[0]));
            }
        }
    }
    Ok(faults)
}

/// Whether this file is the one that is meant and has the test.
fn holds(path: &str, text: &str, krate: &str, file: &str, test: &str) -> bool {
    let rest = match krate {
        "blackbox" => path.strip_prefix("tests/"),
        _ => path
            .strip_prefix("crates/")
            .and_then(|path| path.strip_prefix(krate))
            .filter(|p| p.starts_with('/')),
    };
    let Some(rest) = rest else { return false };
    let wanted = file.rsplit("::").next().unwrap_or(file);
    let mut parts = rest.trim_end_matches(".rs").split('/');
    if !parts.any(|part| part == wanted) {
        return false;
    }
    match test {
        "*" => ["#[test]", "#[tokio::test", "proptest!"].iter().any(|mark| text.contains(mark)),
        test => ["(", "<"].iter().any(|next| text.contains(&format!("fn {test}{next}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_be_there_and_sameness_must_be_held() {
        let sources = [
            ("crates/api/src/pod.rs".to_owned(), "#[test]\nfn pods_end() {}".to_owned()),
            ("crates/api/src/label/tests.rs".to_owned(), "fn labels_match() {}".to_owned()),
            ("tests/tests/crash.rs".to_owned(), "#[test]\nfn it_comes_back() {}".to_owned()),
            ("crates/apiserver/src/other.rs".to_owned(), "fn not_of_api() {}".to_owned()),
        ];
        let text = "| behaviour | upstream | state | test |\n|---|---|---|---|\n\
            | a | x | same | `api::pod::pods_end`, `api::label::labels_match` |\n\
            | b | x | same | `blackbox::crash::*` |\n\
            | c | x | same | no test |\n\
            | d | x | DIFFERS | no test |\n\
            | e | x | same | `api::pod::pods_begin` |\n\
            | f | x | same, but for g | `api::other::not_of_api` |\n\
            | h | x | same | `api::label::*` |\n";
        assert_eq!(
            faults(text, &sources).unwrap(),
            [
                "docs/compat.md:5: \"c\" is said to be the same and no test holds it",
                "docs/compat.md:7: there is no test `api::pod::pods_begin`",
                "docs/compat.md:8: there is no test `api::other::not_of_api`",
                "docs/compat.md:9: there is no test `api::label::*`",
            ]
        );
    }
}
