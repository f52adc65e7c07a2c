//! Tokens whose signature was found good: checking it costs more than the rest of a small request.
//!
//! Only what never changes is kept, what a token says; whether it still counts is asked every time. Bounded by two
//! generations: when the young one is full it becomes the old one, and what was not used since then is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::Claims;

/// Tokens of one generation: one for each Pod of a busy cluster, at about 1 KiB each.
const GENERATION_TOKENS_MAX: usize = 8_192;

type Generation = HashMap<[u8; 32], Arc<Claims>>;

#[derive(Debug, Default)]
pub struct Verified {
    generations: Mutex<(Generation, Generation)>,
}

impl Verified {
    pub(super) fn get(&self, token: &str) -> Option<Arc<Claims>> {
        let key = digest(token);
        let mut generations = self.generations.lock();
        let (young, old) = &mut *generations;
        if let Some(claims) = young.get(&key) {
            return Some(Arc::clone(claims));
        }
        let claims = old.remove(&key)?;
        insert(&mut generations, key, Arc::clone(&claims));
        Some(claims)
    }

    pub(super) fn keep(&self, token: &str, claims: Claims) -> Arc<Claims> {
        let claims = Arc::new(claims);
        insert(&mut self.generations.lock(), digest(token), Arc::clone(&claims));
        claims
    }
}

fn insert(generations: &mut (Generation, Generation), key: [u8; 32], claims: Arc<Claims>) {
    let (young, old) = generations;
    if young.len() >= GENERATION_TOKENS_MAX {
        *old = std::mem::take(young);
    }
    young.insert(key, claims);
}

/// The token itself is not kept: a picture of the memory gives no credentials away.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::token::Bound;

    #[test]
    fn what_is_kept_is_bounded_and_what_is_used_stays() {
        let verified = Verified::default();
        let now = jiff::Timestamp::from_second(1).unwrap();
        let claims = |id: String| Claims::new("i", id, Vec::new(), Bound::default(), now, 1);
        verified.keep("used", claims("used".into()));
        for number in 0..3 * GENERATION_TOKENS_MAX {
            verified.keep(&format!("t{number}"), claims(String::new()));
            if number % 1_000 == 0 {
                assert_eq!(verified.get("used").unwrap().id, "used");
            }
        }
        let generations = verified.generations.lock();
        assert!(generations.0.len() + generations.1.len() <= 2 * GENERATION_TOKENS_MAX);
        drop(generations);
        assert!(verified.get("t0").is_none());
    }
}
