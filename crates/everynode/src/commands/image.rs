//! `everynode image load|list`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cri::{RemoteRuntime, Runtime};
use serde_json::json;

use crate::cli::{Output, RuntimeArgs};
use crate::exit::Failure;
use crate::paths::DataDir;

/// The socket of the containerd that is meant.
fn socket(args: &RuntimeArgs) -> Result<PathBuf> {
    if let Some(endpoint) = &args.container_runtime_endpoint {
        return Ok(PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint)));
    }
    let socket = DataDir::existing(&args.data.data_dir).ok().map(|data| agent::socket(&data.agent()));
    match socket {
        Some(socket) if socket.exists() => Ok(socket),
        _ => {
            let folder = args.data.data_dir.display();
            let text = format!("no containerd of everynode under {folder}; start it first (`everynode up`)");
            Err(Failure::Usage(text).into())
        }
    }
}

pub async fn load(args: RuntimeArgs, archive: PathBuf) -> Result<()> {
    let size = std::fs::metadata(&archive).with_context(|| format!("read {}", archive.display()))?.len();
    let socket = socket(&args)?;
    eprintln!("loading {} ({} MiB)", archive.display(), size.div_ceil(1 << 20));
    let names = import(&socket, &archive).await?;
    for name in names {
        println!("{name}");
    }
    Ok(())
}

async fn import(socket: &Path, archive: &Path) -> Result<Vec<String>> {
    agent::load_image(socket, archive).await.with_context(|| format!("load {}", archive.display()))
}

pub async fn list(args: RuntimeArgs, output: Output) -> Result<()> {
    let endpoint = format!("unix://{}", socket(&args)?.display());
    let images = RemoteRuntime::connect(&endpoint)?.list_images().await.context("list images")?;
    let mut rows: Vec<(String, String, u64)> = images
        .iter()
        .flat_map(|image| image.repo_tags.iter().map(|tag| (tag.clone(), image.id.clone(), image.size_bytes)))
        .collect();
    rows.sort();
    match output {
        Output::Json => {
            let rows: Vec<_> = rows
                .iter()
                .map(|(name, id, size)| json!({"name": name, "id": id, "sizeBytes": size}))
                .collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
        }
        Output::Text => {
            for (name, id, size) in rows {
                let id = id.strip_prefix("sha256:").unwrap_or(&id);
                println!("{name:<60} {:.12} {:>8.1} MB", id, size as f64 / 1e6);
            }
        }
    }
    Ok(())
}
