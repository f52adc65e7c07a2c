//! The flags as typed.

mod component;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use apiserver::ServiceRange;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{exit, node_flags};

pub use component::{ApiArgs, ControllersArgs, ElectionArgs, SchedulerArgs};

const DATA_DIR: &str = "/var/lib/everynode";

#[derive(Debug, Parser)]
#[command(name = "everynode", version, about = "A Pod on every node, with the Kubernetes API and nothing else", after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything on this machine: API server, controllers, scheduler, node agent
    #[command(after_help = "\
Examples:
  everynode up
  everynode up --detach --data-dir /srv/everynode --listen 0.0.0.0:6443
  everynode up --container-runtime-endpoint unix:///run/containerd/containerd.sock

Stopping it (Ctrl-C, kill) stops no container; the next `up` adopts what runs. `everynode down` ends the Pods too.")]
    Up(UpArgs),
    /// End everynode on this machine and remove its Pods, mounts and bridges
    #[command(after_help = "\
Examples:
  everynode down                keep the stored objects and images for the next `up`
  everynode down --purge        remove the data folder too")]
    Down(DownArgs),
    /// Run the API server, controllers and scheduler, without a node agent
    #[command(after_help = "\
Examples:
  everynode server --listen 0.0.0.0:6443
  everynode server --data-dir /srv/everynode --detach
  everynode server --controllers='*,-daemonset-controller'           another DaemonSet controller takes its place
  everynode server --controllers= --scheduler=off                    the API server alone
  everynode server --store etcd://10.0.0.1:2379,10.0.0.2:2379        objects in etcd, which several servers may share
  everynode server --store etcds://etcd.example/cluster-1 --etcd-cafile ca.crt --etcd-certfile tls.crt --etcd-keyfile tls.key

Servers that share an etcd need the same ca.crt, ca.key and sa.key in DIR/pki: copy them from the first one before
another is started. One of them leads: it runs the controllers and the scheduler until it ends or is cut off.")]
    Server(ServerArgs),
    /// Run the node agent: joined to a server, or alone on static Pods
    #[command(after_help = "\
Examples:
  everynode agent --pod-manifest-path /etc/kubernetes/manifests      static Pods, no API server at all
  everynode agent --manifest-url https://config.example/pods.yaml --manifest-url-header 'Authorization:Bearer x'
  everynode agent --data-dir /var/lib/everynode                      the agent beside `everynode server` on one machine
  everynode agent --kubeconfig node.kubeconfig --node-name web-1     join the API server that the file names
  everynode agent --server https://10.0.0.1:6443 --token ID.SECRET --ca-cert-hash sha256:…     join an everynode server
  everynode agent --config /var/lib/kubelet/config.yaml --kubeconfig /etc/kubernetes/kubelet.conf")]
    Agent(AgentArgs),
    /// Run controllers alone, against any Kubernetes API
    #[command(after_help = "\
Examples:
  everynode controllers --kubeconfig admin.kubeconfig                        the DaemonSet controller
  everynode controllers --kubeconfig admin.kubeconfig --controllers '*'      all of them
  everynode controllers                                                      in a Pod, as its service account

The other control plane must leave these controllers out: `everynode server --controllers='*,-daemonset-controller'`, or
kube-controller-manager with the same flag. Start several: one acts, the others take over when it ends.")]
    Controllers(ControllersArgs),
    /// Run the scheduler alone, against any Kubernetes API
    #[command(after_help = "\
Examples:
  everynode scheduler --kubeconfig admin.kubeconfig                                  beside `everynode server --scheduler=off`
  everynode scheduler --kubeconfig admin.kubeconfig --scheduler-name everynode \\
    --leader-elect-resource-name everynode-scheduler                                 a second scheduler, for Pods that name it

Start several: one acts, the others take over when it ends.")]
    Scheduler(SchedulerArgs),
    /// Put images into this node's containerd, or list them
    #[command(subcommand)]
    Image(ImageCommand),
    /// Tokens that let new machines join
    #[command(subcommand)]
    Token(TokenCommand),
    /// Static Pods of this node: what runs, what is wrong, what would be
    #[command(subcommand)]
    Static(StaticCommand),
    /// Show the DaemonSets and Pods of this machine's API server
    #[command(after_help = "\
Examples:
  everynode status
  everynode status --wait --timeout 2m      return when every DaemonSet and Pod is ready
  everynode status --watch                  a live line
  everynode status --output json")]
    Status(StatusArgs),
    /// Say for each node whether a DaemonSet's Pod is there, and why or why not
    #[command(after_help = "\
Examples:
  everynode explain ds/fluentd -n kube-system
  everynode explain ds/fluentd --node worker-7                       one node
  everynode explain ds/fluentd --kubeconfig ~/.kube/config -o json   any Kubernetes API

A line is what the DaemonSet controller would do there now: keep, create, delete, wait or leave, and the reason. It
changes nothing.")]
    Explain(ExplainArgs),
    /// Simulated nodes against any Kubernetes API
    #[command(
        after_help = "Examples:\n  everynode sim --kubeconfig admin.kubeconfig --nodes 100 --seed 7\n  everynode sim --nodes 5000 --start-latency 20-100 --stop-latency 10"
    )]
    Sim(SimArgs),
    /// Print the version
    #[command(after_help = "Examples:\n  everynode version\n  everynode version --output json")]
    Version {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  everynode completion bash > /etc/bash_completion.d/everynode")]
    Completion { shell: clap_complete::Shell },
}

#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Folder of certificates, store, containers and logs
    #[arg(long, value_name = "DIR", default_value = DATA_DIR, env = "EVERYNODE_DATA_DIR", alias = "root-dir")]
    pub data_dir: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// What is logged, e.g. info or agent=debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "EVERYNODE_LOG")]
    pub log: String,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Text,
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct DetachArgs {
    /// Return when all is ready; go on in the background, logging to DIR/everynode.log
    #[arg(long)]
    pub detach: bool,
    /// Set for the background half of --detach
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// What a process that serves the API is told.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where the API server listens
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:6443")]
    pub listen: SocketAddr,
    /// Where objects are kept: embedded, or etcd://HOST:PORT,HOST:PORT/PREFIX (etcds:// with TLS)
    #[arg(long, value_name = "embedded|etcd://…", default_value_t = StoreChoice::Embedded)]
    pub store: StoreChoice,
    #[command(flatten)]
    pub etcd: EtcdArgs,
    /// Where Services get their addresses from
    #[arg(long, value_name = "CIDR", default_value_t = ServiceRange::usual())]
    pub service_cluster_ip_range: ServiceRange,
    /// Controllers to run: names, * for all, -NAME for all but that one; empty for none
    #[arg(long, value_name = "LIST", default_value = "*", allow_hyphen_values = true)]
    pub controllers: controllers::Selection,
    /// Whether this server schedules Pods, or leaves it to another scheduler
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub scheduler: Switch,
}

/// Which backend keeps the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// In the data folder.
    Embedded,
    Etcd(store::etcd::Address),
}

impl std::str::FromStr for StoreChoice {
    type Err = store::etcd::AddressError;

    fn from_str(text: &str) -> Result<StoreChoice, Self::Err> {
        if text == "embedded" { Ok(StoreChoice::Embedded) } else { text.parse().map(StoreChoice::Etcd) }
    }
}

impl std::fmt::Display for StoreChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreChoice::Embedded => f.write_str("embedded"),
            StoreChoice::Etcd(address) => address.fmt(f),
        }
    }
}

/// Files for an `etcds://` store, under upstream's names.
#[derive(Debug, Clone, Args)]
pub struct EtcdArgs {
    /// The CA that signed etcd's certificates
    #[arg(long, value_name = "FILE")]
    pub etcd_cafile: Option<PathBuf>,
    /// The certificate that is shown to etcd
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    pub etcd_certfile: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub etcd_keyfile: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// This node's name; the host name when not given
    #[arg(long, value_name = "NAME", visible_alias = "hostname-override")]
    pub node_name: Option<String>,
    /// Folder or file of static Pod manifests
    #[arg(long, value_name = "PATH")]
    pub pod_manifest_path: Option<PathBuf>,
    /// Where static Pod manifests are fetched from, every 20 s
    #[arg(long, value_name = "URL")]
    pub manifest_url: Option<String>,
    /// Headers for --manifest-url, e.g. a:hello,b:again; may be repeated
    #[arg(long, value_name = "NAME:VALUE,…", requires = "manifest_url")]
    pub manifest_url_header: Vec<String>,
    /// Labels that the Node object is registered with
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = node_flags::labels)]
    pub node_labels: Option<node_flags::Labels>,
    /// Taints that the Node object is registered with
    #[arg(long, value_name = "KEY=VALUE:EFFECT,…", value_parser = node_flags::taints)]
    pub register_with_taints: Option<node_flags::Taints>,
    /// A running containerd to use; without it everynode starts its own
    #[arg(long, value_name = "unix:///…")]
    pub container_runtime_endpoint: Option<String>,
    /// This node's address; that of the default route when not given
    #[arg(long, value_name = "IP")]
    pub node_ip: Option<std::net::IpAddr>,
    /// A kubelet's configuration file, read for what has a meaning here; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Port of the agent's own HTTPS API; 10250 when not given, or a free one where that is taken
    #[arg(long, value_name = "PORT")]
    pub agent_port: Option<u16>,
}

#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
    #[command(flatten)]
    pub node: NodeArgs,
    #[command(flatten)]
    pub detach: DetachArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Node for which DIR/agent.kubeconfig is written; the host name when not given
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    #[command(flatten)]
    pub detach: DetachArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Credentials of the API server to join; DIR/agent.kubeconfig when it is there
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    pub kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    pub join: JoinArgs,
    #[command(flatten)]
    pub node: NodeArgs,
    #[command(flatten)]
    pub detach: DetachArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

/// How a machine joins for the first time; later starts use what it got then.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// The API server to join, as `everynode token create` prints it
    #[arg(long, value_name = "https://HOST:6443", requires_all = ["token", "ca_cert_hash"], env = "EVERYNODE_SERVER")]
    pub server: Option<String>,
    /// The bootstrap token
    #[arg(long, value_name = "ID.SECRET", env = "EVERYNODE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// What the server's certificate authority is known by; may be repeated
    #[arg(long, value_name = "sha256:…")]
    pub ca_cert_hash: Vec<agent::joining::CaHash>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a bootstrap token and print the command that joins a new machine with it
    #[command(
        after_help = "Examples:\n  everynode token create\n  everynode token create --ttl 1h --server https://10.0.0.1:6443"
    )]
    Create {
        #[command(flatten)]
        at: ServerAt,
        /// How long it lets machines in; machines that have joined stay
        #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
        ttl: Duration,
        /// Where new machines reach the API server; what it says of itself when not given
        #[arg(long, value_name = "https://HOST:6443")]
        server: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "made by `everynode token create`")]
        description: String,
    },
    /// List bootstrap tokens, without their secrets
    #[command(after_help = "Examples:\n  everynode token list")]
    List {
        #[command(flatten)]
        at: ServerAt,
    },
    /// End a bootstrap token
    #[command(after_help = "Examples:\n  everynode token delete abcdef")]
    Delete {
        #[command(flatten)]
        at: ServerAt,
        /// The part before the dot
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Which API server a command asks.
#[derive(Debug, Clone, Args)]
pub struct ServerAt {
    #[command(flatten)]
    pub data: DataArgs,
    /// Another API server than this machine's
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct DownArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Remove the data folder too
    #[arg(long)]
    pub purge: bool,
}

#[derive(Debug, Clone, Subcommand)]
pub enum ImageCommand {
    /// Put an OCI or docker archive into this node's containerd under its name
    #[command(after_help = "Examples:\n  everynode image load fluentd.tar")]
    Load {
        #[command(flatten)]
        runtime: RuntimeArgs,
        /// The archive
        #[arg(value_name = "FILE.tar")]
        archive: PathBuf,
    },
    /// List the images that this node has
    #[command(after_help = "Examples:\n  everynode image list\n  everynode image list --output json")]
    List {
        #[command(flatten)]
        runtime: RuntimeArgs,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub enum StaticCommand {
    /// List the static Pods that this node's agent runs, and where each is from
    #[command(after_help = "Examples:\n  everynode static list\n  everynode static list --output json")]
    List {
        #[command(flatten)]
        data: DataArgs,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Say what is wrong with the manifests; exit code 1 when something is
    #[command(after_help = "Examples:\n  everynode static status\n  everynode static status --output json")]
    Status {
        #[command(flatten)]
        data: DataArgs,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Check manifests without running anything; exit code 1 when one would be refused
    #[command(after_help = "\
Examples:
  everynode static validate web.yaml
  everynode static validate pod.yaml config.yaml        Pods may name ConfigMaps and Secrets of the other files
  kustomize build . | everynode static validate -")]
    Validate {
        /// Name of the node on which they would run; the host name when not given
        #[arg(long, value_name = "NAME")]
        node_name: Option<String>,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
        /// The manifests; - is the standard input
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Clone, Args)]
pub struct RuntimeArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// The containerd to use when it is not everynode's own
    #[arg(long, value_name = "unix:///…")]
    pub container_runtime_endpoint: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Another API server than this machine's
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Wait until every DaemonSet is rolled out and every Pod is ready
    #[arg(long, conflicts_with = "watch")]
    pub wait: bool,
    /// How long --wait waits
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
    /// Show a live line until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// The DaemonSet
    #[arg(value_name = "ds/NAME")]
    pub what: String,
    /// Its namespace; the kubeconfig's own when not given
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Only this node
    #[arg(long)]
    pub node: Option<String>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Another API server than this machine's
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Debug, Clone, Args)]
pub struct SimArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// The API server; this machine's when not given
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How many nodes
    #[arg(long, default_value_t = 10)]
    pub nodes: u32,
    /// The same seed gives the same latencies
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// From a Pod's binding until it runs, in milliseconds, shortest and longest
    #[arg(long, value_name = "MIN-MAX", default_value = "200-1500", value_parser = milliseconds)]
    pub start_latency: (u64, u64),
    /// From a Pod's deletion until it is gone, in milliseconds, shortest and longest
    #[arg(long, value_name = "MIN-MAX", default_value = "50-500", value_parser = milliseconds)]
    pub stop_latency: (u64, u64),
}

/// `200-1500`, or one number for both ends.
fn milliseconds(text: &str) -> Result<(u64, u64), String> {
    let (shortest, longest) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        text.parse::<u64>().map_err(|_| format!("{text:?} is no number of milliseconds, as in 200-1500"))
    };
    let (shortest, longest) = (number(shortest)?, number(longest)?);
    if shortest > longest {
        return Err(format!("the shortest, {shortest}, is longer than the longest, {longest}"));
    }
    Ok((shortest, longest))
}

/// `90`, `90s`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit_seconds) = match text.strip_suffix(['s', 'm', 'h']) {
        None => (text, 1),
        Some(number) if text.ends_with('s') => (number, 1),
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) => (number, 3600),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("{text} is not a duration such as 90s, 2m or 1h"))?;
    number.checked_mul(unit_seconds).map(Duration::from_secs).ok_or_else(|| format!("{text} is too long"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_shows_examples() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        let mut open: Vec<&clap::Command> =
            cli.get_subcommands().filter(|c| c.get_name() != "help").collect();
        while let Some(command) = open.pop() {
            let nested: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
            if nested.is_empty() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
            }
            open.extend(nested);
        }
    }

    #[test]
    fn store_is_embedded_or_an_etcd() {
        let store = |flags: &[&str]| {
            let all = ["everynode", "server"].iter().chain(flags);
            match Cli::try_parse_from(all)?.command {
                Command::Server(args) => Ok(args.serve.store.to_string()),
                _ => unreachable!("server was typed"),
            }
        };
        let error =
            |flags: &[&str]| store(flags).map_err(|error: clap::Error| error.to_string()).unwrap_err();
        assert_eq!(store(&[]).unwrap(), "embedded");
        assert_eq!(store(&["--store", "etcd://a,b:1/x"]).unwrap(), "etcd://a:2379,b:1/x");
        let wrong = error(&["--store", "http://a"]);
        assert!(wrong.contains("it looks like etcd://host:2379"), "{wrong}");
        let half = error(&["--store", "etcds://a", "--etcd-certfile", "tls.crt"]);
        assert!(half.contains("--etcd-keyfile"), "{half}");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("soon").is_err());
    }

    #[test]
    fn latencies_are_a_range_or_one_number() {
        assert_eq!(milliseconds("200-1500"), Ok((200, 1_500)));
        assert_eq!(milliseconds("10"), Ok((10, 10)));
        assert!(milliseconds("20-10").is_err_and(|text| text.contains("longer than the longest")));
        assert!(milliseconds("fast").is_err());
    }
}
