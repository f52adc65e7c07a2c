//! Post-start hooks: which have still to run. A container that was adopted is past its hook.

use crate::action::Action;
use crate::pod;
use crate::turn::Turn;

/// Starts the hooks of containers that were just started; forgets those that have none or are gone.
pub(crate) fn run(turn: &mut Turn<'_>) {
    let ids: Vec<String> = turn.memory.hooks.iter().cloned().collect();
    for id in ids {
        let container = turn.view.find(&id).filter(|container| container.runs());
        let handler = container
            .and_then(|container| pod::member(turn.spec, &container.labels.container_name))
            .and_then(|member| member.post_start());
        let (Some(container), Some(handler)) = (container, handler) else {
            turn.memory.hooks.remove(&id);
            continue;
        };
        let running = turn.memory.doing(
            |action| matches!(action, Action::RunPostStart { container_id, .. } if *container_id == id),
        );
        if !running && !turn.memory.kills.contains_key(&id) {
            let action = Action::RunPostStart {
                container: container.labels.container_name.clone(),
                container_id: id,
                handler: handler.clone(),
            };
            turn.job(action, "right after the start");
        }
    }
}
