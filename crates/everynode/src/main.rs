//! everynode: a Pod on every node, in one binary. Flags, wiring, commands; what is decided is decided below.

mod cli;
mod commands;
mod exit;
mod kubelet_config;
mod node_flags;
mod paths;
mod wiring;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let cli = cli::Cli::parse();
    exit::code(commands::run(cli))
}
