//! The store's contract on every backend, random histories against the model, and each backend from outside.

mod backend;
mod contract;
mod embedded;
mod etcd;
mod histories;
mod history;
mod identity;
mod linearizable;
mod member;
mod record;
