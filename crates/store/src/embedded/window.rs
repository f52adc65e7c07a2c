//! The recent changes, for watchers: a bounded queue that every watcher reads at its own cursor.

use std::collections::VecDeque;

use super::WindowLimits;
use crate::{Event, Revision, WatchError};

/// What a change costs beside its key and value: the queue's slot and the allocations' heads.
const CHANGE_OVERHEAD_BYTES: usize = 160;

#[derive(Debug)]
pub(super) struct Window {
    limits: WindowLimits,
    events: VecDeque<Event>,
    bytes: usize,
    /// Every change after this revision is in `events`.
    complete_after: Revision,
    newest: Revision,
}

impl Window {
    pub fn new(revision: Revision, limits: WindowLimits) -> Window {
        Window { limits, events: VecDeque::new(), bytes: 0, complete_after: revision, newest: revision }
    }

    pub fn push(&mut self, event: Event) {
        assert!(event.revision() > self.newest, "changes come in revision order");
        self.newest = event.revision();
        self.bytes += bytes(&event);
        self.events.push_back(event);
        while self.events.len() > self.limits.changes_max || self.bytes > self.limits.bytes_max {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= bytes(&oldest);
            self.complete_after = oldest.revision();
        }
    }

    pub fn check(&self, after: Revision) -> Result<(), WatchError> {
        if after < self.complete_after {
            return Err(WatchError::Compacted { asked: after, oldest: self.complete_after });
        }
        Ok(())
    }

    pub fn changes(
        &self,
        prefix: &str,
        after: Revision,
        max: usize,
    ) -> Result<(Vec<Event>, Revision), WatchError> {
        self.check(after)?;
        let begin = self.events.partition_point(|event| event.revision() <= after);
        let mut found = Vec::new();
        for event in self.events.range(begin..) {
            if !event.key().starts_with(prefix) {
                continue;
            }
            found.push(event.clone());
            if found.len() == max {
                return Ok((found, event.revision()));
            }
        }
        Ok((found, self.newest.max(after)))
    }
}

fn bytes(event: &Event) -> usize {
    let value = match event {
        Event::Put(entry) => entry.value.len(),
        Event::Delete { .. } => 0,
    };
    event.key().len() + value + CHANGE_OVERHEAD_BYTES
}
