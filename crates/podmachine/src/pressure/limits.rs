//! The thresholds of a node, as a KubeletConfiguration writes them.
//!
//! Upstream: ParseThresholdConfig. A list that is given replaces the defaults as a whole; `0%` and `100%` switch a
//! threshold off.

use std::collections::BTreeMap;
use std::fmt;

use api::quantity::{Quantity, QuantityError};
use jiff::SignedDuration;

use super::{Reading, Signal};

/// Upstream's evictionHard.
const HARD_DEFAULT: [(Signal, &str); 5] = [
    (Signal::MemoryAvailable, "100Mi"),
    (Signal::NodefsAvailable, "10%"),
    (Signal::NodefsInodesFree, "5%"),
    (Signal::ImagefsAvailable, "15%"),
    (Signal::ImagefsInodesFree, "5%"),
];
/// Upstream's evictionPressureTransitionPeriod.
const TRANSITION_SECONDS_DEFAULT: u64 = 300;
/// A percent in billionths of the whole.
const PERCENT_NANOS: i128 = 100 * 1_000_000_000;

/// Everything that the node goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Hard ones first; memory before all others, as they are acted on.
    pub thresholds: Vec<Threshold>,
    /// Longest grace of a Pod that goes because of a soft threshold; `None`: the Pod's own.
    pub pod_grace_seconds_max: Option<u64>,
    /// A condition stays this long after its threshold was last met.
    pub transition_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    pub signal: Signal,
    pub amount: Amount,
    /// `None`: hard, acts at once.
    pub grace_seconds: Option<u64>,
    /// Above the amount, what must be there before one that was met is met no more.
    pub reclaim: Option<Amount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Quantity(Quantity),
    /// Of the capacity, in percent.
    Percent(Quantity),
}

/// The fields of a KubeletConfiguration; `None` is upstream's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    pub hard: Option<BTreeMap<String, String>>,
    pub soft: BTreeMap<String, String>,
    pub soft_grace_period: BTreeMap<String, String>,
    pub minimum_reclaim: BTreeMap<String, String>,
    pub max_pod_grace_period: Option<i64>,
    pub pressure_transition_period: Option<String>,
}

/// What is wrong with them. Upstream's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    #[error("unsupported eviction signal {0}: it is none of {names}", names = Signal::ALL.map(Signal::name).join(", "))]
    Signal(String),
    #[error("eviction threshold {signal} {text:?}")]
    Amount {
        signal: &'static str,
        text: String,
        #[source]
        source: QuantityError,
    },
    #[error("eviction threshold {signal} must be positive, got {text}")]
    NotPositive { signal: &'static str, text: String },
    #[error("eviction percentage threshold {signal} must be <= 100%, got {text}")]
    Percent { signal: &'static str, text: String },
    #[error("grace period must be specified for the soft eviction threshold {0}")]
    NoGrace(&'static str),
    #[error("{field} {text:?} is not a duration that is not negative, such as 1m30s")]
    Duration { field: String, text: String },
}

impl Default for Limits {
    fn default() -> Self {
        // The defaults parse: a test says so.
        Limits::parse(&Written::default()).unwrap_or_else(|_| Limits::none())
    }
}

impl Limits {
    /// Nothing is kept free.
    pub fn none() -> Limits {
        Limits {
            thresholds: Vec::new(),
            pod_grace_seconds_max: Some(0),
            transition_seconds: TRANSITION_SECONDS_DEFAULT,
        }
    }

    pub fn parse(written: &Written) -> Result<Limits, LimitsError> {
        let default =
            || HARD_DEFAULT.map(|(signal, text)| (signal.name().to_owned(), text.to_owned())).into();
        let hard = written.hard.clone().unwrap_or_else(default);
        let reclaim = amounts(&written.minimum_reclaim)?;
        let mut thresholds = Vec::new();
        for (signal, amount) in amounts(&hard)? {
            thresholds.push(Threshold { signal, amount, grace_seconds: None, reclaim: None });
        }
        for (signal, amount) in amounts(&written.soft)? {
            let Some(text) = written.soft_grace_period.get(signal.name()) else {
                return Err(LimitsError::NoGrace(signal.name()));
            };
            let grace = Some(seconds(&format!("evictionSoftGracePeriod {}", signal.name()), text)?);
            thresholds.push(Threshold { signal, amount, grace_seconds: grace, reclaim: None });
        }
        for threshold in &mut thresholds {
            threshold.reclaim = reclaim.get(&threshold.signal).copied();
        }
        thresholds.sort_by_key(|threshold| {
            (threshold.signal != Signal::MemoryAvailable, threshold.grace_seconds.is_some(), threshold.signal)
        });
        let transition = written.pressure_transition_period.as_deref();
        let transition =
            transition.map(|text| seconds("evictionPressureTransitionPeriod", text)).transpose()?;
        Ok(Limits {
            thresholds,
            // COMPAT(kubelet): a negative one is the Pod's own grace.
            pod_grace_seconds_max: u64::try_from(written.max_pod_grace_period.unwrap_or(0)).ok(),
            // COMPAT(kubelet): zero is the default too.
            transition_seconds: transition
                .filter(|seconds| *seconds > 0)
                .unwrap_or(TRANSITION_SECONDS_DEFAULT),
        })
    }

    /// What a hard threshold keeps from Pods; 0 where there is none.
    pub fn reserved(&self, signal: Signal, capacity: Quantity) -> Quantity {
        let hard = self.thresholds.iter().filter(|one| one.signal == signal && one.grace_seconds.is_none());
        hard.map(|one| one.amount.of(capacity)).max().unwrap_or(Quantity::ZERO)
    }
}

impl Threshold {
    pub fn is_met(&self, reading: &Reading, with_reclaim: bool) -> bool {
        let more = self.reclaim.filter(|_| with_reclaim).map(|amount| amount.of(reading.capacity));
        self.amount.of(reading.capacity) + more.unwrap_or(Quantity::ZERO) > reading.available
    }
}

impl Amount {
    pub fn of(self, capacity: Quantity) -> Quantity {
        match self {
            Amount::Quantity(quantity) => quantity,
            Amount::Percent(percent) => {
                let whole = i128::from(capacity.units());
                let part = whole.saturating_mul(percent.nanos()) / PERCENT_NANOS;
                Quantity::from_bytes(i64::try_from(part).unwrap_or(i64::MAX))
            }
        }
    }
}

impl fmt::Display for Amount {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Quantity(quantity) => write!(f, "{quantity}"),
            Amount::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

fn amounts(written: &BTreeMap<String, String>) -> Result<BTreeMap<Signal, Amount>, LimitsError> {
    let mut amounts = BTreeMap::new();
    for (name, text) in written {
        let signal = Signal::named(name).ok_or_else(|| LimitsError::Signal(name.clone()))?;
        if let Some(amount) = amount(signal, text)? {
            amounts.insert(signal, amount);
        }
    }
    Ok(amounts)
}

fn amount(signal: Signal, text: &str) -> Result<Option<Amount>, LimitsError> {
    let (signal, shown) = (signal.name(), || text.to_owned());
    let parse = |number: &str| {
        Quantity::parse(number).map_err(|source| LimitsError::Amount { signal, text: shown(), source })
    };
    if let Some(percent) = text.strip_suffix('%') {
        let percent = parse(percent)?;
        if percent.is_negative() {
            return Err(LimitsError::NotPositive { signal, text: shown() });
        }
        if percent > Quantity::from_units(100) {
            return Err(LimitsError::Percent { signal, text: shown() });
        }
        let off = percent.is_zero() || percent == Quantity::from_units(100);
        return Ok((!off).then_some(Amount::Percent(percent)));
    }
    let quantity = parse(text)?;
    if quantity.is_negative() || quantity.is_zero() {
        return Err(LimitsError::NotPositive { signal, text: shown() });
    }
    Ok(Some(Amount::Quantity(quantity)))
}

/// As Go writes a duration.
pub fn seconds(field: &str, text: &str) -> Result<u64, LimitsError> {
    let wrong = || LimitsError::Duration { field: field.to_owned(), text: text.to_owned() };
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    u64::try_from(duration.as_secs()).map_err(|_| wrong())
}
