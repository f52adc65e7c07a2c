//! `everynode token create|list|delete`: bootstrap tokens, and the command that joins a new machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use agent::joining::CaHash;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::api::core::v1::{Endpoints, Secret};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};

use crate::cli::{ServerAt, TokenCommand};
use crate::exit::Failure;

const NAMESPACE: &str = "kube-system";
const PREFIX: &str = "bootstrap-token-";
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// Whoever shows such a token.
const GROUP: &str = "system:bootstrappers:everynode:nodes";
/// Every node that has joined.
const NODES: &str = "system:nodes";
const ID_CHARS: usize = 6;
const SECRET_CHARS: usize = 16;

pub async fn run(command: TokenCommand) -> Result<()> {
    match command {
        TokenCommand::Create { at, ttl, server, description } => create(&at, ttl, server, description).await,
        TokenCommand::List { at } => list(&at).await,
        TokenCommand::Delete { at, id } => delete(&at, &id).await,
    }
}

/// The kubeconfig that counts, and a client of it.
async fn connect(at: &ServerAt) -> Result<(kube::Client, kube::config::Kubeconfig)> {
    let path = super::kubeconfig_of(at.kubeconfig.as_deref(), &at.data);
    let client = super::client_of(&path).await?;
    let file =
        kube::config::Kubeconfig::read_from(&path).with_context(|| format!("read {}", path.display()))?;
    Ok((client, file))
}

async fn create(at: &ServerAt, ttl: Duration, server: Option<String>, description: String) -> Result<()> {
    let (client, file) = connect(at).await?;
    let (own_url, hash) = server_of(&file)?;
    let url = match server {
        Some(url) => url,
        None => advertised(&client, &own_url).await?,
    };
    allow_joining(&client).await?;
    let (id, secret) = (random_text(ID_CHARS)?, random_text(SECRET_CHARS)?);
    let ends = Timestamp::now().checked_add(SignedDuration::try_from(ttl)?)?.round(Unit::Second)?;
    let texts = [
        ("token-id", id.clone()),
        ("token-secret", secret.clone()),
        ("description", description),
        ("expiration", ends.to_string()),
        ("usage-bootstrap-authentication", "true".to_owned()),
        ("auth-extra-groups", GROUP.to_owned()),
    ];
    let made = Secret {
        metadata: ObjectMeta { name: Some(format!("{PREFIX}{id}")), ..ObjectMeta::default() },
        type_: Some(TYPE.to_owned()),
        string_data: Some(texts.into_iter().map(|(key, text)| (key.to_owned(), text)).collect()),
        ..Secret::default()
    };
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    secrets.create(&PostParams::default(), &made).await.context("make the token")?;
    eprintln!("Run this on the new machine until {ends}:");
    println!("everynode agent --server {url} --token {id}.{secret} --ca-cert-hash {hash}");
    Ok(())
}

/// The server's own URL and the hash of its CA, as the kubeconfig has them.
fn server_of(file: &kube::config::Kubeconfig) -> Result<(String, CaHash)> {
    let cluster =
        file.clusters.iter().find_map(|named| named.cluster.as_ref()).context("it names no cluster")?;
    let url = cluster.server.clone().context("its cluster has no server")?;
    let pem = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (Some(encoded), _) => String::from_utf8(STANDARD.decode(encoded)?)?,
        (None, Some(path)) => std::fs::read_to_string(path).with_context(|| format!("read {path}"))?,
        (None, None) => bail!("its cluster has no certificate authority"),
    };
    Ok((url, CaHash::of_pem(&pem)?))
}

/// Where other machines reach the server: what it publishes as the endpoints of the Service `kubernetes`.
async fn advertised(client: &kube::Client, own_url: &str) -> Result<String> {
    let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), "default");
    let found = endpoints.get_opt("kubernetes").await.context("ask where the server is reached")?;
    let subset = found.and_then(|found| found.subsets?.into_iter().next());
    let address = subset.as_ref().and_then(|subset| subset.addresses.as_ref()?.first());
    let port = subset.as_ref().and_then(|subset| subset.ports.as_ref()?.first());
    let (Some(address), Some(port)) = (address, port) else { return Ok(own_url.to_owned()) };
    let ip: IpAddr = address.ip.parse().context("the server's address")?;
    if ip.is_loopback() {
        eprintln!(
            "The server listens on {ip} only, where no other machine reaches it: start it with --listen 0.0.0.0:6443, \
             or name its address with --server."
        );
    }
    Ok(format!("https://{}", std::net::SocketAddr::new(ip, u16::try_from(port.port)?)))
}

/// Lets whoever shows a token ask for a node's certificate, has that approved, and its renewal too. As kubeadm binds
/// them.
async fn allow_joining(client: &kube::Client) -> Result<()> {
    let csr = "system:certificates.k8s.io:certificatesigningrequests";
    let wanted = [
        ("everynode:node-bootstrapper", "system:node-bootstrapper".to_owned(), GROUP),
        ("everynode:node-autoapprove-bootstrap", format!("{csr}:nodeclient"), GROUP),
        ("everynode:node-autoapprove-renewal", format!("{csr}:selfnodeclient"), NODES),
    ];
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    for (name, role, group) in wanted {
        let binding = ClusterRoleBinding {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".to_owned(),
                kind: "ClusterRole".to_owned(),
                name: role,
            },
            subjects: Some(vec![Subject {
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
                kind: "Group".to_owned(),
                name: group.to_owned(),
                ..Subject::default()
            }]),
        };
        match bindings.create(&PostParams::default(), &binding).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            Err(error) => return Err(error).context("let machines with a token ask for certificates"),
        }
    }
    Ok(())
}

async fn list(at: &ServerAt) -> Result<()> {
    let (client, _) = connect(at).await?;
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    let found = secrets.list(&ListParams::default().fields(&format!("type={TYPE}"))).await?;
    println!("{:<8}{:<24}DESCRIPTION", "ID", "UNTIL");
    for secret in found {
        let data: BTreeMap<String, String> = secret
            .data
            .clone()
            .unwrap_or_default()
            .into_iter()
            .map(|(key, bytes)| (key, String::from_utf8_lossy(&bytes.0).into_owned()))
            .collect();
        let text = |key: &str| data.get(key).cloned().unwrap_or_default();
        let until = data.get("expiration").cloned().unwrap_or_else(|| "for ever".to_owned());
        let id = secret.name_any().trim_start_matches(PREFIX).to_owned();
        println!("{id:<8}{until:<24}{}", text("description"));
    }
    Ok(())
}

async fn delete(at: &ServerAt, id: &str) -> Result<()> {
    let (client, _) = connect(at).await?;
    // Whoever pastes the whole token means its id.
    let id = id.split('.').next().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
    match secrets.delete(&format!("{PREFIX}{id}"), &DeleteParams::default()).await {
        Ok(_) => {
            println!("bootstrap token {id:?} deleted");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            Err(Failure::Usage(format!("there is no bootstrap token {id:?}")).into())
        }
        Err(error) => Err(error).context("delete the token"),
    }
}

/// Lower-case letters and digits from the kernel's generator.
fn random_text(chars: usize) -> Result<String> {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    /// The largest multiple of the alphabet's length in a byte: what is above would favour its first letters.
    const BYTES_FAIR: u8 = 252;
    let mut text = String::new();
    while text.len() < chars {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| anyhow::anyhow!("ask the kernel for random bytes: {error}"))?;
        let fair = bytes.iter().filter(|byte| **byte < BYTES_FAIR);
        text.extend(fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])));
    }
    text.truncate(chars);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_form_that_the_server_wants() {
        let (one, two) = (random_text(SECRET_CHARS).unwrap(), random_text(SECRET_CHARS).unwrap());
        assert_eq!(one.len(), SECRET_CHARS);
        assert!(one.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        assert_ne!(one, two);
    }
}
