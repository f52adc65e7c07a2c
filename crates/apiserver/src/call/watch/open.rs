//! How many watches are open, of all and of each user, and that they end.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::ApiError;
use crate::limits::{WATCHES_MAX, WATCHES_OF_USER_MAX};

/// The open watches by user; clones count together.
#[derive(Debug, Clone, Default)]
pub struct OpenWatches(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_user: HashMap<Arc<str>, usize>,
}

/// One open watch; dropped when it ends.
pub struct Open {
    watches: OpenWatches,
    user: Arc<str>,
}

impl OpenWatches {
    pub fn count(&self) -> usize {
        self.0.lock().all
    }

    /// Counts a watch of `user`, or 429.
    pub fn open(&self, user: &str) -> Result<Open, ApiError> {
        let mut counts = self.0.lock();
        let counts = &mut *counts;
        let known = counts.by_user.get_key_value(user).map(|(name, count)| (Arc::clone(name), *count));
        let (user, own) = known.unwrap_or_else(|| (Arc::from(user), 0));
        if counts.all >= WATCHES_MAX || own >= WATCHES_OF_USER_MAX {
            return Err(ApiError::too_many_requests("too many watches are open, please try again later", 1));
        }
        counts.all += 1;
        counts.by_user.insert(Arc::clone(&user), own + 1);
        Ok(Open { watches: self.clone(), user })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut counts = self.watches.0.lock();
        counts.all -= 1;
        if let Some(own) = counts.by_user.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                counts.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_one_user_leaves_watches_to_the_others() {
        let watches = OpenWatches::default();
        let mut storm = Vec::new();
        while let Ok(open) = watches.open("greedy") {
            storm.push(open);
        }
        assert_eq!(storm.len(), WATCHES_OF_USER_MAX);
        let node = watches.open("system:node:n1");
        assert!(node.is_ok());
        storm.pop();
        assert!(watches.open("greedy").is_ok(), "one has ended");
        drop((storm, node));
        assert_eq!(watches.count(), 0);
        assert!(watches.0.lock().by_user.is_empty());
    }
}
