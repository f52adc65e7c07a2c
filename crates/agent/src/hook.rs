//! Lifecycle hooks: postStart and preStop.

use std::time::Duration;

use cri::ContainerId;
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod};
use podmachine::Failure;

use crate::context::NodeContext;
use crate::probe::{self, HttpTarget};

/// For a hook that only ends by itself: the runtime's own limit for a call, in effect.
pub const NO_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs a hook to its end, at most for `limit`.
pub async fn run(
    context: &NodeContext,
    pod: &Pod,
    container: &str,
    container_id: &str,
    handler: &LifecycleHandler,
    limit: Duration,
) -> Result<(), Failure> {
    let action = async {
        if let Some(exec) = &handler.exec {
            let command = exec.command.clone().unwrap_or_default();
            let output = context
                .runtime
                .exec_sync(&ContainerId::new(container_id), &command, limit)
                .await
                .map_err(|error| Failure::Refused(error.to_string()))?;
            if output.exit_code == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failure::Refused(format!(
                "command '{}' exited with {}: {text}",
                command.join(" "),
                output.exit_code
            )));
        }
        if let Some(get) = &handler.http_get {
            let target =
                HttpTarget::of(get, pod, container, &pod_ip(context, pod)).map_err(Failure::Refused)?;
            return match probe::http_get(&target, limit).await {
                Ok(answer) if answer.status < 400 => Ok(()),
                Ok(answer) => Err(Failure::Refused(format!("HTTP status {}", answer.status))),
                Err(message) => Err(Failure::Refused(message)),
            };
        }
        if let Some(sleep) = &handler.sleep {
            context.clock.sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        }
        // COMPAT(kubelet): tcpSocket is accepted and does nothing.
        Ok(())
    };
    tokio::select! {
        // The limit may cut the hook off: that is what it is for.
        done = action => done,
        () = context.clock.sleep(limit) => Err(Failure::Timeout(format!("hook did not end within {} s", limit.as_secs()))),
    }
}

fn pod_ip(context: &NodeContext, pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    context.board.get(uid).and_then(|row| row.status.pod_ip).unwrap_or_default()
}
