//! The Pod's /etc/hosts, which every container mounts unless it brings its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::spec::sandbox::hostname;

pub const CONTAINER_PATH: &str = "/etc/hosts";
/// Marks the file as the agent's, in upstream's words: tools look for it.
const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HEADER_HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";

/// Whether this container gets the agent's file: not when it mounts something there itself.
pub fn is_wanted(container: &Container) -> bool {
    !container
        .volume_mounts
        .iter()
        .flatten()
        .any(|mount| mount.mount_path.trim_end_matches('/') == CONTAINER_PATH)
}

/// Writes the file into the Pod's folder and returns its path. One file is shared by all containers, so that it is
/// changed in place.
pub fn write(folder: &Path, pod: &Pod, pod_ips: &[String], node_name: &str) -> io::Result<PathBuf> {
    let path = folder.join("etc-hosts");
    let node_file =
        if api::pod::is_host_network(pod) { Some(fs::read_to_string(CONTAINER_PATH)?) } else { None };
    let text = text(pod, pod_ips, node_name, node_file.as_deref());
    if fs::read_to_string(&path).is_ok_and(|found| found == text) {
        return Ok(path);
    }
    fs::create_dir_all(folder)?;
    fs::write(&path, text)?;
    Ok(path)
}

fn text(pod: &Pod, pod_ips: &[String], node_name: &str, node_file: Option<&str>) -> String {
    let mut text = String::new();
    match node_file {
        Some(file) => {
            text.push_str(HEADER_HOST_NETWORK);
            text.push_str(file);
        }
        None => {
            text.push_str(HEADER);
            text.push_str(
                "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
                 fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
            );
            let name = hostname(pod, node_name);
            for ip in pod_ips {
                text.push_str(&format!("{ip}\t{name}\n"));
            }
        }
    }
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    let lines: Vec<String> = aliases
        .map(|alias| {
            format!(
                "{}\t{}\n",
                alias.ip,
                alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
            )
        })
        .collect();
    if !lines.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        text.extend(lines);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_the_pods_name_and_its_aliases() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]},
        }))
        .unwrap();
        let made = text(&pod, &["10.0.0.7".to_owned()], "node", None);
        assert!(made.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(made.contains("\n10.0.0.7\tp\n"));
        assert!(made.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
    }

    #[test]
    fn container_that_mounts_its_own_gets_none() {
        let container: Container = serde_json::from_value(serde_json::json!({
            "name": "c", "volumeMounts": [{"name": "h", "mountPath": "/etc/hosts"}]}))
        .unwrap();
        assert!(!is_wanted(&container));
    }
}
