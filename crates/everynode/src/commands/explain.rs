//! `everynode explain ds/NAME`: each node in a line, what happens there and why, in the planner's own words.

use anyhow::Result;
use controllers::daemonset::ExplainError;

use crate::cli::{ExplainArgs, Output};
use crate::exit::Failure;

/// What people write before the slash for a DaemonSet.
const KINDS: [&str; 5] = ["ds", "daemonset", "daemonsets", "daemonset.apps", "daemonsets.apps"];

pub async fn run(args: ExplainArgs) -> Result<()> {
    let name = daemon_set_name(&args.what)?;
    let kubeconfig = super::kubeconfig_of(args.kubeconfig.as_deref(), &args.data);
    let client = super::client_of(&kubeconfig).await?;
    let namespace = args.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let now = jiff::Timestamp::now();
    let explained = controllers::daemonset::explain(client, &namespace, name, now).await;
    let mut explained = explained.map_err(|error| match error {
        ExplainError::Missing { .. } => anyhow::anyhow!(
            "{error}; `kubectl get daemonsets --all-namespaces` lists them, -n names the namespace"
        ),
        other => other.into(),
    })?;
    if let Some(node) = &args.node {
        let hint = format!("there is no node {node}, and no Pod of {namespace}/{name} is meant for one");
        explained = explained.only(node).ok_or(Failure::Usage(hint))?;
    }
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&explained.to_json())?),
        Output::Text => {
            println!(
                "daemonset {namespace}/{name}, generation {}, revision {}, {}",
                explained.generation, explained.revision, explained.strategy
            );
            print!("{explained}");
            let causes: Vec<String> = explained
                .causes()
                .into_iter()
                .map(|(cause, count)| format!("{}={count}", cause.as_str()))
                .collect();
            println!("causes  {}", causes.join(" "));
        }
    }
    Ok(())
}

/// `ds/NAME` and its other spellings, or the name alone.
fn daemon_set_name(what: &str) -> Result<&str, Failure> {
    let name = match what.split_once('/') {
        None => what,
        Some((kind, name)) if KINDS.contains(&kind.to_ascii_lowercase().as_str()) => name,
        Some((kind, _)) => {
            return Err(Failure::Usage(format!("{kind} cannot be explained, only a DaemonSet: ds/NAME")));
        }
    };
    if name.is_empty() || name.contains('/') {
        return Err(Failure::Usage(format!("{what} names no DaemonSet; write ds/NAME")));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::daemon_set_name;

    #[test]
    fn a_daemon_set_is_named_in_kubectls_ways_and_nothing_else_is_explained() {
        for what in
            ["ds/fluentd", "daemonset/fluentd", "daemonsets.apps/fluentd", "DaemonSet/fluentd", "fluentd"]
        {
            assert_eq!(daemon_set_name(what).unwrap(), "fluentd", "{what}");
        }
        for what in ["deployment/web", "ds/", "ds/a/b", ""] {
            assert!(daemon_set_name(what).is_err(), "{what}");
        }
    }
}
