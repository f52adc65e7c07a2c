//! What the windows know that authorization needs: roles and bindings, and which pods are on which node.

use std::sync::Arc;

use process::Shutdown;
use serde::de::DeserializeOwned;

use crate::access::{PodReferences, Policy, PolicyObjects, Referenced};
use crate::kinds::reference;
use crate::server::Inner;
use crate::window::{Lane, Windows};

const RESOURCES: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];

/// Everything that the policy is made of, now.
pub fn read(windows: &Windows) -> Policy {
    Policy::new(&PolicyObjects {
        roles: all(windows, "roles"),
        cluster_roles: all(windows, "clusterroles"),
        role_bindings: all(windows, "rolebindings"),
        cluster_role_bindings: all(windows, "clusterrolebindings"),
    })
}

fn all<T: DeserializeOwned>(windows: &Windows, plural: &str) -> Vec<T> {
    let objects = windows.window(plural).map(|window| window.list("", |_| true).objects).unwrap_or_default();
    objects
        .iter()
        .filter_map(|object| match serde_json::from_slice(&object.json()) {
            Ok(typed) => Some(typed),
            Err(error) => {
                tracing::error!(%error, key = %object.key, "left out of the policy");
                None
            }
        })
        .collect()
}

/// Renews the policy whenever a role or binding changes, whoever wrote it.
pub async fn follow(server: Arc<Inner>, shutdown: Shutdown) {
    loop {
        let mut cursors: Vec<_> = RESOURCES
            .iter()
            .filter_map(|plural| server.windows.window(plural))
            .map(|window| window.watch_from_now(Lane::All, "", |_| false).1)
            .collect();
        server.refresh_policy();
        loop {
            let woken = cursors.iter().map(|cursor| Box::pin(cursor.woken()));
            tokio::select! {
                // The losers' wake-ups are kept by their cursors.
                _ = futures::future::select_all(woken) => {}
                () = shutdown.cancelled() => return,
            }
            let read = cursors.iter_mut().map(|cursor| cursor.read(usize::MAX));
            let fallen = read.filter(Result::is_err).count() > 0;
            server.refresh_policy();
            if fallen {
                break;
            }
        }
    }
}

/// The pods of the windows, as the node authorizer asks for them.
pub struct Pods(pub Arc<Windows>);

impl PodReferences for Pods {
    fn refers(&self, node: &str, kind: Referenced, namespace: &str, name: &str) -> bool {
        let Some(window) = self.0.window("pods") else { return false };
        if kind == Referenced::Pod {
            let pod = window.get(&format!("{namespace}/{name}"));
            return pod.is_some_and(|pod| pod.header.field("spec.nodeName") == Some(node));
        }
        let wanted = reference(kind, name);
        window.any_on_node(node, &format!("{namespace}/"), |pod| {
            pod.header.references().any(|found| found == wanted)
        })
    }
}
