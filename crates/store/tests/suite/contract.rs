//! The store's contract, on every backend.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use store::{Change, Entry, Event, Expect, Revision, Store, Watch, WatchError, Write, WriteError};

use crate::backend::{self, Backend};

const DEADLINE: Duration = Duration::from_secs(30);

macro_rules! contract {
    ($($claim:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { super::within(super::$claim::<super::backend::Memory>()).await })*
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { super::within(super::$claim::<super::backend::Embedded>()).await })*
        }
        mod etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { super::within(super::$claim::<super::backend::Etcd>()).await })*
        }
    };
}

contract!(
    create_needs_absence_and_a_refusal_shows_what_is_there,
    update_and_delete_need_the_revision_they_name,
    deleting_what_is_not_there_is_a_mismatch,
    creation_revision_stays_until_the_key_is_created_anew,
    acknowledged_write_is_in_every_later_read,
    values_of_every_size_come_back_as_they_were,
    pages_cover_every_key_once_and_in_order,
    prefixes_are_isolated,
    watch_tells_of_changes_after_its_revision_only,
    watch_of_a_future_revision_waits_for_it,
    watch_without_its_history_is_compacted,
    slow_watcher_learns_that_it_was_compacted,
    scan_then_watch_misses_and_repeats_nothing_under_concurrent_writes,
    concurrent_increments_are_all_counted,
    watch_ends_when_the_store_is_closed,
);

async fn within<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(DEADLINE, test).await.expect("the test is done in time")
}

fn put(key: &str, expect: Expect, value: impl Into<Bytes>) -> Write {
    Write { key: key.to_owned(), expect, change: Change::Put(value.into()) }
}

fn delete(key: &str, expect: Expect) -> Write {
    Write { key: key.to_owned(), expect, change: Change::Delete }
}

async fn set(store: &dyn Store, key: &str, value: &str) -> Revision {
    store.write(put(key, Expect::Anything, value.to_owned())).await.unwrap()
}

#[track_caller]
fn mismatch(outcome: Result<Revision, WriteError>) -> Option<Entry> {
    match outcome {
        Err(WriteError::Mismatch { current, .. }) => current,
        other => panic!("expected a mismatch, not {other:?}"),
    }
}

async fn next(watch: &mut Watch) -> Vec<Event> {
    let events = watch.next().await.expect("the watch goes on").unwrap();
    assert!(!events.is_empty(), "batches are not empty");
    events
}

async fn next_events(watch: &mut Watch, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(next(watch).await);
    }
    events
}

fn told(events: &[Event]) -> Vec<(String, u64)> {
    events
        .iter()
        .map(|event| match event {
            Event::Put(entry) => {
                (format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value)), entry.modified.0)
            }
            Event::Delete { key, revision } => (format!("{key} deleted"), revision.0),
        })
        .collect()
}

fn is_quiet(watch: &mut (impl Stream + Unpin)) -> bool {
    futures::FutureExt::now_or_never(watch.next()).is_none()
}

async fn create_needs_absence_and_a_refusal_shows_what_is_there<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let created = store.write(put("/a", Expect::Absent, "one")).await.unwrap();
    let current = mismatch(store.write(put("/a", Expect::Absent, "two")).await);
    let entry = Entry { key: "/a".into(), value: "one".into(), created, modified: created };
    assert_eq!(current, Some(entry.clone()));
    assert_eq!(store.get("/a").await.unwrap(), Some(entry));
    assert_eq!(store.get("/").await.unwrap(), None);
}

async fn update_and_delete_need_the_revision_they_name<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let first = set(&*store, "/a", "one").await;
    let second = store.write(put("/a", Expect::At(first), "two")).await.unwrap();
    assert!(second > first);
    let current = mismatch(store.write(put("/a", Expect::At(first), "three")).await);
    assert_eq!(current.unwrap().modified, second);
    let current = mismatch(store.write(delete("/a", Expect::At(first))).await);
    assert_eq!(current.unwrap().value, "two");
    assert_eq!(mismatch(store.write(put("/b", Expect::At(second), "x")).await), None);
    let deleted = store.write(delete("/a", Expect::At(second))).await.unwrap();
    assert!(deleted > second);
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert_eq!(store.revision().await.unwrap(), deleted);
}

async fn deleting_what_is_not_there_is_a_mismatch<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let before = store.revision().await.unwrap();
    assert_eq!(mismatch(store.write(delete("/a", Expect::Anything)).await), None);
    assert_eq!(mismatch(store.write(delete("/a", Expect::Absent)).await), None);
    assert_eq!(store.revision().await.unwrap(), before, "nothing has changed");
}

async fn creation_revision_stays_until_the_key_is_created_anew<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let created = set(&*store, "/a", "one").await;
    let modified = set(&*store, "/a", "two").await;
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (created, modified));
    store.write(delete("/a", Expect::Anything)).await.unwrap();
    let again = set(&*store, "/a", "three").await;
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.created, entry.modified), (again, again));
}

async fn acknowledged_write_is_in_every_later_read<B: Backend>() {
    let backend = B::keeping(1_000).await;
    let store = backend.store();
    let begin = store.revision().await.unwrap();
    let writers = (0..4).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..25 {
                let key = format!("/{writer}/{n}");
                let revision = set(&*store, &key, "x").await;
                assert!(store.revision().await.unwrap() >= revision);
                assert_eq!(store.get(&key).await.unwrap().unwrap().modified, revision);
                let page = store.scan(&key, None, None).await.unwrap();
                assert!(page.revision >= revision && page.entries[0].key == key);
                let mut watch = store.watch(&key, Revision(revision.0 - 1)).await.unwrap();
                assert_eq!(next(&mut watch).await[0].revision(), revision);
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    assert_eq!(store.scan("/", None, None).await.unwrap().entries.len(), 100);
    assert!(store.revision().await.unwrap().0 >= begin.0 + 100);
}

async fn values_of_every_size_come_back_as_they_were<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    for bytes in [0, 1, 15, 16, 17, 4_095, 4_096, 70_000, 1_500_000] {
        let value: Bytes = (0..bytes).map(|n| (n % 251) as u8).collect();
        let key = format!("/{bytes}");
        store.write(put(&key, Expect::Absent, value.clone())).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().unwrap().value, value);
    }
}

async fn pages_cover_every_key_once_and_in_order<B: Backend>() {
    let backend = B::keeping(1_000).await;
    let store = backend.store();
    let mut keys: Vec<String> = (0..25).map(|n| format!("/pods/{}", n * 7 % 25)).collect();
    for key in keys.iter().map(String::as_str).chain(["/aaa", "/pod", "/pods", "/q"]) {
        set(&*store, key, "x").await;
    }
    keys.sort();
    for limit in [1, 4, 5, 24, 25, 26] {
        let mut seen = Vec::new();
        loop {
            let after = seen.last().cloned();
            let page = store.scan("/pods/", after.as_deref(), Some(limit)).await.unwrap();
            assert!(page.entries.len() <= limit);
            assert_eq!(page.revision, store.revision().await.unwrap());
            seen.extend(page.entries.into_iter().map(|entry| entry.key));
            assert_eq!(page.more, seen.len() < 25, "limit {limit}");
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, keys, "limit {limit}");
    }
    // A mark that is not a key (any more) still says where to go on; one before the prefix says nothing.
    let page = store.scan("/pods/", Some("/pods/2x"), Some(1)).await.unwrap();
    assert_eq!(page.entries[0].key, "/pods/3");
    let page = store.scan("/pods/", Some("/a"), None).await.unwrap();
    assert_eq!(page.entries.len(), 25);
    let page = store.scan("/pods/", Some("/z"), None).await.unwrap();
    assert!(page.entries.is_empty() && !page.more);
    let page = store.scan("/pods/", None, Some(0)).await.unwrap();
    assert!(page.entries.is_empty() && page.more);
}

async fn prefixes_are_isolated<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let mut watch = store.watch("/pods/", Revision(0)).await.unwrap();
    for key in ["/pods", "/podsx/a", "/pod/a", "/pods/ü", "/pods0", "/pods/a", "/pods/\u{10ffff}"] {
        set(&*store, key, "x").await;
    }
    let expected = ["/pods/a", "/pods/ü", "/pods/\u{10ffff}"];
    let page = store.scan("/pods/", None, None).await.unwrap();
    let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, expected);
    let events = next_events(&mut watch, 3).await;
    let keys: Vec<_> = events.iter().map(Event::key).collect();
    assert_eq!(keys, ["/pods/ü", "/pods/a", "/pods/\u{10ffff}"]);
    assert!(is_quiet(&mut watch));
    assert_eq!(store.scan("", None, None).await.unwrap().entries.len(), 7);
}

async fn watch_tells_of_changes_after_its_revision_only<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let first = set(&*store, "/a", "one").await;
    let second = set(&*store, "/a", "two").await;
    let third = store.write(delete("/a", Expect::At(second))).await.unwrap();
    let mut watch = store.watch("/", first).await.unwrap();
    let told_now = told(&next_events(&mut watch, 2).await);
    assert_eq!(told_now, [("/a=two".to_owned(), second.0), ("/a deleted".to_owned(), third.0)]);
    assert!(is_quiet(&mut watch));
    let fourth = set(&*store, "/b", "x").await;
    assert_eq!(told(&next(&mut watch).await), [("/b=x".to_owned(), fourth.0)]);
    let mut all = store.watch("/", Revision(first.0 - 1)).await.unwrap();
    assert_eq!(next_events(&mut all, 4).await.len(), 4);
}

async fn watch_of_a_future_revision_waits_for_it<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let first = set(&*store, "/a", "one").await;
    let mut watch = store.watch("/", Revision(first.0 + 2)).await.unwrap();
    for value in ["two", "three"] {
        set(&*store, "/a", value).await;
        assert!(is_quiet(&mut watch));
    }
    let fourth = set(&*store, "/a", "four").await;
    assert_eq!(told(&next(&mut watch).await), [("/a=four".to_owned(), fourth.0)]);
}

async fn watch_without_its_history_is_compacted<B: Backend>() {
    let backend = B::keeping(10).await;
    let store = backend.store();
    let mut revisions = Vec::new();
    for n in 0..30 {
        revisions.push(set(&*store, "/a", &n.to_string()).await);
    }
    backend.forget().await;
    let kept = revisions[19];
    let mut watch = store.watch("/", kept).await.unwrap();
    assert_eq!(next_events(&mut watch, 10).await.len(), 10);
    let asked = revisions[18];
    match store.watch("/", asked).await.map(|_| ()) {
        Err(WatchError::Compacted { asked: named, oldest }) => {
            assert_eq!((named, oldest), (asked, kept));
        }
        other => panic!("expected compaction, not {other:?}"),
    }
}

async fn slow_watcher_learns_that_it_was_compacted<B: Backend>() {
    let backend = B::keeping(10).await;
    let store = backend.store();
    let begin = store.revision().await.unwrap();
    let mut watch = store.watch("/", begin).await.unwrap();
    let mut written = Vec::new();
    for n in 0..11 {
        written.push(set(&*store, "/a", &n.to_string()).await);
    }
    backend.forget().await;
    let mut seen = Vec::new();
    loop {
        match watch.next().await.expect("the watch goes on or says why not") {
            Ok(events) => seen.extend(events.iter().map(Event::revision)),
            Err(WatchError::Compacted { .. }) => break,
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(seen, written[..seen.len()], "no gap");
        assert!(B::TELLS_WHAT_IS_ON_ITS_WAY, "nothing is told once something is missing");
        if seen.len() == written.len() {
            return;
        }
    }
    assert!(watch.next().await.is_none(), "a watch ends with its error");
}

async fn scan_then_watch_misses_and_repeats_nothing_under_concurrent_writes<B: Backend>() {
    const WRITERS: u64 = 4;
    const WRITES: u64 = 60;
    let backend = B::keeping(10_000).await;
    let store = backend.store();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..WRITES {
                    let key = format!("/{}", (writer + n * 3) % 7);
                    let change = if n % 5 == 4 { Change::Delete } else { Change::Put(n.to_string().into()) };
                    // Deleting what another writer has deleted is a mismatch, as it should be.
                    let _ = store.write(Write { key, expect: Expect::Anything, change }).await;
                }
                store.write(put(&format!("/done/{writer}"), Expect::Absent, "x")).await.unwrap();
            })
        })
        .collect();
    let watchers: Vec<_> = (0..6)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let page = store.scan("/", None, None).await.unwrap();
                let mut state: BTreeMap<String, Entry> =
                    page.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
                let mut seen = page.revision;
                let mut watch = store.watch("/", seen).await.unwrap();
                while state.keys().filter(|key| key.starts_with("/done/")).count() < WRITERS as usize {
                    for event in next(&mut watch).await {
                        assert!(event.revision() > seen, "in order, and once");
                        seen = event.revision();
                        match event {
                            Event::Put(entry) => {
                                let before = state.insert(entry.key.clone(), entry.clone());
                                let created = before.map_or(entry.modified, |before| before.created);
                                assert_eq!(entry.created, created, "no change between was missed");
                            }
                            Event::Delete { key, .. } => {
                                assert!(state.remove(&key).is_some(), "the deleted key was there");
                            }
                        }
                    }
                }
                state
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let entries = store.scan("/", None, None).await.unwrap().entries;
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap().into_values().collect::<Vec<_>>(), entries);
    }
}

async fn concurrent_increments_are_all_counted<B: Backend>() {
    let backend = B::keeping(1_000).await;
    let store = backend.store();
    set(&*store, "/counter", "0").await;
    let counters = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                loop {
                    let entry = store.get("/counter").await.unwrap().unwrap();
                    let count: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                    let write = put("/counter", Expect::At(entry.modified), (count + 1).to_string());
                    match store.write(write).await {
                        Ok(_) => break,
                        Err(WriteError::Mismatch { current: Some(_), .. }) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            }
        })
    });
    for counter in futures::future::join_all(counters).await {
        counter.unwrap();
    }
    assert_eq!(store.get("/counter").await.unwrap().unwrap().value, "80");
}

async fn watch_ends_when_the_store_is_closed<B: Backend>() {
    let backend = B::keeping(100).await;
    let store = backend.store();
    let mut watch = store.watch("/", Revision(0)).await.unwrap();
    set(&*store, "/a", "one").await;
    drop(store);
    let _world = backend.close();
    assert_eq!(next(&mut watch).await.len(), 1, "what was acknowledged is still told");
    assert!(watch.next().await.is_none());
}
