//! Names in a manifest folder that are no manifests: hidden files, and what editors and package managers leave behind.
//!
//! DIFFERS(static-backups): upstream reads every file whose name does not begin with a dot, so that a backup copy of a
//! manifest fights with the manifest.

/// Ends of names that editors, backup tools and package managers give.
const ENDS: &[&str] = &[
    "~", ".swp", ".swo", ".swx", ".bak", ".backup", ".orig", ".rej", ".tmp", ".rpmnew", ".rpmsave",
    ".rpmorig",
];
/// vim writes a file of this name to see whether it may.
const VIM_PROBE: &str = "4913";
/// `web.yaml.dpkg-old`, `.dpkg-new`, `.dpkg-dist`, `.dpkg-tmp` …
const DPKG: &str = ".dpkg-";
/// rpm's older ones carry more after it.
const RPM: &str = ".rpm";

/// Whether a file of this name is left alone.
pub fn is_left_alone(name: &str) -> bool {
    let hidden = name.starts_with('.');
    let autosave = name.len() > 1 && name.starts_with('#') && name.ends_with('#');
    let after_last_dot = name.rfind('.').map(|at| &name[at..]).unwrap_or_default();
    let packaged = after_last_dot.starts_with(DPKG) || after_last_dot.starts_with(RPM);
    hidden || autosave || packaged || name == VIM_PROBE || ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::is_left_alone;

    #[test]
    fn what_editors_and_package_managers_leave_is_no_manifest() {
        let left = [
            ".web.yaml",
            "web.yaml~",
            ".web.yaml.swp",
            "web.swp",
            "web.yaml.bak",
            "web.backup",
            "web.yaml.orig",
            "web.tmp",
            "4913",
            "#web.yaml#",
            "web.yaml.dpkg-old",
            "web.yaml.dpkg-dist",
            "web.yaml.rpmsave",
            "web.yaml.rpmnew",
        ];
        for name in left {
            assert!(is_left_alone(name), "{name}");
        }
        for name in
            ["web.yaml", "web", "web.json", "49130", "bak", "orig.yaml", "#", "web.rpmish.yaml", "a.tmp.yaml"]
        {
            assert!(!is_left_alone(name), "{name}");
        }
    }
}
