//! Clock, named tasks, shutdown, metrics, logging.
