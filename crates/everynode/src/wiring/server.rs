//! The API server with its controllers and scheduler, each with its own identity.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use apiserver::access::User;
use apiserver::access::token::{self, Issuer, SigningKey};
use apiserver::pki::{NodeIdentity, Pki, ServingNames, kubeconfig};
use process::{Metrics, SystemClock, Tasks};
use tokio::net::TcpListener;

use super::hold::write_whole;
use super::store::Opened;
use crate::cli::{ServeArgs, Switch};
use crate::paths::DataDir;

/// A server that answers, and the identities that were made for it.
pub struct Served {
    pub server: apiserver::Server,
    pub pki: Pki,
    /// Of the node that this server made credentials for.
    pub node: NodeIdentity,
    pub node_name: String,
    /// The address that the node's certificate names.
    pub node_ip: IpAddr,
    address: SocketAddr,
}

/// Opens the store, makes the certificates, listens, and starts controllers and scheduler.
pub async fn start(
    data: &DataDir,
    serve: &ServeArgs,
    node_name: &str,
    node_ip: &Option<IpAddr>,
    metrics: &Metrics,
    tasks: &Tasks,
) -> Result<Served> {
    let listen = serve.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    let address = listener.local_addr()?;
    let now = jiff::Timestamp::now();
    let node_ip = node_ip.unwrap_or_else(super::node::address);
    let service_range = serve.service_cluster_ip_range;
    // Listening everywhere, the server is reached at the machine's address; on loopback only from this machine.
    let reached_at = if listen.ip().is_unspecified() { node_ip } else { listen.ip() };
    let mut names = ServingNames::api_server(listen.ip(), &super::node::hostname());
    names.addresses.extend([service_range.first(), reached_at]);
    let pki = Pki::open(data.pki(), &names, now).context("certificates")?;
    let node =
        pki.node(node_name, &[node_ip, IpAddr::V4(Ipv4Addr::LOCALHOST)], now).context("node certificates")?;

    let Opened { store, election } = super::store::open(data, serve, &pki, node_name, metrics).await?;
    let config = apiserver::Config {
        node_tls: Some(pki.node_tls()?),
        issuer: Some(Arc::new(issuer(&pki, node_ip, address.port())?)),
        metrics: Some(metrics.clone()),
        service_range,
        client_ca_pem: Some(pki.ca_pem().to_owned()),
        advertised: Some(SocketAddr::new(reached_at, address.port())),
        ..apiserver::Config::new(SystemClock::shared())
    };
    let server = apiserver::Server::new(store, config).await.context("start the API server")?;
    let (serving, tls, ending) = (server.clone(), pki.server_tls()?, tasks.shutdown_signal().clone());
    tasks.spawn("api server", async move { serving.serve(listener, tls, ending).await });

    if !serve.controllers.0.is_empty() {
        let client = server.client_for(User::controllers());
        let options = controllers::Options {
            which: serve.controllers.0.clone(),
            root_ca_pem: Some(pki.ca_pem().to_owned()),
            election: election.controllers,
            signing: Some(Arc::new(signing_authority(&pki)?)),
            ..controllers::Options::default()
        };
        let shutdown = tasks.shutdown_signal().clone();
        tasks.supervise("controllers", move || {
            controllers::run(client.clone(), options.clone(), shutdown.clone())
        });
    }
    if serve.scheduler == Switch::On {
        let client = server.client_for(User::scheduler());
        let options = scheduler::Options { election: election.scheduler, ..scheduler::Options::default() };
        let shutdown = tasks.shutdown_signal().clone();
        tasks.supervise("scheduler", move || {
            scheduler::run(client.clone(), options.clone(), shutdown.clone())
        });
    }
    Ok(Served { server, pki, node, node_name: node_name.to_owned(), node_ip, address })
}

/// Certificate requests are signed by the CA that signs everything else.
fn signing_authority(pki: &Pki) -> Result<controllers::certificates::authority::Authority> {
    controllers::certificates::authority::Authority::from_pem(pki.ca_pem(), pki.authority().key_pem())
        .context("CA for certificate requests")
}

/// Tokens of service accounts are signed with the key beside the certificates; whoever checks them without asking this
/// server finds the public half at the address by which other machines reach it.
fn issuer(pki: &Pki, address: IpAddr, port: u16) -> Result<Issuer> {
    let key = SigningKey::from_pem(&pki.service_accounts_key_pem).context("service accounts' key")?;
    Ok(Issuer::new(key, token::ISSUER, format!("https://{}/openid/v1/jwks", SocketAddr::new(address, port))))
}

impl Served {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients on this machine dial; 0.0.0.0 is where to listen, not where to dial.
    fn url(&self) -> String {
        let port = self.address.port();
        match self.address.ip() {
            ip if ip.is_unspecified() => format!("https://127.0.0.1:{port}"),
            IpAddr::V6(ip) => format!("https://[{ip}]:{port}"),
            IpAddr::V4(ip) => format!("https://{ip}:{port}"),
        }
    }

    pub fn admin_client(&self) -> kube::Client {
        self.server.client_for(User::admin())
    }

    pub fn node_client(&self) -> kube::Client {
        self.server.client_for(User::node(&self.node_name))
    }

    /// admin.kubeconfig for people, agent.kubeconfig for an agent process beside this server.
    pub fn write_kubeconfigs(&self, data: &DataDir) -> Result<()> {
        let url = self.url();
        let admin = kubeconfig(&url, self.pki.ca_pem(), "admin", &self.pki.admin);
        write_whole(&data.admin_kubeconfig(), admin.as_bytes(), 0o600)?;
        let node = kubeconfig(&url, self.pki.ca_pem(), &self.node_name, &self.node.client);
        write_whole(&data.agent_kubeconfig(), node.as_bytes(), 0o600)
    }
}
