//! What the node's word on a Pod is asked with: this node as it knows itself, or as the API has it.
//!
//! The rules are [`podmachine::admission`]'s. Labels and taints are the Node object's once the node is registered;
//! amounts that the agent reads from the machine are its own either way. Where there is an API server, a Pod is refused
//! only after it was heard: labels that somebody put on the Node are known to nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use podmachine::admission::{Verdict, admit, under_pressure};
use podmachine::pressure::Condition;
use tokio::sync::watch;

/// The Node object as the API has it; `None` until it is registered.
pub type Registered = watch::Receiver<Option<Arc<Node>>>;

/// Whom each Pod asks before its first start.
pub struct Gate {
    own: Node,
    /// `None`: this node stands alone.
    registered: Option<Registered>,
    pressure: watch::Receiver<BTreeSet<Condition>>,
}

/// What a Pod is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Said(Verdict),
    /// It would be refused, but the Node object was not heard yet.
    AskAgain,
}

impl Gate {
    /// `own` is the node as its agent would register it, with what it can give to Pods.
    pub fn new(
        own: Node,
        registered: Option<Registered>,
        pressure: watch::Receiver<BTreeSet<Condition>>,
    ) -> Gate {
        Gate { own, registered, pressure }
    }

    /// May the Pod start next to the others?
    pub fn ask(&self, pod: &Pod, others: &[&Pod]) -> Answer {
        if let refused @ Verdict::Refused { .. } = under_pressure(pod, &self.pressure.borrow()) {
            return Answer::Said(refused);
        }
        let Some(registered) = &self.registered else { return Answer::Said(admit(pod, &self.own, others)) };
        if let Some(node) = registered.borrow().as_deref() {
            return Answer::Said(admit(pod, &self.with_own_amounts(node), others));
        }
        match admit(pod, &self.own, others) {
            Verdict::Refused { .. } => Answer::AskAgain,
            verdict @ (Verdict::Admitted | Verdict::InPlaceOf { .. }) => Answer::Said(verdict),
        }
    }

    /// Resolves when the Node object was heard or has changed; never on a node that stands alone.
    pub async fn changed(&mut self) {
        let Some(registered) = &mut self.registered else { return std::future::pending().await };
        if registered.changed().await.is_err() {
            // Its keeper has ended: so does the agent.
            std::future::pending().await
        }
    }

    /// A Node that was just registered has no amounts yet, and those of an earlier start may no longer hold.
    fn with_own_amounts(&self, node: &Node) -> Node {
        let mut node = node.clone();
        let own = self.own.status.iter().flat_map(|status| status.allocatable.iter().flatten());
        let own = own.map(|(name, amount)| (name.clone(), amount.clone()));
        let status = node.status.get_or_insert_default();
        status.allocatable.get_or_insert_default().extend(own);
        node
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(labels: Value, allocatable: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n", "labels": labels},
            "status": {"allocatable": allocatable}}))
        .unwrap()
    }

    fn pod() -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "uid": "p"}, "spec": {"nodeSelector": {"disk": "ssd"},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}}),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn refusal_waits_for_the_node_object_and_its_labels() {
        let (told, registered) = watch::channel(None);
        let (_pressure, pressure) = watch::channel(BTreeSet::new());
        let own = node(json!({}), json!({"cpu": "2", "pods": "10"}));
        let mut gate = Gate::new(own.clone(), Some(registered), pressure.clone());
        assert_eq!(gate.ask(&pod(), &[]), Answer::AskAgain);
        // Just registered: labels, and no amounts.
        told.send_replace(Some(Arc::new(node(json!({"disk": "ssd"}), json!({})))));
        gate.changed().await;
        assert_eq!(gate.ask(&pod(), &[]), Answer::Said(Verdict::Admitted));
        let alone = Gate::new(own, None, pressure).ask(&pod(), &[]);
        assert!(matches!(alone, Answer::Said(Verdict::Refused { reason, .. }) if reason == "NodeAffinity"));
    }
}
