//! The cluster's certificates: made on the first start, kept, renewed before they end.
//!
//! One CA signs the server's certificate, those of the admin and of each component, and of each node a client and a
//! serving one; who a client certificate makes its holder is said by [`access::user`](crate::access::user).
//! Everything lives in one folder (0700, files 0600), each file written whole or not at all. A leaf is made anew when
//! fewer than [`RENEW_DAYS`] are left, when the names it must carry have changed, or when the CA or the
//! file is not what it was; the CA stays. Time is an argument. The layout follows kubeadm's
//! (`ca.crt`, `apiserver.crt`, `sa.key`, …).

pub mod authority;
pub mod files;
pub mod kubeconfig;
pub mod tls;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::access::user;
use authority::{Authority, Leaf, Purpose};
pub use authority::{AuthorityError, Identity};
use files::Folder;
pub use kubeconfig::kubeconfig;
pub use tls::TlsError;

/// A leaf with less time left is made anew, so that a machine that restarts monthly never serves an ended one.
pub const RENEW_DAYS: i64 = 30;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("the folder {} cannot be made ready", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The CA's certificate is there without its key: making a new CA would lock every client out.
    #[error("{} is missing beside its certificate", path.display())]
    KeyMissing { path: PathBuf },
    #[error("the CA in {} cannot be used", path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: AuthorityError,
    },
    #[error("a certificate for {name} cannot be made")]
    Issue {
        name: String,
        #[source]
        source: AuthorityError,
    },
}

/// Names and addresses that a serving certificate is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServingNames {
    pub dns: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
}

impl ServingNames {
    /// What an API server is called: where it listens, this machine, and the cluster's own names for it.
    pub fn api_server(listen: IpAddr, hostname: &str) -> ServingNames {
        let dns = [
            "localhost",
            hostname,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let mut addresses =
            BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        // 0.0.0.0 and :: are where to listen, not where to dial.
        if !listen.is_unspecified() {
            addresses.insert(listen);
        }
        let dns = dns.into_iter().filter(|name| !name.is_empty()).map(str::to_lowercase).collect();
        ServingNames { dns, addresses }
    }

    /// What a node's agent is called.
    pub fn node(node: &str, addresses: impl IntoIterator<Item = IpAddr>) -> ServingNames {
        ServingNames {
            dns: BTreeSet::from([node.to_owned()]),
            addresses: addresses.into_iter().filter(|address| !address.is_unspecified()).collect(),
        }
    }
}

/// The CA and the control plane's identities.
pub struct Pki {
    folder: Folder,
    authority: Authority,
    pub server: Identity,
    pub admin: Identity,
    pub controllers: Identity,
    pub scheduler: Identity,
    /// What the API server shows to nodes' agents.
    pub kubelet_client: Identity,
    /// Signs service accounts' tokens.
    pub service_accounts_key_pem: String,
}

/// A node's two certificates.
#[derive(Debug, Clone)]
pub struct NodeIdentity {
    /// For the API server: user `system:node:NAME`, group `system:nodes`.
    pub client: Identity,
    /// For the agent's own HTTPS API.
    pub serving: Identity,
}

impl Pki {
    /// Reads what is in `dir`, and makes what is missing, ended or named differently by now.
    pub fn open(dir: impl AsRef<Path>, server: &ServingNames, now: Timestamp) -> Result<Pki, PkiError> {
        let folder = Folder::open(dir.as_ref())?;
        let authority = authority(&folder, now)?;
        let service_accounts_key_pem = service_accounts_key(&folder)?;
        let client = |file: &str, name: &str, group: Option<&str>| {
            let leaf =
                Leaf { name: name.to_owned(), group: group.map(str::to_owned), purpose: Purpose::Client };
            identity(&folder, &authority, file, &leaf, now)
        };
        let admin = client("admin", user::ADMIN_USER, Some(user::MASTERS))?;
        let controllers = client("controller-manager", user::CONTROLLERS_USER, None)?;
        let scheduler = client("scheduler", user::SCHEDULER_USER, None)?;
        let kubelet_client =
            client("apiserver-kubelet-client", user::KUBELET_CLIENT_USER, Some(user::MASTERS))?;
        let leaf = Leaf {
            name: "kube-apiserver".to_owned(),
            group: None,
            purpose: Purpose::Serving(server.clone()),
        };
        let server = identity(&folder, &authority, "apiserver", &leaf, now)?;
        Ok(Pki {
            folder,
            authority,
            server,
            admin,
            controllers,
            scheduler,
            kubelet_client,
            service_accounts_key_pem,
        })
    }

    /// A node's certificates, kept beside the others. `addresses` are those by which the API server
    /// dials its agent.
    pub fn node(&self, node: &str, addresses: &[IpAddr], now: Timestamp) -> Result<NodeIdentity, PkiError> {
        // A node's name is a DNS subdomain; anything else must not become a path.
        let file: String =
            node.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        let client = Leaf {
            name: format!("{}{node}", user::NODE_USER_PREFIX),
            group: Some(user::NODES.to_owned()),
            purpose: Purpose::Client,
        };
        let serving = Leaf {
            name: format!("{}{node}", user::NODE_USER_PREFIX),
            group: Some(user::NODES.to_owned()),
            purpose: Purpose::Serving(ServingNames::node(node, addresses.iter().copied())),
        };
        Ok(NodeIdentity {
            client: identity(&self.folder, &self.authority, &format!("node-{file}-client"), &client, now)?,
            serving: identity(&self.folder, &self.authority, &format!("node-{file}-serving"), &serving, now)?,
        })
    }

    /// The CA's certificate, which clients trust.
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// A later start must find the same key: with another, every token that was handed out would be void.
fn service_accounts_key(folder: &Folder) -> Result<String, PkiError> {
    if let Some(key) = folder.read("sa.key")? {
        return Ok(key);
    }
    let key = authority::new_key_pem()
        .map_err(|source| PkiError::Issue { name: "service accounts".to_owned(), source })?;
    folder.write("sa.key", key.as_bytes())?;
    Ok(key)
}

/// The CA in the folder, or a new one. The key is written first, so a CA without a certificate has signed nothing.
fn authority(folder: &Folder, now: Timestamp) -> Result<Authority, PkiError> {
    let unusable = |source| PkiError::Authority { path: folder.path("ca.crt"), source };
    let Some(certificate) = folder.read("ca.crt")? else {
        let authority = Authority::generate(now).map_err(unusable)?;
        folder.write("ca.key", authority.key_pem().as_bytes())?;
        folder.write("ca.crt", authority.certificate_pem().as_bytes())?;
        return Ok(authority);
    };
    let Some(key) = folder.read("ca.key")? else {
        return Err(PkiError::KeyMissing { path: folder.path("ca.key") });
    };
    Authority::from_pem(certificate, &key).map_err(unusable)
}

/// The identity in the folder if it still serves, or a new one.
fn identity(
    folder: &Folder,
    authority: &Authority,
    file: &str,
    leaf: &Leaf,
    now: Timestamp,
) -> Result<Identity, PkiError> {
    let (certificate_file, key_file) = (format!("{file}.crt"), format!("{file}.key"));
    if let (Some(certificate), Some(key)) = (folder.read(&certificate_file)?, folder.read(&key_file)?) {
        match authority.reuse(certificate, key, leaf, now) {
            Ok(identity) => return Ok(identity),
            Err(why) => tracing::info!(certificate = certificate_file, %why, "the certificate is made anew"),
        }
    }
    let identity =
        authority.issue(leaf, now).map_err(|source| PkiError::Issue { name: leaf.name.clone(), source })?;
    // A stop between the two leaves a pair that does not match, which the next start replaces.
    folder.write(&key_file, identity.key_pem.as_bytes())?;
    folder.write(&certificate_file, identity.certificate_pem.as_bytes())?;
    Ok(identity)
}

#[cfg(test)]
mod tests;
