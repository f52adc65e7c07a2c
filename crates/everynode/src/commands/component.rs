//! `everynode controllers` and `everynode scheduler`: one component by itself, against any Kubernetes API.
//!
//! It knows the API server by a kubeconfig file or, in a Pod, by the service account's. Several processes may run: one acts,
//! the others wait for its Lease.

use anyhow::{Context, Result};
use client::lease::Candidacy;
use kube::{Client, Config};

use crate::cli::{ApiArgs, ControllersArgs, ElectionArgs, SchedulerArgs};
use crate::commands::run::until_told_to_stop;
use crate::exit::Failure;
use crate::wiring::node::hostname;

/// Not upstream's `kube-controller-manager`: that one goes on, without the controllers that run here.
const CONTROLLERS_LEASE: &str = "everynode-controllers";
/// Upstream's: whoever holds it schedules, be it one of ours or of theirs.
const SCHEDULER_LEASE: &str = "kube-scheduler";

pub fn controllers(args: ControllersArgs) -> Result<()> {
    if args.controllers.0.is_empty() {
        return Err(Failure::Usage("no controller is chosen; see --controllers".to_owned()).into());
    }
    until_told_to_stop(&args.log, async |tasks| {
        let (client, server) = connect(&args.api).await?;
        let options = controllers::Options {
            which: args.controllers.0.clone(),
            election: candidacy(&args.election, CONTROLLERS_LEASE),
            ..controllers::Options::default()
        };
        let shutdown = tasks.shutdown_signal().clone();
        tasks.supervise("controllers", move || {
            controllers::run(client.clone(), options.clone(), shutdown.clone())
        });
        let names: Vec<&str> = args.controllers.0.iter().map(|controller| controller.name()).collect();
        Ok(((), format!("{} against {server}", names.join(", "))))
    })
}

pub fn scheduler(args: SchedulerArgs) -> Result<()> {
    until_told_to_stop(&args.log, async |tasks| {
        let (client, server) = connect(&args.api).await?;
        let options = scheduler::Options {
            name: args.scheduler_name.clone(),
            election: candidacy(&args.election, SCHEDULER_LEASE),
            ..scheduler::Options::default()
        };
        let shutdown = tasks.shutdown_signal().clone();
        tasks.supervise("scheduler", move || {
            scheduler::run(client.clone(), options.clone(), shutdown.clone())
        });
        Ok(((), format!("{} against {server}", args.scheduler_name)))
    })
}

/// The API server may be away: whoever uses the client waits for it.
async fn connect(api: &ApiArgs) -> Result<(Client, String)> {
    let config = match &api.kubeconfig {
        Some(file) => {
            if !file.exists() {
                return Err(Failure::Usage(format!("{} is not there", file.display())).into());
            }
            let read = kube::config::Kubeconfig::read_from(file)
                .with_context(|| format!("read {}", file.display()))?;
            Config::from_custom_kubeconfig(read, &Default::default())
                .await
                .with_context(|| format!("read {}", file.display()))?
        }
        None => Config::incluster().map_err(|error| {
            let hint = format!(
                "this is not a Pod with a service account ({error}); name the API server with --kubeconfig"
            );
            Failure::Usage(hint)
        })?,
    };
    let server = config.cluster_url.to_string();
    Ok((Client::try_from(config)?, server))
}

fn candidacy(args: &ElectionArgs, lease: &str) -> Option<Candidacy> {
    let name = args.leader_elect_resource_name.as_deref().unwrap_or(lease);
    args.leader_elect.then(|| Candidacy {
        namespace: args.leader_elect_resource_namespace.clone(),
        ..Candidacy::for_component(name, &hostname())
    })
}
