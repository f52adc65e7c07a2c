//! Chores of this repository: `cargo xtask tidy`, `cargo xtask images`.

mod compat;
mod images;
mod layers;
mod tidy;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of this repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check layers, file sizes, names and absences; prints every fault with its place.
    Tidy,
    /// Pack the demo and test images from Debian packages into OCI archives.
    Images {
        /// Where the archives go.
        #[arg(long, default_value = "target/images")]
        out: PathBuf,
        /// Only these images, by file stem (fluentd, node-exporter, busybox).
        names: Vec<String>,
    },
}

fn main() -> Result<()> {
    let root = repository_root();
    match Cli::parse().chore {
        Chore::Tidy => tidy::run(&root),
        Chore::Images { out, names } => images::pack(&root, &root.join(out), &names),
    }
}

/// The folder that holds the workspace's Cargo.toml.
fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_else(|| PathBuf::from("."))
}
