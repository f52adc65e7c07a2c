//! A machine that joins, and the certificates that it lives on afterwards.
//!
//! The first start asks with the token and keeps what it got in DIR/agent.kubeconfig; later starts need neither token nor
//! server. Both certificates are renewed while the agent runs: the client's by the agent's own rights, that of its HTTPS
//! API by a request that names its addresses.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent::ServingCertificate;
use agent::joining::{Certified, JoinError, Rotating, Wanted, certify, find_ca, renewal_at};
use anyhow::{Context, Result};
use apiserver::pki::{Identity, kubeconfig};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kube::config::Kubeconfig;
use process::{Clock, SystemClock, Tasks};
use serde_json::Value;

use super::hold::write_whole;
use crate::cli::JoinArgs;
use crate::exit::Failure;

/// While the server cannot be reached, or signs nothing.
const RETRY_SECONDS: u64 = 5;
/// A certificate that is not renewed yet has a fifth of its life left.
const RENEWAL_RETRY_SECONDS: u64 = 60;
/// An ended certificate is looked for this often at most: clocks may jump.
const LOOK_AGAIN_SECONDS_MAX: u64 = 3_600;

/// Whom a kubeconfig names, and with what.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub server: String,
    pub ca_pem: String,
    /// `None`: it has no certificate in it.
    pub client: Option<Certified>,
}

impl Credentials {
    /// Of the current context. Read as text: a library keeps keys to itself.
    pub fn read(path: &Path) -> Result<Credentials> {
        let shown = || format!("read {}", path.display());
        let text = std::fs::read_to_string(path).with_context(shown)?;
        let file: Value = serde_saphyr::from_str(&text).with_context(shown)?;
        let named = |list: &str, name: &Value| {
            let all = file[list].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|entry| entry["name"] == *name).unwrap_or_default()
        };
        let context = named("contexts", &file["current-context"]);
        let cluster = &named("clusters", &context["context"]["cluster"])["cluster"];
        let user = &named("users", &context["context"]["user"])["user"];
        let data = |value: &Value| -> Result<Option<String>> {
            let Some(encoded) = value.as_str() else { return Ok(None) };
            Ok(Some(String::from_utf8(STANDARD.decode(encoded.trim())?)?))
        };
        let ca_pem = match (
            data(&cluster["certificate-authority-data"])?,
            cluster["certificate-authority"].as_str(),
        ) {
            (Some(pem), _) => pem,
            (None, Some(path)) => std::fs::read_to_string(path).with_context(|| format!("read {path}"))?,
            (None, None) => String::new(),
        };
        let client = match (data(&user["client-certificate-data"])?, data(&user["client-key-data"])?) {
            (Some(certificate_pem), Some(key_pem)) => Some(Certified { certificate_pem, key_pem }),
            _ => None,
        };
        let server = cluster["server"].as_str().unwrap_or_default().to_owned();
        Ok(Credentials { server, ca_pem, client })
    }

    /// Whether the certificate still lets the machine in.
    pub fn hold(&self, now: Timestamp) -> bool {
        let validity = self.client.as_ref().and_then(|client| client.validity().ok());
        validity.is_some_and(|validity| now < validity.until)
    }
}

/// Joins, and writes the kubeconfig. Tries until the server has signed; what can never be is an error.
pub async fn join(args: &JoinArgs, server: &str, node_name: &str, kubeconfig: &Path) -> Result<()> {
    let token = args.token.clone().unwrap_or_default();
    loop {
        let failed = match try_join(args, server, &token, node_name, kubeconfig).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let refused = |error: &JoinError| match error {
            JoinError::Ask(source) => {
                matches!(&**source, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 422))
            }
            JoinError::Connect { .. } | JoinError::Gone { .. } => false,
            JoinError::Server(_)
            | JoinError::Hash { .. }
            | JoinError::Material { .. }
            | JoinError::Refused { .. } => true,
        };
        match failed.downcast_ref::<JoinError>() {
            Some(error) if refused(error) => {
                let hint = match error {
                    JoinError::Ask(_) => {
                        "; tokens end: make another with `everynode token create` on the server"
                    }
                    _ => "",
                };
                return Err(Failure::Usage(format!("join {server}: {failed:#}{hint}")).into());
            }
            _ => tracing::warn!(server, error = format!("{failed:#}"), "not joined yet; tried again"),
        }
        tokio::time::sleep(Duration::from_secs(RETRY_SECONDS)).await;
    }
}

async fn try_join(
    args: &JoinArgs,
    server: &str,
    token: &str,
    node_name: &str,
    kubeconfig: &Path,
) -> Result<()> {
    let ca_pem = find_ca(server, &args.ca_cert_hash).await?;
    let mut config = base_config(server, &ca_pem)?;
    config.auth_info.token = Some(token.to_owned().into());
    let client = kube::Client::try_from(config)?;
    let clock = SystemClock::shared();
    let certified = certify(&client, node_name, &Wanted::Client, &*clock).await?;
    write(kubeconfig, server, &ca_pem, node_name, &certified)?;
    tracing::info!(server, node = node_name, "joined");
    Ok(())
}

fn base_config(server: &str, ca_pem: &str) -> Result<kube::Config> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let mut config = kube::Config::new(server.parse().context("the server's URL")?);
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca_pem.as_bytes()).collect();
    config.root_cert = Some(roots?.into_iter().map(|root| root.to_vec()).collect());
    Ok(config)
}

fn write(path: &Path, server: &str, ca_pem: &str, node_name: &str, certified: &Certified) -> Result<()> {
    let identity =
        Identity { certificate_pem: certified.certificate_pem.clone(), key_pem: certified.key_pem.clone() };
    write_whole(path, kubeconfig(server, ca_pem, node_name, &identity).as_bytes(), 0o600)
}

/// A client of a kubeconfig that follows it when it is renewed.
pub async fn client(file: Kubeconfig) -> Result<Rotating> {
    let config = kube::Config::from_custom_kubeconfig(file, &Default::default()).await?;
    Ok(Rotating::new(kube::Client::try_from(config)?))
}

/// A certificate that is renewed while the agent runs.
enum Kept {
    /// That of a kubeconfig.
    Client { rotating: Rotating, credentials: Credentials, path: PathBuf },
    /// That of the agent's HTTPS API.
    Serving { client: kube::Client, serving: ServingCertificate, addresses: Vec<IpAddr>, path: PathBuf },
}

impl Kept {
    /// Asks for the next one, and puts it to use.
    async fn renew(&self, node_name: &str, clock: &dyn Clock) -> Result<Certified> {
        match self {
            Kept::Client { rotating, credentials, path } => {
                let certified = certify(&rotating.client(), node_name, &Wanted::Client, clock).await?;
                take(rotating, credentials, node_name, path, &certified).await?;
                Ok(certified)
            }
            Kept::Serving { client, serving, addresses, path } => {
                let wanted = Wanted::Serving { addresses: addresses.clone() };
                let certified = certify(client, node_name, &wanted, clock).await?;
                serving.replace(&certified.certificate_pem, &certified.key_pem)?;
                let text = format!("{}{}", certified.certificate_pem, certified.key_pem);
                write_whole(path, text.as_bytes(), 0o600)?;
                Ok(certified)
            }
        }
    }

    /// Whose it is, for people.
    fn whose(&self) -> &'static str {
        match self {
            Kept::Client { .. } => "the node",
            Kept::Serving { .. } => "the agent's API",
        }
    }

    /// Renews it in its time, or has it made if there is none yet; tries until it is.
    fn keep(self, node_name: String, present: Option<Certified>, tasks: &Tasks) {
        let shutdown = tasks.shutdown_signal().clone();
        tasks.spawn(format!("certificate of {}", self.whose()), async move {
            let clock = SystemClock::shared();
            let keep = async {
                let (mut current, whose) = (present, self.whose());
                loop {
                    if let Some(current) = &current {
                        wait_for_renewal(&*clock, current).await;
                    }
                    match self.renew(&node_name, &*clock).await {
                        Ok(certified) => {
                            tracing::info!("{whose} has a new certificate");
                            current = Some(certified);
                        }
                        Err(error) => {
                            let error = format!("{error:#}");
                            tracing::warn!(
                                error,
                                "{whose} has no new certificate of the cluster; tried again"
                            );
                            let pause = if current.is_some() { RENEWAL_RETRY_SECONDS } else { RETRY_SECONDS };
                            clock.sleep(Duration::from_secs(pause)).await;
                        }
                    }
                }
            };
            tokio::select! {
                // A request that is left behind is cleaned away by the server.
                () = shutdown.cancelled() => {}
                () = keep => {}
            }
        });
    }
}

/// Renews the client's certificate in `kubeconfig`.
pub fn keep_client(
    rotating: Rotating,
    credentials: Credentials,
    node_name: String,
    path: PathBuf,
    tasks: &Tasks,
) {
    let Some(present) = credentials.client.clone() else { return };
    Kept::Client { rotating, credentials, path }.keep(node_name, Some(present), tasks);
}

async fn take(
    rotating: &Rotating,
    now: &Credentials,
    node_name: &str,
    path: &Path,
    certified: &Certified,
) -> Result<()> {
    write(path, &now.server, &now.ca_pem, node_name, certified)?;
    let config =
        kube::Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &Default::default()).await?;
    rotating.replace(kube::Client::try_from(config)?);
    Ok(())
}

/// What the agent's HTTPS API shows until the server has signed something better.
pub fn self_signed(node_name: &str, addresses: &[IpAddr]) -> Result<Certified> {
    let mut names = vec![node_name.to_owned()];
    names.extend(addresses.iter().map(ToString::to_string));
    let made = rcgen::generate_simple_self_signed(names).context("make a certificate for the agent's API")?;
    Ok(Certified { certificate_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() })
}

/// What an earlier start has kept, if it still holds.
pub fn kept_serving(path: &Path, now: Timestamp) -> Option<Certified> {
    // Certificate and key stand in one file, so that they are always each other's.
    let text = std::fs::read_to_string(path).ok()?;
    let kept = Certified { certificate_pem: text.clone(), key_pem: text };
    kept.validity().is_ok_and(|validity| now < validity.until).then_some(kept)
}

/// Asks for the certificate of the agent's HTTPS API, and renews it.
pub fn keep_serving(
    client: kube::Client,
    serving: ServingCertificate,
    kept: Option<Certified>,
    node_name: String,
    addresses: Vec<IpAddr>,
    path: PathBuf,
    tasks: &Tasks,
) {
    Kept::Serving { client, serving, addresses, path }.keep(node_name, kept, tasks);
}

async fn wait_for_renewal(clock: &dyn Clock, current: &Certified) {
    loop {
        let Ok(validity) = current.validity() else { return };
        let left = renewal_at(validity).duration_since(clock.now());
        let Ok(left) = Duration::try_from(left) else { return };
        if left.is_zero() {
            return;
        }
        clock.sleep(left.min(Duration::from_secs(LOOK_AGAIN_SECONDS_MAX))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.kubeconfig");
        let made = self_signed("n1", &["10.0.0.1".parse().unwrap()]).unwrap();
        write(&path, "https://10.0.0.9:6443", &made.certificate_pem, "n1", &made).unwrap();
        let read = Credentials::read(&path).unwrap();
        assert_eq!(read.server, "https://10.0.0.9:6443");
        assert_eq!(
            (read.ca_pem.as_str(), read.client.as_ref()),
            (made.certificate_pem.as_str(), Some(&made))
        );
        let validity = made.validity().unwrap();
        assert!(read.hold(validity.from) && !read.hold(validity.until));
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn serving_certificate_and_key_are_kept_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serving.pem");
        let made = self_signed("n1", &[]).unwrap();
        write_whole(&path, format!("{}{}", made.certificate_pem, made.key_pem).as_bytes(), 0o600).unwrap();
        let validity = made.validity().unwrap();
        assert!(kept_serving(&path, validity.from).is_some());
        assert!(kept_serving(&path, validity.until).is_none(), "it has ended");
        assert!(kept_serving(&folder.path().join("none"), validity.from).is_none());
    }
}
