//! Images of this node: loading an archive, and the credentials for pulling. Listing is CRI's own.
//!
//! Loading goes through `ctr`, because CRI can only pull.

use std::path::Path;

use cri::RegistryAuth;
use k8s_openapi::api::core::v1::Secret;
use tokio::process::Command;

use crate::containerd::{ContainerdError, Programs};

/// containerd's namespace of everything that CRI sees.
const CRI_NAMESPACE: &str = "k8s.io";

/// Puts the images of an OCI or docker archive into the containerd behind a socket; returns their names.
pub async fn load(socket: &Path, archive: &Path) -> Result<Vec<String>, ContainerdError> {
    let programs = Programs::find()?;
    import(&programs.ctr, socket, archive).await
}

/// Like [`load`], with the `ctr` that is meant.
pub async fn import(ctr: &Path, socket: &Path, archive: &Path) -> Result<Vec<String>, ContainerdError> {
    let mut command = Command::new(ctr);
    command
        .arg("--address")
        .arg(socket)
        .args(["--namespace", CRI_NAMESPACE, "images", "import"])
        .arg(archive);
    let output = crate::containerd::run("ctr", command).await?;
    Ok(imported_names(&output))
}

/// Credentials for an image's registry from a Secret of type `kubernetes.io/dockerconfigjson`.
pub fn registry_auth(secret: &Secret, image: &str) -> Option<RegistryAuth> {
    let data = secret.data.as_ref()?.get(".dockerconfigjson")?;
    let config: serde_json::Value = serde_json::from_slice(&data.0).ok()?;
    let registry = match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "index.docker.io",
    };
    let entry = config.get("auths")?.as_object()?.iter().find_map(|(server, entry)| {
        let host = server.trim_start_matches("https://").trim_start_matches("http://");
        (host.split('/').next() == Some(registry)).then_some(entry)
    })?;
    let text =
        |name: &str| entry.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    Some(RegistryAuth {
        username: text("username"),
        password: text("password"),
        auth: text("auth"),
        server_address: registry.to_owned(),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
    })
}

/// `ctr` prints `unpacking NAME (sha256:…)...done` for each image, newer ones the name and then more.
fn imported_names(output: &str) -> Vec<String> {
    output
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let name = line.strip_prefix("unpacking ").unwrap_or(line).split_whitespace().next()?;
            name.contains(['/', ':']).then(|| name.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_the_images_registry() {
        let config = r#"{"auths": {"https://reg.local:5000/v1": {"auth": "eA=="}, "index.docker.io": {"username": "u"}}}"#;
        let secret: Secret = serde_json::from_value(serde_json::json!({
            "data": {".dockerconfigjson": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, config)}}))
        .unwrap();
        assert_eq!(registry_auth(&secret, "reg.local:5000/a/b:1").unwrap().auth, "eA==");
        assert_eq!(registry_auth(&secret, "library/a").unwrap().username, "u");
        assert_eq!(registry_auth(&secret, "other.local/a"), None);
    }

    #[test]
    fn names_are_read_from_what_ctr_prints() {
        let old =
            "unpacking docker.io/library/a:1 (sha256:00)...done\nunpacking b.local/c:2 (sha256:11)...done\n";
        assert_eq!(imported_names(old), ["docker.io/library/a:1", "b.local/c:2"]);
        assert!(imported_names("").is_empty());
    }
}
