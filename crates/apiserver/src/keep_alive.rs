//! TCP keep-alive: a peer whose machine is gone is noticed, although nothing is sent to it.

use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Silence before the first question: as Go's listeners do.
const IDLE: Duration = Duration::from_secs(15);
const INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer until the connection is given up: with [`IDLE`] about two and a half minutes.
const QUESTIONS_MAX: u32 = 9;

/// Turns it on, and sends small writes at once: a keystroke must not wait for the next one. A socket that refuses only
/// goes without.
pub fn set(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, IDLE);
    let _ = sockopt::set_tcp_keepintvl(stream, INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(stream, QUESTIONS_MAX);
}
