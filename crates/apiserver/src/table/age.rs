//! Ages as people read them: the coarser, the longer ago.
//!
//! Upstream: `duration.HumanDuration` in `apimachinery/pkg/util/duration`.

use jiff::Timestamp;

const MINUTE_SECONDS: i64 = 60;
const HOUR_SECONDS: i64 = 60 * MINUTE_SECONDS;
const DAY_HOURS: i64 = 24;
const YEAR_DAYS: i64 = 365;

/// What a table shows where a time is not known.
pub(super) const UNKNOWN: &str = "<unknown>";

/// The age of an RFC 3339 timestamp.
pub(super) fn since(timestamp: Option<&str>, now: Timestamp) -> String {
    match timestamp.and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(then) => human(now.duration_since(then).as_secs()),
        None => UNKNOWN.to_owned(),
    }
}

/// A duration in whole seconds.
pub(super) fn human(seconds: i64) -> String {
    // Clocks of two machines differ a little: up to two seconds in the future are now.
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let seconds = seconds.max(0);
    if seconds < 2 * MINUTE_SECONDS {
        return format!("{seconds}s");
    }
    let minutes = seconds / MINUTE_SECONDS;
    if minutes < 10 {
        return two(minutes, "m", seconds % MINUTE_SECONDS, "s");
    }
    if minutes < 3 * 60 {
        return format!("{minutes}m");
    }
    let hours = seconds / HOUR_SECONDS;
    if hours < 8 {
        return two(hours, "h", minutes % 60, "m");
    }
    if hours < 2 * DAY_HOURS {
        return format!("{hours}h");
    }
    let days = hours / DAY_HOURS;
    if hours < 8 * DAY_HOURS {
        return two(days, "d", hours % DAY_HOURS, "h");
    }
    if days < 2 * YEAR_DAYS {
        return format!("{days}d");
    }
    if days < 8 * YEAR_DAYS {
        return two(days / YEAR_DAYS, "y", days % YEAR_DAYS, "d");
    }
    format!("{}y", days / YEAR_DAYS)
}

fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_get_coarser_as_upstream_has_them() {
        const DAY: i64 = 24 * HOUR_SECONDS;
        for (seconds, want) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR_SECONDS - 1, "179m"),
            (3 * HOUR_SECONDS, "3h"),
            (7 * HOUR_SECONDS + 61, "7h1m"),
            (8 * HOUR_SECONDS + 61, "8h"),
            (48 * HOUR_SECONDS - 1, "47h"),
            (2 * DAY + 3 * HOUR_SECONDS, "2d3h"),
            (8 * DAY, "8d"),
            (729 * DAY, "729d"),
            (730 * DAY, "2y"),
            (3 * 365 * DAY + 5 * DAY, "3y5d"),
            (8 * 365 * DAY + 5 * DAY, "8y"),
        ] {
            assert_eq!(human(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn an_unreadable_time_is_unknown() {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        assert_eq!(since(Some("2026-01-01T00:00:00Z"), now), "10m");
        assert_eq!(since(Some("2026-01-01T00:09:59.5Z"), now), "0s");
        assert_eq!(since(None, now), "<unknown>");
        assert_eq!(since(Some("yesterday"), now), "<unknown>");
    }
}
