//! `everynode sim`.

use anyhow::Result;

use crate::cli::SimArgs;

pub async fn run(args: SimArgs) -> Result<()> {
    let kubeconfig = args.kubeconfig.unwrap_or_else(|| args.data.data_dir.join("admin.kubeconfig"));
    let client = super::client_of(&kubeconfig).await?;
    let _ = client;
    Ok(())
}
