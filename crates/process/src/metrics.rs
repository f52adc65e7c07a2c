//! The process's numbers, in one registry, as Prometheus' text.
//!
//! A part registers its metrics once at its start and keeps cheap clones of them; whoever serves
//! `/metrics` asks for the text. Which numbers exist is each part's own matter.

mod own;

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;

pub use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::{Histogram, exponential_buckets, linear_buckets};
pub use prometheus_client::registry::Metric;

/// The content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A shared registry. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Adds `metric` under `name` and hands it back. The encoder itself adds `_total` to a counter's name
    /// and a full stop to the help text. A name is registered once: a second one would be shown beside it.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.registry.lock().register(name, help, metric.clone());
        metric
    }

    /// Adds what Prometheus' client libraries show of every process: memory, CPU, open files, start. Once.
    pub fn register_own_process(&self) {
        self.registry.lock().register_collector(Box::new(own::OwnProcess));
    }

    /// All metrics in the OpenMetrics text form, which Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; an encoder's own failure would cut the text, which scrapers
        // notice by the missing end mark.
        if prometheus_client::encoding::text::encode(&mut text, &self.registry.lock()).is_err() {
            tracing::error!("a metric could not be encoded");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shows_what_clones_counted() {
        let metrics = Metrics::new();
        let writes: Counter = metrics.register("store_writes", "Acknowledged writes", Counter::default());
        writes.inc();
        metrics.clone().register("store_keys", "Keys kept", Gauge::<i64>::default()).set(7);
        let text = metrics.encode();
        assert!(text.contains("store_writes_total 1\n"), "{text}");
        assert!(text.contains("store_keys 7\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn own_process_shows_its_memory_and_cpu() {
        let metrics = Metrics::new();
        metrics.register_own_process();
        let text = metrics.encode();
        let number = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is in {text}")).parse().unwrap()
        };
        assert!(number("process_resident_memory_bytes") > 100_000.0);
        assert!(number("process_open_fds") >= 1.0);
        assert!(number("process_cpu_seconds_total") >= 0.0);
        assert!(number("process_start_time_seconds") > 1_700_000_000.0);
    }
}
