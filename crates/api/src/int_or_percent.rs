//! Counts that may be given as a percentage: `maxUnavailable: 10%`.
//!
//! The base of the percentage and the direction of rounding are the caller's. Upstream:
//! `k8s.io/apimachinery/pkg/util/intstr`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::names;

/// Which way a fraction of an object is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    Up,
    Down,
}

/// A number, or a share of a total that is known later. Percentages above 100 are possible here, validation refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntOrPercent {
    Int(i32),
    Percent(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for IntOrString: invalid value {value:?}: not a percentage")]
pub struct NotAPercentage {
    pub value: String,
}

impl IntOrPercent {
    /// The value of the share, at least 0 for sane input.
    pub fn scaled(self, total: i64, rounding: Rounding) -> i64 {
        match self {
            IntOrPercent::Int(count) => i64::from(count),
            IntOrPercent::Percent(percent) => {
                let hundredths = i128::from(percent) * i128::from(total);
                let whole = match rounding {
                    Rounding::Up => hundredths.div_euclid(100) + i128::from(hundredths.rem_euclid(100) != 0),
                    Rounding::Down => hundredths.div_euclid(100),
                };
                i64::try_from(whole).unwrap_or(i64::MAX)
            }
        }
    }

    /// Zero whatever the total: `0` and `0%`.
    pub fn is_zero(self) -> bool {
        matches!(self, IntOrPercent::Int(0) | IntOrPercent::Percent(0))
    }
}

impl TryFrom<&IntOrString> for IntOrPercent {
    type Error = NotAPercentage;

    fn try_from(value: &IntOrString) -> Result<Self, NotAPercentage> {
        match value {
            IntOrString::Int(count) => Ok(IntOrPercent::Int(*count)),
            IntOrString::String(text) => {
                let wrong = || NotAPercentage { value: text.clone() };
                if !names::percent(text).is_empty() {
                    return Err(wrong());
                }
                let digits = text.trim_end_matches('%');
                digits.parse().map(IntOrPercent::Percent).map_err(|_| wrong())
            }
        }
    }
}

/// `scaled` of a wire value.
pub fn scaled_value(value: &IntOrString, total: i64, rounding: Rounding) -> Result<i64, NotAPercentage> {
    IntOrPercent::try_from(value).map(|parsed| parsed.scaled(total, rounding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_the_way_they_are_told() {
        let table =
            [("10%", 5, 1, 0), ("0%", 5, 0, 0), ("100%", 7, 7, 7), ("33%", 10, 4, 3), ("50%", 4, 2, 2)];
        for (text, total, up, down) in table {
            let value = IntOrString::String(text.to_owned());
            assert_eq!(scaled_value(&value, total, Rounding::Up), Ok(up), "{text}");
            assert_eq!(scaled_value(&value, total, Rounding::Down), Ok(down), "{text}");
        }
        assert_eq!(scaled_value(&IntOrString::Int(7), 3, Rounding::Up), Ok(7));
    }

    #[test]
    fn what_is_not_a_percentage_is_an_error() {
        for text in ["", "5", "%", "-1%", "1.5%", "99999999999999999999%"] {
            assert!(IntOrPercent::try_from(&IntOrString::String(text.to_owned())).is_err(), "{text}");
        }
        assert!(IntOrPercent::Percent(0).is_zero() && IntOrPercent::Int(0).is_zero());
    }
}
