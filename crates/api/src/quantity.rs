//! Resource quantities: `500m`, `1.5Gi`, `2e3`, exact.
//!
//! A `Quantity` is a whole number of billionths plus the notation it was written in. Sums and comparisons are exact;
//! printing gives upstream's canonical form, so `1000m` prints as `1` and `1024Ki` as `1Mi`. Finer input is rounded away
//! from zero and larger input is capped at 2^63-1, as upstream documents. Upstream: `k8s.io/apimachinery/pkg/api/resource`.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

/// The finest step that is kept: 1e-9.
const NANOS: i128 = 1_000_000_000;
/// No quantity is larger than this in magnitude (2^63-1 whole units).
const VALUE_MAX: i128 = i64::MAX as i128 * NANOS;

/// How a quantity was written and will be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notation {
    /// `12e6`.
    DecimalExponent,
    /// `12M`, `500m`.
    #[default]
    DecimalSi,
    /// `12Mi`.
    BinarySi,
}

/// An exact amount. Equality, order and hash look at the amount alone, not at the notation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    notation: Notation,
}

/// Why a text is not a quantity. Texts are upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Form,
    #[error("unable to parse numeric part of quantity")]
    Number,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    pub const ZERO: Quantity = Quantity { nanos: 0, notation: Notation::DecimalSi };

    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, digits) = match text.as_bytes().first() {
            None => return Err(QuantityError::Form),
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
        };
        let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
        let (number, suffix) = digits.split_at(end);
        if number.is_empty() || !suffix_has_form(suffix) {
            return Err(QuantityError::Form);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Number);
        }
        let scale = Scale::parse(suffix).ok_or(QuantityError::Suffix)?;
        let nanos = scale.nanos(whole, fraction);
        Ok(Quantity { nanos: if negative { -nanos } else { nanos }, notation: scale.notation() })
    }

    /// A whole number of units: Pods, cores, bytes.
    pub fn from_units(units: i64) -> Self {
        Quantity { nanos: i128::from(units) * NANOS, notation: Notation::DecimalSi }
    }

    /// A number of thousandths, as CPU is counted.
    pub fn from_millis(millis: i64) -> Self {
        Quantity { nanos: clamp(i128::from(millis) * 1_000_000), notation: Notation::DecimalSi }
    }

    /// Bytes, printed as `Ki`, `Mi`, ….
    pub fn from_bytes(bytes: i64) -> Self {
        Quantity { nanos: i128::from(bytes) * NANOS, notation: Notation::BinarySi }
    }

    /// Whole units, fractions rounded away from zero.
    pub fn units(self) -> i64 {
        saturate(ceil_away(self.nanos, NANOS))
    }

    /// Thousandths, finer parts rounded away from zero: millicores of CPU.
    pub fn millis(self) -> i64 {
        saturate(ceil_away(self.nanos, 1_000_000))
    }

    /// Same as `units`: named for memory and storage.
    pub fn bytes(self) -> i64 {
        self.units()
    }

    /// Billionths: the exact amount.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    pub fn is_whole(self) -> bool {
        self.nanos % NANOS == 0
    }

    pub fn notation(self) -> Notation {
        self.notation
    }

    /// Rounded away from zero to whole thousandths, as stored resource lists are.
    #[must_use]
    pub fn rounded_to_millis(self) -> Self {
        Quantity { nanos: clamp(ceil_away(self.nanos, 1_000_000) * 1_000_000), notation: self.notation }
    }

    fn with(self, nanos: i128, other: Quantity) -> Self {
        // A zero takes the notation of what is added to it, as upstream does.
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Quantity { nanos: clamp(nanos), notation }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Quantity) -> Quantity {
        self.with(self.nanos + other.nanos, other)
    }
}

impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        self.with(self.nanos - other.nanos, other)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Quantity) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Quantity) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Quantity;

    fn neg(self) -> Quantity {
        Quantity { nanos: -self.nanos, notation: self.notation }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Quantity>>(items: I) -> Quantity {
        items.fold(Quantity::ZERO, Add::add)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Quantity::parse(text)
    }
}

impl TryFrom<&WireQuantity> for Quantity {
    type Error = QuantityError;

    fn try_from(wire: &WireQuantity) -> Result<Self, QuantityError> {
        Quantity::parse(wire.0.trim())
    }
}

impl From<Quantity> for WireQuantity {
    fn from(quantity: Quantity) -> WireQuantity {
        WireQuantity(quantity.to_string())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notation = self.notation;
        if notation == Notation::BinarySi {
            // Small and fractional amounts cannot be told in powers of 1024 without losing precision.
            let small = self.nanos > -1024 * NANOS && self.nanos < 1024 * NANOS;
            if small || self.nanos % NANOS != 0 {
                notation = Notation::DecimalSi;
            }
        }
        if self.nanos == 0 {
            return f.write_str("0");
        }
        match notation {
            Notation::BinarySi => {
                let mut mantissa = self.nanos / NANOS;
                let mut power = 0;
                while mantissa % 1024 == 0 && power < BINARY.len() - 1 {
                    mantissa /= 1024;
                    power += 1;
                }
                write!(f, "{mantissa}{}", BINARY[power])
            }
            Notation::DecimalSi | Notation::DecimalExponent => {
                let mut mantissa = self.nanos;
                let mut power = 0;
                while mantissa % 1000 == 0 && power < DECIMAL.len() - 1 {
                    mantissa /= 1000;
                    power += 1;
                }
                let (suffix, exponent) = DECIMAL[power];
                if notation == Notation::DecimalSi || exponent == 0 {
                    write!(f, "{mantissa}{suffix}")
                } else {
                    write!(f, "{mantissa}e{exponent}")
                }
            }
        }
    }
}

/// Powers of 1000 from the finest up.
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
/// Powers of 1024.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

enum Scale {
    Decimal { exponent: i32, notation: Notation },
    Binary { power: u32 },
}

impl Scale {
    fn parse(suffix: &str) -> Option<Scale> {
        if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            return Some(Scale::Decimal { exponent: *exponent, notation: Notation::DecimalSi });
        }
        if let Some(power) = BINARY.iter().position(|name| *name == suffix) {
            return Some(Scale::Binary { power: u32::try_from(power).ok()? });
        }
        let digits = suffix.strip_prefix(['e', 'E'])?;
        let exponent = digits.parse().ok()?;
        Some(Scale::Decimal { exponent, notation: Notation::DecimalExponent })
    }

    fn notation(&self) -> Notation {
        match self {
            Scale::Decimal { notation, .. } => *notation,
            Scale::Binary { .. } => Notation::BinarySi,
        }
    }

    /// The amount in billionths; rounded up and capped.
    fn nanos(&self, whole: &str, fraction: &str) -> i128 {
        match self {
            Scale::Decimal { exponent, .. } => decimal(whole, fraction, i64::from(*exponent) + 9),
            Scale::Binary { power } => {
                let factor = 1_i128 << (10 * power);
                // 18 decimals are kept through the multiplication: the factor is at most 2^60.
                const KEPT: usize = 18;
                let whole = decimal(whole, "", 0);
                if whole >= i128::from(i64::MAX) {
                    return VALUE_MAX;
                }
                let mut parts: i128 = 0;
                for i in 0..KEPT {
                    parts = parts * 10 + fraction.as_bytes().get(i).map_or(0, |b| i128::from(b - b'0'));
                }
                let rest = fraction.as_bytes().iter().skip(KEPT).any(|b| *b != b'0');
                let parts = (parts + i128::from(rest)) * factor;
                let nanos = ceil_away(parts, 1_000_000_000);
                whole.checked_mul(factor * NANOS).and_then(|n| n.checked_add(nanos)).map_or(VALUE_MAX, clamp)
            }
        }
    }
}

/// `whole.fraction` times ten to the `shift`, as an integer rounded up, capped.
fn decimal(whole: &str, fraction: &str, shift: i64) -> i128 {
    let digits: Vec<i128> = whole.bytes().chain(fraction.bytes()).map(|b| i128::from(b - b'0')).collect();
    let Some(first) = digits.iter().position(|d| *d != 0) else { return 0 };
    // Digits before the decimal point once it has been shifted.
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(shift);
    let mut value: i128 = 0;
    let first = i64::try_from(first).unwrap_or(i64::MAX);
    let mut at = first;
    while at < point {
        let digit = usize::try_from(at).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
        value = value.saturating_mul(10).saturating_add(digit);
        if value > VALUE_MAX {
            return VALUE_MAX;
        }
        at += 1;
    }
    let cut = usize::try_from(point.max(0)).unwrap_or(usize::MAX);
    let rest = digits.iter().skip(cut).any(|d| *d != 0);
    clamp(value + i128::from(rest))
}

/// The regular expression of the suffix: letters, a sign, digits.
fn suffix_has_form(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

fn ceil_away(value: i128, step: i128) -> i128 {
    let whole = value / step;
    match value % step {
        0 => whole,
        rest if rest > 0 => whole + 1,
        _ => whole - 1,
    }
}

fn clamp(nanos: i128) -> i128 {
    nanos.clamp(-VALUE_MAX, VALUE_MAX)
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
