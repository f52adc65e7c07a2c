//! Failed syncs, full and broken disks, panics: what is answered meanwhile, and how the store comes back by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;

use super::database::Database;
use super::faulty_disk::{Disk, Faults, Random, Sync};
use super::{EmbeddedStore, Options, RetryDelays};
use crate::{BackendError, Change, Entry, Event, Expect, Revision, Store, Write, WriteError};

/// Many times what anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);
const SHORT: RetryDelays = RetryDelays { first: Duration::from_millis(1), longest: Duration::from_millis(4) };

fn open_with(disk: &Disk, retry: RetryDelays) -> EmbeddedStore {
    let database = Database::on(Box::new(disk.clone())).expect("the store opens");
    let options = Options { retry, ..Options::default() };
    EmbeddedStore::start(database, PathBuf::from("disk"), options).expect("the store loads")
}

fn open(disk: &Disk) -> EmbeddedStore {
    open_with(disk, SHORT)
}

fn put(key: &str, value: impl Into<Bytes>) -> Write {
    Write { key: key.to_owned(), expect: Expect::Anything, change: Change::Put(value.into()) }
}

async fn entries(store: &EmbeddedStore) -> Vec<Entry> {
    store.scan("", None, None).await.unwrap().entries
}

/// Writes until the store takes it, as clients do.
async fn written(store: &EmbeddedStore, write: Write) -> Revision {
    let end = Instant::now() + DEADLINE;
    loop {
        match store.write(write.clone()).await {
            Ok(revision) => return revision,
            Err(WriteError::Refused { .. }) if Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            other => panic!("expected that the store takes writes again, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn failed_sync_acknowledges_nothing_and_the_store_comes_back_without_a_hand() {
    let disk = Disk::default();
    let store = open(&disk);
    let before = store.write(put("/a", "1")).await.unwrap();
    let kept = entries(&store).await;
    disk.set(Faults { sync: Sync::Fails, ..Faults::default() });
    match store.write(put("/a", "2")).await {
        // Nobody can tell what a disk holds that does not sync.
        Err(WriteError::Unknown { source: BackendError::Io(_), .. }) => {}
        other => panic!("expected an unknown outcome, not {other:?}"),
    }
    match store.write(put("/b", "1")).await {
        Err(WriteError::Refused { source: BackendError::Io(_), .. }) => {}
        other => panic!("expected a refusal, not {other:?}"),
    }
    assert_eq!(entries(&store).await, kept, "reads go on");
    assert_eq!(store.revision().await.unwrap(), before);

    disk.set(Faults::default());
    let after = written(&store, put("/b", "2")).await;
    assert!(after > before);
    // What the failed sync has left must not count: the power fails, and what was acknowledged is there.
    let acknowledged = entries(&store).await;
    for seed in 1..20 {
        let disk = disk.after_power_loss(&mut Random::seeded(seed));
        assert_eq!(entries(&open(&disk)).await, acknowledged, "seed {seed}");
    }
}

#[tokio::test]
async fn full_disk_refuses_writes_by_name_until_there_is_space_and_reads_go_on() {
    let disk = Disk::default();
    let store = open(&disk);
    store.write(put("/a", "1")).await.unwrap();
    disk.set(Faults { full: true, ..Faults::default() });
    let large = || put("/large", vec![b'x'; 8 << 20]);
    let revision = store.revision().await.unwrap();
    for _ in 0..5 {
        match store.write(large()).await {
            // Nothing has happened, and that is certain.
            Err(WriteError::Refused { source: BackendError::DiskFull(_), .. }) => {}
            other => panic!("expected a refusal for a full disk, not {other:?}"),
        }
    }
    assert_eq!(store.revision().await.unwrap(), revision);
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "1");
    assert_eq!(store.get("/large").await.unwrap(), None);

    disk.set(Faults::default());
    written(&store, large()).await;
    drop(store);
    let store = open(&disk);
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "1");
    assert_eq!(store.get("/large").await.unwrap().unwrap().value.len(), 8 << 20);
}

#[tokio::test]
async fn store_on_a_full_disk_opens_and_is_read() {
    let disk = Disk::default();
    let store = open(&disk);
    store.write(put("/a", "1")).await.unwrap();
    drop(store);
    disk.set(Faults { full: true, ..Faults::default() });
    assert_eq!(open(&disk).get("/a").await.unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn panic_in_a_commit_acknowledges_nothing_and_the_store_comes_back() {
    let disk = Disk::default();
    let store = open(&disk);
    let revision = store.write(put("/a", "1")).await.unwrap();
    let kept = entries(&store).await;
    disk.set(Faults { sync: Sync::Panics, ..Faults::default() });
    // Both are queued before the writer gets to them; neither may hang.
    let (first, second) = tokio::join!(store.write(put("/a", "2")), store.write(put("/b", "1")));
    for outcome in [first, second] {
        assert!(matches!(outcome, Err(WriteError::Unknown { .. } | WriteError::Refused { .. })));
    }
    assert_eq!(entries(&store).await, kept);
    assert_eq!(store.revision().await.unwrap(), revision);
    disk.set(Faults::default());
    written(&store, put("/a", "3")).await;
    drop(store);
    assert_eq!(open(&disk).get("/a").await.unwrap().unwrap().value, "3");
}

#[tokio::test]
async fn store_that_pauses_after_a_failure_closes_at_once() {
    let disk = Disk::default();
    let hour = Duration::from_secs(3_600);
    let store = open_with(&disk, RetryDelays { first: hour, longest: hour });
    disk.set(Faults { broken: true, ..Faults::default() });
    assert!(store.write(put("/a", "1")).await.is_err());
    let begun = Instant::now();
    drop(store);
    assert!(begun.elapsed() < DEADLINE);
}

/// Clients write while the disk fails in every way, again and again, and at the end the power fails too.
#[tokio::test]
async fn whatever_fails_what_was_acknowledged_is_there_and_what_was_refused_is_not() {
    const KEYS: u64 = 6;
    const ROUNDS: u64 = 12;
    const BATCH: u64 = 4;
    for seed in 1..=60_u64 {
        let mut random = Random::seeded(seed);
        let disk = Disk::default();
        let store = Arc::new(open(&disk));
        let mut watch = store.watch("", Revision(0)).await.unwrap();
        // By revision: what was acknowledged; by value: what may have happened.
        let mut acknowledged: BTreeMap<Revision, (String, Bytes)> = BTreeMap::new();
        let mut unknown: Vec<(String, Bytes)> = Vec::new();
        for round in 0..ROUNDS {
            let none = Faults { after: (random.next() % 12) as u32, ..Faults::default() };
            disk.set(match random.next() % 6 {
                0 => none,
                1 => Faults { sync: Sync::Fails, ..none },
                2 => Faults { sync: Sync::Panics, ..none },
                3 => Faults { full: true, ..none },
                4 => Faults { broken: true, ..none },
                _ => Faults { sync: Sync::Fails, rename: true, ..none },
            });
            let writes: Vec<Write> = (0..BATCH)
                .map(|n| {
                    let value = format!("{round}-{n}-").repeat(1 + (random.next() % 4_000) as usize);
                    put(&format!("/{}", random.next() % KEYS), value)
                })
                .collect();
            let outcomes =
                futures::future::join_all(writes.iter().map(|write| store.write(write.clone()))).await;
            for (write, outcome) in writes.into_iter().zip(outcomes) {
                let Change::Put(value) = write.change else { unreachable!("only values are put") };
                match outcome {
                    Ok(revision) => {
                        let before = acknowledged.insert(revision, (write.key, value));
                        assert_eq!(before, None, "seed {seed}: {revision:?} was given out twice");
                    }
                    Err(WriteError::Unknown { .. }) => unknown.push((write.key, value)),
                    Err(WriteError::Refused { .. }) => {}
                    Err(error @ WriteError::Mismatch { .. }) => panic!("seed {seed}: {error:?}"),
                }
            }
            if random.next().is_multiple_of(2) {
                disk.set(Faults::default());
                let last = put("/last", format!("{seed}-{round}"));
                let revision = written(&store, last.clone()).await;
                let Change::Put(value) = last.change else { unreachable!("a value is put") };
                acknowledged.insert(revision, (last.key, value));
            }
        }
        disk.set(Faults::default());
        let end = written(&store, put("/end", "x")).await;

        // The watch has told of each acknowledged write at its revision, and of nothing that was refused.
        let mut log: Vec<Entry> = Vec::new();
        while log.last().is_none_or(|entry| entry.modified < end) {
            for event in watch.next().await.expect("the watch goes on").unwrap() {
                let Event::Put(entry) = event else { panic!("seed {seed}: nothing was deleted") };
                assert!(log.last().is_none_or(|last| last.modified < entry.modified), "seed {seed}: order");
                log.push(entry);
            }
        }
        log.pop();
        let mut state: BTreeMap<String, Entry> = BTreeMap::new();
        for entry in log {
            match acknowledged.remove(&entry.modified) {
                Some((key, value)) => assert_eq!((&key, &value), (&entry.key, &entry.value), "seed {seed}"),
                None => {
                    let told = (entry.key.clone(), entry.value.clone());
                    let position = unknown.iter().position(|attempted| *attempted == told);
                    unknown.remove(position.unwrap_or_else(|| {
                        panic!("seed {seed}: {} at {:?} was refused", entry.key, entry.modified)
                    }));
                }
            }
            state.insert(entry.key.clone(), entry);
        }
        assert!(acknowledged.is_empty(), "seed {seed}: the watch did not tell of {acknowledged:?}");

        let mut survivors = entries(&open(&disk.after_power_loss(&mut random))).await;
        assert_eq!(survivors.iter().filter(|entry| entry.key == "/end").count(), 1, "seed {seed}");
        survivors.retain(|entry| entry.key != "/end");
        assert_eq!(survivors, state.into_values().collect::<Vec<_>>(), "seed {seed}");
    }
}
