//! Log lines on standard error: for people, or one JSON object a line for machines.
//!
//! Standard output belongs to a command's answer and is never written to here. Colour is used only where
//! a person looks: standard error is a terminal and `NO_COLOR` is unset or empty (no-color.org).

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Human,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log filter {filter:?} is not understood")]
    Filter {
        filter: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up logging for the whole process, once. `filter` is a level (`info`) or directives
/// (`info,store=debug`).
pub fn init(format: Format, filter: &str) -> Result<(), LoggingError> {
    let parsed = parse_filter(filter)?;
    let registry = tracing_subscriber::registry().with(parsed);
    let set_up = match format {
        Format::Human => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(colour(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref()))
                .with_target(false);
            registry.with(lines).try_init()
        }
        Format::Json => {
            let lines = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_writer(std::io::stderr);
            registry.with(lines).try_init()
        }
    };
    set_up.map_err(LoggingError::Twice)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LoggingError::Filter { filter: filter.to_owned(), source })
}

fn colour(terminal: bool, no_color: Option<&std::ffi::OsStr>) -> bool {
    terminal && no_color.is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_no_objection() {
        assert!(colour(true, None));
        assert!(colour(true, Some("".as_ref())));
        assert!(!colour(true, Some("1".as_ref())));
        assert!(!colour(false, None));
    }

    #[test]
    fn filter_that_is_not_understood_is_refused_with_its_text() {
        assert!(parse_filter("info,store=debug").is_ok());
        let refused = parse_filter("info,store=loud").unwrap_err();
        assert_eq!(refused.to_string(), "log filter \"info,store=loud\" is not understood");
    }
}
