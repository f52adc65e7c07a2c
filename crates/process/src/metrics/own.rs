//! This process in numbers, read from /proc when it is asked for, under Prometheus' usual names.
//!
//! What cannot be read is left out: a scrape never fails because of it.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Fields of /proc/self/stat after the command's closing parenthesis (proc_pid_stat(5), counted from its third).
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const RESIDENT_PAGES: usize = 21;

#[derive(Debug)]
pub(super) struct OwnProcess;

impl Collector for OwnProcess {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut show =
            |name: &str, help: &str, metric: &dyn EncodeMetricDyn| metric.show(&mut encoder, name, help);
        if let Some(stat) = Stat::read() {
            let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
            let cpu_ticks = stat.field(USER_TICKS) + stat.field(SYSTEM_TICKS);
            show(
                "process_cpu_seconds",
                "User and system CPU time of all threads",
                &ConstCounter::new(cpu_ticks as f64 / ticks_per_second),
            )?;
            show(
                "process_resident_memory_bytes",
                "Memory that is in RAM",
                &ConstGauge::new((stat.field(RESIDENT_PAGES) as usize * rustix::param::page_size()) as f64),
            )?;
            if let Some(boot_seconds) = boot_seconds() {
                let start = boot_seconds as f64 + stat.field(START_TICKS) as f64 / ticks_per_second;
                show(
                    "process_start_time_seconds",
                    "Start of the process since the epoch",
                    &ConstGauge::new(start),
                )?;
            }
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            show("process_open_fds", "Open file descriptors", &ConstGauge::new(files.count() as f64))?;
        }
        Ok(())
    }
}

/// Lets one closure show counters and gauges.
trait EncodeMetricDyn {
    fn show(&self, encoder: &mut DescriptorEncoder, name: &str, help: &str) -> Result<(), std::fmt::Error>;
}

impl<M: EncodeMetric> EncodeMetricDyn for M {
    fn show(&self, encoder: &mut DescriptorEncoder, name: &str, help: &str) -> Result<(), std::fmt::Error> {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}

struct Stat(Vec<u64>);

impl Stat {
    fn read() -> Option<Stat> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command may hold spaces and parentheses itself; the last one closes it.
        let (_, fields) = text.rsplit_once(')')?;
        Some(Stat(fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect()))
    }

    fn field(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or_default()
    }
}

fn boot_seconds() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}
