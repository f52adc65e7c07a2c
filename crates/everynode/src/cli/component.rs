//! Flags of the components that run by themselves against any Kubernetes API. Names are upstream's where upstream has them.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::LogArgs;

#[derive(Debug, Clone, Args)]
pub struct ControllersArgs {
    #[command(flatten)]
    pub api: ApiArgs,
    /// Controllers to run: names, * for all, -NAME for all but that one
    #[arg(long, value_name = "LIST", default_value = "daemonset-controller", allow_hyphen_values = true)]
    pub controllers: controllers::Selection,
    #[command(flatten)]
    pub election: ElectionArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub struct SchedulerArgs {
    #[command(flatten)]
    pub api: ApiArgs,
    /// Pods with this spec.schedulerName are scheduled
    #[arg(long, value_name = "NAME", default_value = api::well_known::DEFAULT_SCHEDULER)]
    pub scheduler_name: String,
    #[command(flatten)]
    pub election: ElectionArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// Credentials of the API server; those of the service account when this runs in a Pod and none are given
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct ElectionArgs {
    /// Act only while holding the Lease, so that several processes can run; false where there is only this one
    #[arg(long, value_name = "true|false", default_value_t = true, action = ArgAction::Set)]
    pub leader_elect: bool,
    /// Namespace of the Lease
    #[arg(long, value_name = "NAMESPACE", default_value = api::well_known::namespace::KUBE_SYSTEM)]
    pub leader_elect_resource_namespace: String,
    /// Name of the Lease; everynode-controllers or kube-scheduler when not given
    #[arg(long, value_name = "NAME")]
    pub leader_elect_resource_name: Option<String>,
}
