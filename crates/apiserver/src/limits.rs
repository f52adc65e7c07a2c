//! What the server bounds, and why each bound has its size.

use std::time::Duration;

/// Largest request body: upstream's limit, twice what etcd takes, so that a refusal names the size and not the store.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Longest request target; selectors over thousands of names still fit.
pub const URL_BYTES_MAX: usize = 64 * 1024;

/// Events a resource remembers for watchers. A DaemonSet roll-out over 10,000 nodes is about 60,000 pod events;
/// a watcher that is further behind lists again. Pages of a list and lists of an exact revision reach back as far.
pub const RING_EVENTS_MAX: usize = 65_536;

/// Newest events of a resource whose lines are kept for the watchers that have not read them yet; later ones make their own.
pub const EVENT_LINES_MAX: usize = 256;

/// Watches open at once: four per node on 10,000 nodes, and room for people.
pub const WATCHES_MAX: usize = 65_536;

/// Requests (without watches and streams) worked on at once; more answer 429 and are asked to come back.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 1_024;

/// Connections open at once.
pub const CONNECTIONS_MAX: usize = 32_768;

/// Time to send a request's headers, so that slow senders do not hold connections.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A watch without timeoutSeconds ends after this long, plus up to as much again.
pub const WATCH_TIMEOUT_MIN: Duration = Duration::from_secs(1_800);

/// Interval of bookmarks on watches that allow them.
pub const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// Answers at least this long are compressed for clients that accept gzip: upstream's threshold.
pub const GZIP_BYTES_MIN: usize = 128 * 1024;

/// Tries of a write whose object changed underneath and that named no resourceVersion: upstream's number.
pub const CONFLICT_TRIES_MAX: usize = 5;

/// Tries to find a free name for generateName: upstream's number.
pub const GENERATE_NAME_TRIES_MAX: usize = 8;

/// Age at which an Event object is removed: upstream's default.
pub const EVENT_AGE_MAX: Duration = Duration::from_secs(3_600);

/// Time for open requests to finish after the server was told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Time a request may wait for the window to reach the store's revision; longer means the store's watch is stuck.
pub const FRESH_TIMEOUT: Duration = Duration::from_secs(10);

/// Events handed to one watcher in one body frame at most, so that one busy watcher does not starve others.
pub const WATCH_BATCH_EVENTS_MAX: usize = 256;
