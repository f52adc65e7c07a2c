//! One module a command; each takes its flags and returns when it is done.

mod component;
mod detach;
mod down;
mod explain;
mod image;
mod run;
mod sim;
mod static_pods;
mod status;
mod token;
mod version;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::CommandFactory;

use crate::cli::{Cli, Command, DataArgs, ImageCommand};
use crate::exit::Failure;
use crate::paths::DataDir;

pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Up(args) => run::up(args),
        Command::Server(args) => run::server(args),
        Command::Agent(args) => run::agent(args),
        Command::Controllers(args) => component::controllers(args),
        Command::Scheduler(args) => component::scheduler(args),
        Command::Down(args) => block_on(down::run(args)),
        Command::Image(ImageCommand::Load { runtime, archive }) => block_on(image::load(runtime, archive)),
        Command::Image(ImageCommand::List { runtime, output }) => block_on(image::list(runtime, output)),
        Command::Token(command) => block_on(token::run(command)),
        Command::Static(command) => static_pods::run(command),
        Command::Status(args) => block_on(status::run(args)),
        Command::Explain(args) => block_on(explain::run(args)),
        Command::Sim(args) => block_on(sim::run(args)),
        Command::Version { output } => version::run(output),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "everynode", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// A short-lived command needs one thread.
fn block_on<F: Future<Output = Result<()>>>(command: F) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// The kubeconfig that is named, else this machine's.
fn kubeconfig_of(named: Option<&Path>, data: &DataArgs) -> PathBuf {
    match named {
        Some(path) => path.to_owned(),
        None => match DataDir::existing(&data.data_dir) {
            Ok(data) => data.admin_kubeconfig(),
            Err(_) => data.data_dir.join("admin.kubeconfig"),
        },
    }
}

/// The API server that a kubeconfig file names.
async fn client_of(kubeconfig: &Path) -> Result<kube::Client> {
    use anyhow::Context;
    if !kubeconfig.exists() {
        let hint = format!(
            "{} is not there; start everynode first (`everynode up`), or name its folder with --data-dir",
            kubeconfig.display()
        );
        return Err(Failure::Usage(hint).into());
    }
    let config = kube::config::Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("read {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await?;
    Ok(kube::Client::try_from(config)?)
}
