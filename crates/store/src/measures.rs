//! What the durable backends count.

use std::time::Duration;

use process::Metrics;
use process::metrics::{Counter, Gauge, Histogram, exponential_buckets};

#[derive(Debug)]
pub(crate) struct Measures {
    writes: Counter,
    refused: Counter,
    unknown: Counter,
    commit_seconds: Histogram,
    writable: Gauge,
}

impl Measures {
    pub fn new(metrics: &Metrics) -> Measures {
        // 100 us, a fast disk's sync, to 3.3 s, a disk in trouble.
        let buckets = exponential_buckets(0.000_1, 2.0, 16);
        let measures = Measures {
            writable: metrics.register(
                "everynode_store_writable",
                "1 while the store takes writes, 0 while it recovers from one that failed",
                Gauge::default(),
            ),
            writes: metrics.register(
                "everynode_store_writes",
                "Writes that were made durable and acknowledged",
                Counter::default(),
            ),
            refused: metrics.register(
                "everynode_store_writes_refused",
                "Writes whose precondition did not hold",
                Counter::default(),
            ),
            unknown: metrics.register(
                "everynode_store_writes_unknown",
                "Writes that may or may not have happened",
                Counter::default(),
            ),
            commit_seconds: metrics.register(
                "everynode_store_commit_seconds",
                "Time to make one batch of writes durable",
                Histogram::new(buckets),
            ),
        };
        measures.writable(true);
        measures
    }

    pub fn writable(&self, writable: bool) {
        self.writable.set(i64::from(writable));
    }

    pub fn committed(&self, writes: usize, took: Duration) {
        self.writes.inc_by(writes as u64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub fn unknown(&self, writes: usize) {
        self.unknown.inc_by(writes as u64);
    }

    pub fn refused(&self, writes: usize) {
        self.refused.inc_by(writes as u64);
    }
}
