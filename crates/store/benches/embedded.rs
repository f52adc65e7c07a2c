//! What a write, a group of writes and a read of the embedded store cost, beside the disk's floor.
//!
//! `cargo bench -p store` prints a table; set `TMPDIR` to a folder on the disk that is to be measured.

use std::io::Write as _;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use store::{Change, EmbeddedStore, Expect, Store, Write};
use tokio::runtime::Runtime;

const VALUE_BYTES: usize = 2_048;
const KEYS: usize = 1_000;

fn main() {
    divan::main();
}

fn write(n: usize) -> Write {
    Write {
        key: format!("/registry/pods/default/pod-{:06}", n % KEYS),
        expect: Expect::Anything,
        change: Change::Put(vec![n as u8; VALUE_BYTES].into()),
    }
}

fn world() -> (Runtime, Arc<EmbeddedStore>, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Arc::new(EmbeddedStore::open(dir.path()).expect("a store"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(write_together(&store, 0, KEYS));
    (runtime, store, dir)
}

async fn write_together(store: &EmbeddedStore, first: usize, count: usize) {
    let writes = (first..first + count).map(|n| store.write(write(n)));
    for outcome in futures::future::join_all(writes).await {
        outcome.expect("acknowledged");
    }
}

/// The floor: the same bytes appended to a file and synced.
#[divan::bench(args = [1, 32], sample_count = 50)]
fn floor_append_and_sync(bencher: Bencher, group: usize) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut file = std::fs::File::create(dir.path().join("log")).expect("a file");
    let bytes = vec![7; VALUE_BYTES * group];
    bencher.counter(ItemsCount::new(group)).bench_local(|| {
        file.write_all(&bytes).expect("written");
        file.sync_data().expect("synced");
    });
}

/// Writes that wait together share commits.
#[divan::bench(args = [1, 32, 256], sample_count = 50)]
fn acknowledged_writes(bencher: Bencher, group: usize) {
    let (runtime, store, _dir) = world();
    let mut n = 0;
    bencher.counter(ItemsCount::new(group)).bench_local(|| {
        n += group;
        runtime.block_on(write_together(&store, n, group));
    });
}

#[divan::bench]
fn get(bencher: Bencher) {
    let (runtime, store, _dir) = world();
    bencher.bench_local(|| {
        runtime.block_on(store.get("/registry/pods/default/pod-000500")).expect("read").expect("there")
    });
}

#[divan::bench]
fn scan_of_a_thousand(bencher: Bencher) {
    let (runtime, store, _dir) = world();
    bencher.counter(ItemsCount::new(KEYS)).bench_local(|| {
        runtime.block_on(store.scan("/registry/pods/", None, None)).expect("read").entries.len()
    });
}

/// Opening after a clean end, with everything read back.
#[divan::bench(sample_count = 20)]
fn open_with_a_thousand(bencher: Bencher) {
    let (_, store, dir) = world();
    drop(store);
    bencher.bench_local(|| drop(EmbeddedStore::open(dir.path()).expect("a store")));
}
