//! Random histories, with the embedded store closed and opened again in between, against the model.

use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use store::{Change, EmbeddedStore, Expect, MemoryStore, Page, Revision, Store, Write, WriteError};

#[derive(Debug, Clone)]
enum Step {
    Write {
        key: u8,
        condition: Condition,
        change: Change,
    },
    /// Writes that are queued together and so may share a commit.
    Group(Vec<(u8, u8)>),
    Scan {
        prefix: u8,
        after: Option<u8>,
        limit: Option<usize>,
    },
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Condition {
    Anything,
    Absent,
    /// At the revision that the key has.
    Current,
    /// At a revision that the key had, or another key has.
    Stale(u64),
}

fn key(n: u8) -> String {
    ["/a", "/a/1", "/a/2", "/ab", "/b/1", "/b/2", "/b/2/x", "/ü"][n as usize % 8].to_owned()
}

fn prefix(n: u8) -> &'static str {
    ["", "/", "/a", "/a/", "/b/", "/c"][n as usize % 6]
}

fn step() -> impl Strategy<Value = Step> {
    let condition = prop_oneof![
        4 => Just(Condition::Anything),
        2 => Just(Condition::Absent),
        3 => Just(Condition::Current),
        1 => (0..30_u64).prop_map(Condition::Stale),
    ];
    let change = prop_oneof![
        3 => (any::<u8>(), 0..600_usize).prop_map(|(byte, len)| Change::Put(Bytes::from(vec![byte; len]))),
        1 => Just(Change::Delete),
    ];
    prop_oneof![
        8 => (any::<u8>(), condition, change)
            .prop_map(|(key, condition, change)| Step::Write { key, condition, change }),
        2 => prop::collection::vec(any::<(u8, u8)>(), 1..20).prop_map(Step::Group),
        3 => (any::<u8>(), any::<Option<u8>>(), prop::option::of(0..5_usize))
            .prop_map(|(prefix, after, limit)| Step::Scan { prefix, after, limit }),
        1 => Just(Step::Reopen),
    ]
}

async fn write_of(model: &MemoryStore, number: u8, condition: Condition, change: Change) -> Write {
    let key = key(number);
    let expect = match condition {
        Condition::Anything => Expect::Anything,
        Condition::Absent => Expect::Absent,
        Condition::Current => {
            model.get(&key).await.unwrap().map_or(Expect::Absent, |entry| Expect::At(entry.modified))
        }
        Condition::Stale(revision) => Expect::At(Revision(revision)),
    };
    Write { key, expect, change }
}

/// A write's outcome in a form that can be compared.
fn outcome(result: Result<Revision, WriteError>) -> Result<Revision, String> {
    result.map_err(|error| match error {
        WriteError::Mismatch { key, current } => format!("{key}: {current:?}"),
        other => panic!("no other failure is expected: {other:?}"),
    })
}

async fn scan(store: &dyn Store, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Page {
    store.scan(prefix, after, limit).await.unwrap()
}

async fn agree(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("store");
    let model = MemoryStore::new();
    let mut embedded = EmbeddedStore::open(&path).unwrap();
    for step in steps {
        match step {
            Step::Write { key, condition, change } => {
                let write = write_of(&model, key, condition, change).await;
                let expected = outcome(model.write(write.clone()).await);
                assert_eq!(outcome(embedded.write(write).await), expected);
            }
            Step::Group(writes) => {
                let writes = writes.into_iter().map(|(number, value)| Write {
                    key: key(number),
                    expect: if value % 5 == 0 { Expect::Absent } else { Expect::Anything },
                    change: match value % 3 {
                        0 => Change::Delete,
                        _ => Change::Put(value.to_string().into()),
                    },
                });
                let writes: Vec<Write> = writes.collect();
                // join_all polls in order, so both stores get them in the same order.
                let expected =
                    futures::future::join_all(writes.iter().map(|write| model.write(write.clone())));
                let expected: Vec<_> = expected.await.into_iter().map(outcome).collect();
                let found = futures::future::join_all(writes.into_iter().map(|write| embedded.write(write)));
                assert_eq!(found.await.into_iter().map(outcome).collect::<Vec<_>>(), expected);
            }
            Step::Scan { prefix: number, after, limit } => {
                let (prefix, after) = (prefix(number), after.map(key));
                let expected = scan(&model, prefix, after.as_deref(), limit).await;
                assert_eq!(scan(&embedded, prefix, after.as_deref(), limit).await, expected);
            }
            Step::Reopen => {
                drop(embedded);
                embedded = EmbeddedStore::open(&path).unwrap();
            }
        }
        assert_eq!(embedded.revision().await.unwrap(), model.revision().await.unwrap());
    }
    drop(embedded);
    let embedded = EmbeddedStore::open(&path).unwrap();
    assert_eq!(scan(&embedded, "", None, None).await, scan(&model, "", None, None).await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn embedded_store_behaves_as_the_model_across_reopening(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agree(steps));
    }
}
