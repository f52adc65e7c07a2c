//! Which store the server keeps its objects in, and what servers that share one must agree on.
//!
//! Servers on one etcd are one cluster: a certificate or token that one of them has signed must be good for all, so they
//! need the same CA and the same service-account key. The files stay out of etcd, whose readers would else have the
//! CA's key: whoever adds a server copies them (docs/runbooks/several-servers.md). What is in etcd are fingerprints,
//! written by the first server; one with other files is refused before it answers anybody. Controllers and scheduler
//! run in the server that holds their Lease, under upstream's names and times.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use apiserver::pki::Pki;
use client::lease::Candidacy;
use process::Metrics;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Change, EmbeddedStore, EtcdStore, Expect, Store, Write, WriteError, embedded, etcd};

use crate::cli::{ServeArgs, StoreChoice};
use crate::exit::Failure;
use crate::paths::DataDir;

/// Where the fingerprints lie: beside the API server's keys, which begin with `/registry/`.
const IDENTITY: &str = "/cluster/identity";
/// Upstream's names, which the bootstrap roles grant.
const CONTROLLERS_LEASE: &str = "kube-controller-manager";
const SCHEDULER_LEASE: &str = "kube-scheduler";

/// A store that answers.
pub struct Opened {
    pub store: Arc<dyn Store>,
    pub election: Election,
}

/// For which leases this server competes; for none where it is the only one.
#[derive(Default)]
pub struct Election {
    pub controllers: Option<Candidacy>,
    pub scheduler: Option<Candidacy>,
}

/// Opens the store that the flags name. `name` tells this server from the others in the leases.
pub async fn open(
    data: &DataDir,
    serve: &ServeArgs,
    pki: &Pki,
    name: &str,
    metrics: &Metrics,
) -> Result<Opened> {
    let files = &serve.etcd;
    let tls = etcd::TlsFiles {
        ca: files.etcd_cafile.clone(),
        certificate: files.etcd_certfile.clone(),
        key: files.etcd_keyfile.clone(),
    };
    let address = match &serve.store {
        StoreChoice::Etcd(address) => address,
        StoreChoice::Embedded => {
            expect_no_tls(&tls)?;
            let options = embedded::Options { metrics: metrics.clone(), ..embedded::Options::default() };
            let store = EmbeddedStore::open_with(data.store(), options)
                .with_context(|| format!("open {}", data.store().display()))?;
            return Ok(Opened { store: Arc::new(store), election: Election::default() });
        }
    };
    if !address.tls {
        expect_no_tls(&tls)?;
    }
    let options = etcd::Options { tls, metrics: metrics.clone(), ..etcd::Options::new(address.clone()) };
    let store = EtcdStore::connect(options).await.context("open the store")?;
    let own = Identity::of(pki);
    agree(&store, &own, &address.to_string(), &data.pki()).await?;
    let election = Election {
        controllers: Some(Candidacy::for_component(CONTROLLERS_LEASE, name)),
        scheduler: Some(Candidacy::for_component(SCHEDULER_LEASE, name)),
    };
    Ok(Opened { store: Arc::new(store), election })
}

fn expect_no_tls(files: &etcd::TlsFiles) -> Result<()> {
    if *files == etcd::TlsFiles::default() {
        return Ok(());
    }
    let text =
        "--etcd-cafile, --etcd-certfile and --etcd-keyfile are for a store with TLS: --store etcds://…";
    Err(Failure::Usage(text.to_owned()).into())
}

/// SHA-256 of what all servers must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    ca_certificate: String,
    service_account_key: String,
}

impl Identity {
    fn of(pki: &Pki) -> Identity {
        Identity {
            ca_certificate: fingerprint(pki.authority().certificate()),
            // A copy may have gained an end of line.
            service_account_key: fingerprint(pki.service_accounts_key_pem.trim().as_bytes()),
        }
    }

    /// The files that are not the other's.
    fn differing(&self, other: &Identity) -> Vec<&'static str> {
        let mut files = Vec::new();
        if self.ca_certificate != other.ca_certificate {
            files.extend(["ca.crt", "ca.key"]);
        }
        if self.service_account_key != other.service_account_key {
            files.push("sa.key");
        }
        files
    }
}

fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Leaves our fingerprints where there are none, and compares where there are.
async fn agree(store: &dyn Store, own: &Identity, address: &str, folder: &Path) -> Result<()> {
    let value = serde_json::to_vec(own).context("write the cluster's identity")?;
    let write = Write { key: IDENTITY.to_owned(), expect: Expect::Absent, change: Change::Put(value.into()) };
    let current = match store.write(write).await {
        Ok(_) => return Ok(()),
        Err(WriteError::Mismatch { current, .. }) => current,
        Err(error) => return Err(error).context("write the cluster's identity"),
    };
    let Some(current) = current else {
        bail!("the cluster's identity went away while it was read; start again")
    };
    let others: Identity = serde_json::from_slice(&current.value).with_context(|| {
        format!("{IDENTITY} in {address} is not readable: another program's, or a newer everynode's")
    })?;
    let files = own.differing(&others);
    if files.is_empty() {
        return Ok(());
    }
    bail!(
        "{address} belongs to a cluster with another {}: copy ca.crt, ca.key and sa.key from another server's \
         DIR/pki to {}, or use another prefix (etcd://HOST:PORT/PREFIX) for a cluster of its own",
        files.join(", "),
        folder.display()
    );
}

#[cfg(test)]
mod tests {
    use store::MemoryStore;

    use super::*;

    fn identity(ca: &str, key: &str) -> Identity {
        Identity {
            ca_certificate: fingerprint(ca.as_bytes()),
            service_account_key: fingerprint(key.as_bytes()),
        }
    }

    #[tokio::test]
    async fn server_with_other_keys_than_the_first_is_refused_with_what_to_copy() {
        let store = MemoryStore::new();
        let asked = async |own: Identity| {
            let told = agree(&store, &own, "etcd://a:2379/everynode", Path::new("/d/pki")).await;
            told.map_err(|error| error.to_string())
        };
        asked(identity("ca", "key")).await.unwrap();
        asked(identity("ca", "key")).await.unwrap();
        let refused = asked(identity("another", "key")).await.unwrap_err();
        assert!(refused.contains("with another ca.crt, ca.key: copy"), "{refused}");
        let refused = asked(identity("ca", "another")).await.unwrap_err();
        assert!(refused.contains("with another sa.key: copy") && refused.contains("/d/pki"), "{refused}");
    }
}
