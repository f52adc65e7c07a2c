//! `everynode version`.

use anyhow::Result;
use serde_json::json;

use crate::cli::Output;

/// The Kubernetes minor whose API is served.
const KUBERNETES: &str = "1.35";

pub fn run(output: Output) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match output {
        Output::Text => println!("everynode {version} (Kubernetes API {KUBERNETES})"),
        Output::Json => println!("{}", json!({"version": version, "kubernetes": KUBERNETES})),
    }
    Ok(())
}
