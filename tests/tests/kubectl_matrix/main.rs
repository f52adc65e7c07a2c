//! What users do with kubectl, as tables, with every release: Debian's 1.20 and four from 1.23 to the newest. A server
//! alone answers; what needs containers is in `kubectl_clients.rs` and `streams.rs`.

mod access;
mod applying;
mod changing;
mod deleting;
mod making;
mod reading;
mod rollouts;
mod session;

use session::Session;

fn matrix(minor: u32) {
    let session = Session::start(minor);
    making::run(&session);
    reading::run(&session);
    changing::run(&session);
    rollouts::run(&session);
    applying::run(&session);
    access::run(&session);
    deleting::run(&session);
}

#[test]
fn debians_kubectl_1_20() {
    matrix(20);
}

#[test]
fn kubectl_1_23() {
    matrix(23);
}

#[test]
fn kubectl_1_31() {
    matrix(31);
}

#[test]
fn kubectl_1_35() {
    matrix(35);
}

#[test]
fn kubectl_1_37() {
    matrix(37);
}
