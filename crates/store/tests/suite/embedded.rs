//! The embedded store from outside: kill -9 while it writes, its files, its counts.
//!
//! The writing process is this test binary itself, run with [`DIRECTORY`] set.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use store::embedded::{OpenError, Options};
use store::{Change, EmbeddedStore, Expect, Store, Write};

const DIRECTORY: &str = "EVERYNODE_STORE_KILL_TEST_DIRECTORY";
const KILLS: usize = 10;
const WRITERS: u64 = 4;

/// Not a claim but the process to be killed: without the variable there is nothing to do.
#[test]
fn writing_process() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Arc::new(EmbeddedStore::open(Path::new(&dir)).unwrap());
        let begin = store.revision().await.unwrap().0;
        let writers = (0..WRITERS).map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let key = format!("/{writer}/{}", (begin + n) % 50);
                    let value = format!("{begin}-{n}-").repeat(1 + n as usize % 300);
                    let change = Change::Put(value.clone().into());
                    let write = Write { key: key.clone(), expect: Expect::Anything, change };
                    let revision = store.write(write).await.unwrap();
                    // One line is one write call: a kill cannot leave half of one that was read whole.
                    let line = format!("{} {key} {value}\n", revision.0);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[tokio::test]
async fn every_acknowledged_write_survives_kill_minus_nine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut acknowledged: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let mut count = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::writing_process", "--nocapture"])
            .env(DIRECTORY, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut seen = 0;
        loop {
            line.clear();
            if lines.read_line(&mut line).unwrap() == 0 {
                break;
            }
            // The test harness says something first; a line without an end was cut by the kill.
            let fields: Vec<&str> = line.split(' ').collect();
            let ([revision, key, value], true) = (fields.as_slice(), line.ends_with('\n')) else { continue };
            let Ok(revision) = revision.parse::<u64>() else { continue };
            let value = value.trim_end().to_owned();
            let entry = acknowledged.entry((*key).to_owned()).or_default();
            if revision > entry.0 {
                *entry = (revision, value);
            }
            seen += 1;
            if seen == 40 + kill * 7 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 40, "the process wrote before it was killed");
        count += seen;

        let store = EmbeddedStore::open(&path).unwrap();
        for (key, (revision, value)) in &acknowledged {
            let entry = store.get(key).await.unwrap().expect("an acknowledged key is there");
            // A later write of the same key may be there whose acknowledgement was not read any more.
            if entry.modified.0 == *revision {
                assert_eq!(entry.value, value.as_bytes());
            }
            assert!(entry.modified.0 >= *revision, "{key} at {revision} was lost");
        }
    }
    println!("{count} acknowledged writes survived {KILLS} kills");
}

#[test]
fn store_is_private_and_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/store");
    let store = EmbeddedStore::open(&path).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in path.read_dir().unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert!(matches!(EmbeddedStore::open(&path), Err(OpenError::InUse { .. })));
    drop(store);
    EmbeddedStore::open(&path).unwrap();
}

#[test]
fn file_that_is_not_a_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("store.redb");
    std::fs::write(&file, "not a store, long enough to be looked at: ".repeat(200)).unwrap();
    let before = std::fs::read(&file).unwrap();
    assert!(matches!(EmbeddedStore::open(dir.path()), Err(OpenError::Read { .. })));
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn metrics_tell_of_writes_and_commits() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default();
    let metrics = options.metrics.clone();
    let store = EmbeddedStore::open_with(dir.path(), options).unwrap();
    for expect in [Expect::Absent, Expect::Absent, Expect::Anything] {
        let _ = store.write(Write { key: "/a".into(), expect, change: Change::Put("x".into()) }).await;
    }
    let text = metrics.encode();
    for line in [
        "everynode_store_writes_total 2",
        "everynode_store_writes_refused_total 1",
        "everynode_store_commit_seconds_count 2",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
