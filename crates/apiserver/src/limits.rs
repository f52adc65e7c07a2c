//! What the server bounds, and why each bound has its size.

use std::time::Duration;

/// Largest request body: upstream's limit, twice what etcd takes, so that a refusal names the size and not the store.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Longest request target; selectors over thousands of names still fit.
pub const URL_BYTES_MAX: usize = 64 * 1024;

/// Events a resource remembers for watchers. A DaemonSet roll-out over 10,000 nodes is about 60,000 pod events;
/// a watcher that is further behind lists again. Pages of a list and lists of an exact revision reach back as far.
pub const RING_EVENTS_MAX: usize = 65_536;

/// Bytes of the objects that a resource's events keep: some ten seconds of a roll-out over 5,000 nodes, a minute and a
/// half of their leases.
pub const RING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Events older than this are forgotten: upstream's etcd compacts every five minutes.
pub const RING_AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// How often events are looked at for their age.
pub const RING_TIDY_INTERVAL: Duration = Duration::from_secs(30);

/// Newest events of a resource whose lines are kept for the watchers that have not read them yet; later ones make their own.
pub const EVENT_LINES_MAX: usize = 256;

/// Watches open at once: four per node on 10,000 nodes, and room for people.
pub const WATCHES_MAX: usize = 65_536;

/// Watches that one user has open: a quarter, so that the nodes' own find room.
pub const WATCHES_OF_USER_MAX: usize = WATCHES_MAX / 4;

/// Seats of all levels that are not exempt: requests (without streams and what a watch does after its beginning) worked on
/// at once, and a quarter GiB of their bodies.
pub const SEATS: usize = 1_024;

/// Bytes of a body that one seat stands for: the usual object takes one, the largest body thirteen.
pub const SEAT_BODY_BYTES: usize = 256 * 1024;

/// Objects of a list that one seat stands for: about 2 MiB of answer.
pub const SEAT_LISTED_OBJECTS: usize = 1_000;

/// Seats that one request takes at most, so that large ones still get their turn on the smallest level.
pub const WIDTH_MAX: usize = 16;

/// Requests of one user that wait for a seat: more than the controllers send at once.
pub const FLOW_QUEUE_MAX: usize = 512;

/// Requests of one level that wait for a seat: one of each node on 10,000 nodes.
pub const LEVEL_QUEUE_MAX: usize = 10_240;

/// Time that a request waits for a seat: upstream's quarter of a request's time.
pub const SEAT_WAIT_MAX: Duration = Duration::from_secs(15);

/// Time for a request's body to arrive; slower senders hold seats of others of their level.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections open at once.
pub const CONNECTIONS_MAX: usize = 32_768;

/// Connections open at once without a certificate of the cluster, whose clients may be anybody: a quarter, so that nodes and
/// components always find room.
pub const STRANGERS_MAX: usize = CONNECTIONS_MAX / 4;

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

/// Time that a Pod's creation waits for its namespace's default account: ten looks of 150 ms, as upstream.
pub const ACCOUNT_WAIT_MAX: Duration = Duration::from_millis(1_500);
