//! Which images go: when the disk that they lie on fills up, and when nobody has used them for too long.
//!
//! Upstream: pkg/kubelet/images/image_gc_manager.go. The agent lists ([`Seen`]) and removes; what it remembers between
//! looks is [`Records`]. Images in use and pinned ones stay; the one that was used the longest time ago goes first, among
//! those the one that was seen first. An image younger than the minimum age stays in any case.
//! DIFFERS(image-gc): an image that a Pod of this node names is in use too, though no container of it is there: a node
//! that boots without its registry finds it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

/// A KubeletConfiguration's imageGC fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// From this much of the disk in use on, images go.
    pub high_percent: u8,
    /// Until no more than this is in use.
    pub low_percent: u8,
    pub age_seconds_min: u64,
    /// Unused for longer than this: goes whatever the disk says. 0: never.
    pub age_seconds_max: u64,
}

/// What is wrong with a policy. Upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("imageGCHighThresholdPercent {0} must be between 0 and 100, inclusive")]
    High(i64),
    #[error("imageGCLowThresholdPercent {0} must be between 0 and 100, inclusive")]
    Low(i64),
    #[error("imageGCLowThresholdPercent {low} must be less than imageGCHighThresholdPercent {high}")]
    Order { low: i64, high: i64 },
}

/// One image of the node at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: String,
    pub size_bytes: u64,
    pub is_pinned: bool,
    pub is_used: bool,
}

/// The disk that images lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub capacity_bytes: u64,
    pub available_bytes: u64,
}

/// What goes: in this order, until this much is free.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub images: Vec<Removal>,
    pub wanted_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    pub id: String,
    pub size_bytes: u64,
}

/// What is known of the images that were seen. As many as the runtime lists.
#[derive(Debug, Clone, Default)]
pub struct Records {
    images: BTreeMap<String, Record>,
    has_looked: bool,
}

#[derive(Debug, Clone)]
struct Record {
    /// `None`: was there before the agent.
    first_seen: Option<Timestamp>,
    last_used: Option<Timestamp>,
    size_bytes: u64,
    stays: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { high_percent: 85, low_percent: 80, age_seconds_min: 120, age_seconds_max: 0 }
    }
}

impl Policy {
    /// Takes the percentages as they are written.
    pub fn with_percents(self, high: Option<i64>, low: Option<i64>) -> Result<Policy, PolicyError> {
        let percent = |number: i64| u8::try_from(number).ok().filter(|percent| *percent <= 100);
        let high = high.unwrap_or(i64::from(self.high_percent));
        let low = low.unwrap_or(i64::from(self.low_percent));
        let high_percent = percent(high).ok_or(PolicyError::High(high))?;
        let low_percent = percent(low).ok_or(PolicyError::Low(low))?;
        if low >= high {
            return Err(PolicyError::Order { low, high });
        }
        Ok(Policy { high_percent, low_percent, ..self })
    }
}

impl Records {
    /// Takes a look: every image that is there now.
    pub fn see(&mut self, images: &[Seen], now: Timestamp) {
        self.images.retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in images {
            let first_seen = self.has_looked.then_some(now);
            let record = self.images.entry(image.id.clone()).or_insert(Record {
                first_seen,
                last_used: None,
                size_bytes: 0,
                stays: false,
            });
            if image.is_used {
                record.last_used = Some(now);
            }
            record.size_bytes = image.size_bytes;
            record.stays = image.is_used || image.is_pinned;
        }
        self.has_looked = true;
    }

    /// What goes because the disk is full.
    pub fn for_space(&self, policy: &Policy, space: Space, now: Timestamp) -> Plan {
        let capacity = u128::from(space.capacity_bytes);
        let available = u128::from(space.available_bytes).min(capacity);
        // COMPAT(kubelet): the free part is rounded down.
        let used_percent = 100 - (available * 100).checked_div(capacity).unwrap_or(100);
        if used_percent < u128::from(policy.high_percent) {
            return Plan::default();
        }
        let wanted = (capacity * u128::from(100 - policy.low_percent) / 100).saturating_sub(available);
        let wanted_bytes = u64::try_from(wanted).unwrap_or(u64::MAX);
        Plan { images: self.removable(policy, now), wanted_bytes }
    }

    /// All that nobody uses: the node is short of the disk that they lie on.
    pub fn all_unused(&self, policy: &Policy, now: Timestamp) -> Plan {
        Plan { images: self.removable(policy, now), wanted_bytes: u64::MAX }
    }

    /// What goes because it was not used for too long. `agent_started_at`: what happened before is not known.
    pub fn too_old(&self, policy: &Policy, agent_started_at: Timestamp, now: Timestamp) -> Plan {
        let most = seconds(policy.age_seconds_max);
        if policy.age_seconds_max == 0 || now.duration_since(agent_started_at) <= most {
            return Plan::default();
        }
        let mut images = self.removable(policy, now);
        images.retain(|removal| {
            let record = &self.images[&removal.id];
            let since = record.last_used.max(record.first_seen).unwrap_or(agent_started_at);
            now.duration_since(since) > most
        });
        Plan { images, wanted_bytes: u64::MAX }
    }

    fn removable(&self, policy: &Policy, now: Timestamp) -> Vec<Removal> {
        let old_enough = |record: &Record| {
            let age = record.first_seen.map(|first| now.duration_since(first));
            age.is_none_or(|age| age >= seconds(policy.age_seconds_min))
        };
        let unused = self.images.iter().filter(|(_, record)| !record.stays && old_enough(record));
        let mut unused: Vec<(&String, &Record)> = unused.collect();
        unused.sort_by_key(|(id, record)| (record.last_used, record.first_seen, *id));
        let removal =
            |(id, record): (&String, &Record)| Removal { id: id.clone(), size_bytes: record.size_bytes };
        unused.into_iter().map(removal).collect()
    }
}

/// What is said when the images that go are not enough. Upstream's words.
pub fn too_little(wanted_bytes: u64, freed_bytes: u64) -> String {
    format!(
        "Failed to garbage collect required amount of images. Attempted to free {wanted_bytes} bytes, but only found \
         {freed_bytes} bytes eligible to free."
    )
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn image(id: &str, is_used: bool) -> Seen {
        Seen { id: id.to_owned(), size_bytes: 10, is_pinned: false, is_used }
    }

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.images.iter().map(|removal| removal.id.as_str()).collect()
    }

    #[test]
    fn images_go_from_the_high_threshold_on_until_the_low_one() {
        let mut records = Records::default();
        records.see(&[image("a", false)], at(0));
        let policy = Policy::default();
        for (available, wanted, goes) in
            [(16, 0, false), (15, 5, true), (1, 19, true), (0, 20, true), (200, 0, false)]
        {
            let space = Space { capacity_bytes: 100, available_bytes: available };
            let plan = records.for_space(&policy, space, at(1));
            assert_eq!((plan.wanted_bytes, !plan.images.is_empty()), (wanted, goes), "{available}");
        }
        let nothing = Space { capacity_bytes: 0, available_bytes: 0 };
        assert_eq!(records.for_space(&policy, nothing, at(1)), Plan::default());
    }

    #[test]
    fn the_longest_unused_goes_first_and_used_and_pinned_ones_stay() {
        let mut records = Records::default();
        let pinned = Seen { is_pinned: true, ..image("pinned", false) };
        let first = [image("b", true), image("a", true), image("never", false), pinned.clone()];
        records.see(&first, at(0));
        records.see(&[image("b", true), image("a", false), image("never", false), pinned.clone()], at(100));
        let last = [image("b", false), image("a", false), image("never", false), pinned, image("used", true)];
        records.see(&last, at(200));
        assert_eq!(ids(&records.all_unused(&Policy::default(), at(200))), ["never", "a", "b"]);
    }

    #[test]
    fn image_that_has_just_come_stays_for_the_minimum_age() {
        let mut records = Records::default();
        records.see(&[], at(0));
        records.see(&[image("new", false)], at(10));
        for (now, expected) in [(129, 0), (130, 1)] {
            assert_eq!(records.all_unused(&Policy::default(), at(now)).images.len(), expected, "{now}");
        }
        let mut began = Records::default();
        began.see(&[image("old", false)], at(10));
        assert_eq!(
            began.all_unused(&Policy::default(), at(10)).images.len(),
            1,
            "was there before the agent"
        );
    }

    #[test]
    fn image_that_was_not_used_for_too_long_goes_when_the_agent_can_know() {
        let policy = Policy { age_seconds_max: 1_000, ..Policy::default() };
        let mut records = Records::default();
        records.see(&[image("a", true), image("b", false)], at(0));
        records.see(&[image("a", true), image("b", false)], at(600));
        records.see(&[image("a", false), image("b", false)], at(900));
        assert!(records.too_old(&policy, at(0), at(1_000)).images.is_empty());
        assert_eq!(ids(&records.too_old(&policy, at(0), at(1_001))), ["b"]);
        assert_eq!(ids(&records.too_old(&policy, at(0), at(1_601))), ["b", "a"]);
        assert!(records.too_old(&Policy::default(), at(0), at(99_999)).images.is_empty(), "no maximum");
    }

    #[test]
    fn image_that_was_removed_and_comes_again_is_new() {
        let mut records = Records::default();
        records.see(&[image("a", true)], at(0));
        records.see(&[], at(10));
        records.see(&[image("a", false)], at(20));
        assert!(records.all_unused(&Policy::default(), at(21)).images.is_empty());
    }

    #[test]
    fn percentages_are_in_order_and_between_0_and_100() {
        let policy = Policy::default();
        let good = policy.with_percents(Some(50), Some(40)).unwrap();
        assert_eq!((good.high_percent, good.low_percent, good.age_seconds_min), (50, 40, 120));
        let error = |high, low| policy.with_percents(Some(high), Some(low)).unwrap_err();
        assert_eq!(error(101, 40), PolicyError::High(101));
        assert_eq!(error(50, -1), PolicyError::Low(-1));
        assert_eq!(error(50, 50), PolicyError::Order { low: 50, high: 50 });
    }
}
