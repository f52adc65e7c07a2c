//! The power fails, at a random operation of a disk that loses, keeps or tears what was not synced.
//!
//! Claim: after any power loss the store opens, holds every acknowledged write, and differs from that at most by the
//! one batch whose outcome was unknown, whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;

use super::database::Database;
use super::faulty_disk::{Disk, Random};
use super::{EmbeddedStore, Options};
use crate::{Change, Entry, Expect, Store, Write, WriteError};

fn open(disk: &Disk) -> EmbeddedStore {
    let database = Database::on(Box::new(disk.clone())).expect("the store opens");
    EmbeddedStore::start(database, PathBuf::from("disk"), Options::default()).expect("the store loads")
}

fn put(key: u64, value: u64) -> Write {
    let value = value.to_string().repeat(1 + (value % 700) as usize);
    Write { key: format!("/{key:02}"), expect: Expect::Anything, change: Change::Put(value.into()) }
}

fn content(entries: &[Entry]) -> BTreeMap<String, Bytes> {
    entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}

async fn entries(store: &EmbeddedStore) -> Vec<Entry> {
    store.scan("", None, None).await.unwrap().entries
}

#[tokio::test]
async fn acknowledged_writes_survive_power_loss_and_no_batch_is_half_there() {
    const KEYS: u64 = 12;
    const BATCH: u64 = 5;
    for seed in 1..=60_u64 {
        let mut random = Random::seeded(seed);
        let mut disk = Disk::default();
        for _life in 0..4 {
            let store = open(&disk);
            let before = entries(&store).await;
            disk.fail_power_after((random.next() % 120) as u32);
            // What a whole batch would have made of the acknowledged state.
            let (acknowledged, attempted) = loop {
                let acknowledged = entries(&store).await;
                let writes: Vec<Write> =
                    (0..BATCH).map(|_| put(random.next() % KEYS, random.next() % 10_000)).collect();
                // All are queued before the writer's thread is asked again, so they may or may not share a
                // commit; each acknowledged one must be there either way.
                let outcomes =
                    futures::future::join_all(writes.iter().map(|write| store.write(write.clone()))).await;
                if outcomes.iter().any(Result::is_err) {
                    for (write, outcome) in writes.iter().zip(&outcomes) {
                        if outcome.is_ok() {
                            assert!(
                                entries(&store).await.iter().any(|entry| entry.key == write.key),
                                "seed {seed}"
                            );
                        }
                    }
                    break (entries(&store).await, writes.into_iter().zip(outcomes).collect::<Vec<_>>());
                }
                assert_ne!(acknowledged, entries(&store).await, "seed {seed}");
            };
            assert!(acknowledged.len() >= before.len(), "seed {seed}");
            let after_cut = disk.after_power_loss(&mut random);
            drop(store);
            disk = after_cut;
            let recovered = content(&entries(&open(&disk)).await);
            let acknowledged = content(&acknowledged);
            let mut with_batch = acknowledged.clone();
            for (write, outcome) in attempted {
                if let (Err(WriteError::Unknown { .. }), Change::Put(value)) = (outcome, write.change) {
                    with_batch.insert(write.key, value);
                }
            }
            assert!(
                recovered == acknowledged || recovered == with_batch,
                "seed {seed}: neither the acknowledged state nor that with the whole batch"
            );
        }
    }
}
