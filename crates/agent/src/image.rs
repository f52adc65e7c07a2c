//! Images of this node: loading an archive, pulling with credentials. Listing is CRI's own.
//!
//! Loading goes through `ctr`, because CRI can only pull. Whether an image is pulled is [`podmachine`]'s decision.

use std::path::Path;
use std::time::Instant;

use cri::RegistryAuth;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret};
use podmachine::{Failure, ImageState, ImageVerdict, PodSource, PulledImages};
use tokio::process::Command;

use crate::containerd::{ContainerdError, Programs};
use crate::context::NodeContext;
use crate::objects::{self, Names};
use crate::spec::PodId;

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

/// An image that was pulled.
#[derive(Debug)]
pub struct Pulled {
    pub image_ref: String,
    pub size_bytes: u64,
    pub took_ms: u64,
}

/// Pulls one image with the credentials that the Pod names.
pub async fn pull(
    context: &NodeContext,
    pod: &Pod,
    source: PodSource,
    image: &str,
) -> Result<Pulled, Failure> {
    let began = Instant::now();
    let id = PodId::of(pod);
    let names = Names::of_image_pulls(pod);
    let found = objects::fetch(context.objects_of(source, &id.uid), &id.namespace, &names)
        .await
        .map_err(|error| Failure::Pull(crate::error_chain(&error)))?;
    let auth = found.secrets.values().flatten().find_map(|secret| registry_auth(secret, image));
    match context.runtime.pull_image(image, auth.as_ref(), None).await {
        Ok(reference) => {
            let size_bytes = match context.runtime.image_status(image).await {
                Ok(Some(found)) => found.size_bytes,
                _ => 0,
            };
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            Ok(Pulled { image_ref: reference.0, size_bytes, took_ms })
        }
        Err(cri::Error::Unavailable { message, .. }) => Err(Failure::Unavailable(message)),
        Err(error) => Err(Failure::Pull(match &error {
            cri::Error::NotFound { message, .. } | cri::Error::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        })),
    }
}

/// Makes every image of a Pod ready for its start, as their policies say.
pub async fn fetch_all(context: &NodeContext, pod: &Pod, source: PodSource) -> Result<PulledImages, String> {
    let mut pulled = PulledImages::default();
    let none = PodSpec::default();
    for container in api::pod::all_containers(pod.spec.as_ref().unwrap_or(&none)) {
        let image = container.image.clone().unwrap_or_default();
        let state = state(context, &image).await.map_err(|error| error.to_string())?;
        match podmachine::image_verdict(container, &state) {
            ImageVerdict::Use { .. } => {}
            ImageVerdict::Pull => {
                let done = pull(context, pod, source, &image)
                    .await
                    .map_err(|failure| format!("Failed to pull image \"{image}\": {failure}"))?;
                pulled.insert(container.name.clone(), (image, done.image_ref));
            }
            ImageVerdict::Refuse { message, .. } => return Err(message),
            ImageVerdict::Ask => return Err(format!("it is not known whether image \"{image}\" is there")),
        }
    }
    Ok(pulled)
}

/// Whether an image is on this node.
pub async fn state(context: &NodeContext, image: &str) -> cri::Result<ImageState> {
    Ok(match context.runtime.image_status(image).await {
        Ok(Some(found)) => ImageState::Present { image_ref: found.id, size_bytes: found.size_bytes },
        Ok(None) => ImageState::Absent,
        Err(cri::Error::Refused { message, .. }) if message.contains("invalid reference") => {
            ImageState::InvalidName { message }
        }
        Err(error) => return Err(error),
    })
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
