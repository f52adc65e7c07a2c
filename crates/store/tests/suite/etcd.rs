//! What only the etcd backend promises: several stores on one cluster, lost members, compaction, TLS, a full etcd.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use store::etcd::{ConnectError, Deadlines, Options};
use store::{BackendError, Change, EtcdStore, Event, Expect, Revision, Store, WatchError, Write, WriteError};

use crate::backend::connect;
use crate::identity::Identities;
use crate::member::Cluster;

const DEADLINE: Duration = Duration::from_secs(60);

fn put(key: &str, value: impl Into<bytes::Bytes>) -> Write {
    Write { key: key.to_owned(), expect: Expect::Anything, change: Change::Put(value.into()) }
}

/// For calls that nobody answers.
fn impatient(cluster: &Cluster) -> Options {
    let second = Duration::from_secs(1);
    Options {
        deadlines: Deadlines { read: second, write: second },
        ..Options::new(cluster.address().parse().unwrap())
    }
}

async fn within<F: Future>(test: F) -> F::Output {
    tokio::time::timeout(DEADLINE, test).await.expect("the test is done in time")
}

async fn next_event(watch: &mut store::Watch) -> Event {
    let mut events = within(watch.next()).await.expect("the watch goes on").unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

/// What other programs do in the same etcd.
async fn written_by_others(cluster: &Cluster, writes: usize) {
    let others = connect(&format!("{}/others", cluster.address())).await;
    for n in 0..writes {
        others.write(put("/x", n.to_string())).await.unwrap();
    }
}

#[tokio::test]
async fn stores_on_one_cluster_see_each_others_writes() {
    let cluster = Cluster::of(1);
    let (one, two) = (connect(&cluster.address()).await, connect(&cluster.address()).await);
    let mut watch = two.watch("/", Revision(0)).await.unwrap();
    let revision = one.write(put("/a", "x")).await.unwrap();
    assert_eq!(two.revision().await.unwrap(), revision);
    assert_eq!(two.get("/a").await.unwrap().unwrap().modified, revision);
    assert_eq!(next_event(&mut watch).await.revision(), revision);
}

#[tokio::test]
async fn stores_with_different_prefixes_do_not_see_each_other() {
    let cluster = Cluster::of(1);
    let one = connect(&format!("{}/one", cluster.address())).await;
    let two = connect(&format!("{}/two", cluster.address())).await;
    one.write(put("/a", "x")).await.unwrap();
    assert_eq!(two.revision().await.unwrap(), Revision(0));
    assert!(two.scan("", None, None).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn what_others_write_to_the_same_etcd_does_not_move_the_revision() {
    let cluster = Cluster::of(1);
    let store = connect(&cluster.address()).await;
    let revision = store.write(put("/a", "x")).await.unwrap();
    written_by_others(&cluster, 10).await;
    assert_eq!(store.revision().await.unwrap(), revision);
    assert_eq!(store.scan("", None, None).await.unwrap().revision, revision);
}

#[tokio::test]
async fn quiet_store_is_not_overtaken_by_the_compaction_of_what_others_wrote() {
    let cluster = Cluster::of(1);
    let store = connect(&cluster.address()).await;
    let quiet_since = store.write(put("/a", "x")).await.unwrap();
    written_by_others(&cluster, 10).await;
    store.compact(Revision(quiet_since.0 + 9)).await.unwrap();
    let mut watch = store.watch("/", quiet_since).await.unwrap();
    let revision = store.write(put("/a", "y")).await.unwrap();
    assert_eq!(next_event(&mut watch).await.revision(), revision);
    store.compact(revision).await.unwrap();
    match store.watch("/", quiet_since).await.map(drop) {
        Err(WatchError::Compacted { asked, oldest }) => assert_eq!((asked, oldest), (quiet_since, revision)),
        other => panic!("expected compaction, not {other:?}"),
    }
}

#[tokio::test]
async fn deletion_at_the_compacted_revision_is_still_told() {
    let cluster = Cluster::of(1);
    let store = connect(&cluster.address()).await;
    let before = store.write(put("/a", "x")).await.unwrap();
    let delete = Write { key: "/a".to_owned(), expect: Expect::At(before), change: Change::Delete };
    let deleted = store.write(delete).await.unwrap();
    store.write(put("/b", "x")).await.unwrap();
    store.compact(deleted).await.unwrap();
    // Either it is told or the watch says that it is not: never a gap.
    match store.watch("/", before).await {
        Ok(mut watch) => {
            let event = within(watch.next()).await.unwrap().unwrap().remove(0);
            assert_eq!(event.revision(), deleted);
        }
        Err(WatchError::Compacted { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn scan_of_more_than_a_page_is_of_one_revision() {
    let cluster = Cluster::of(1);
    let store = Arc::new(connect(&cluster.address()).await);
    let writes = (0..1_200).map(|n| store.write(put(&format!("/{n:04}"), "0")));
    for outcome in futures::future::join_all(writes).await {
        outcome.unwrap();
    }
    // Every round writes the last key before the first: seen at one moment, the last is never behind.
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 1..100 {
                store.write(put("/1199", n.to_string())).await.unwrap();
                store.write(put("/0000", n.to_string())).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let page = store.scan("/", None, None).await.unwrap();
        assert_eq!((page.entries.len(), page.more), (1_200, false));
        let number =
            |n: usize| -> u32 { std::str::from_utf8(&page.entries[n].value).unwrap().parse().unwrap() };
        let (first, last) = (number(0), number(1_199));
        assert!(last == first || last == first + 1, "{first} and {last} are of two moments");
        assert!(page.entries.iter().all(|entry| entry.modified <= page.revision));
    }
    writer.await.unwrap();
    let page = store.scan("/", Some("/0009"), Some(1_100)).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (1_100, true));
}

#[tokio::test]
async fn watch_goes_on_when_its_member_was_killed_and_started_again() {
    let mut cluster = Cluster::of(1);
    let store = connect(&cluster.address()).await;
    let mut watch = store.watch("/", Revision(0)).await.unwrap();
    let first = store.write(put("/a", "x")).await.unwrap();
    assert_eq!(next_event(&mut watch).await.revision(), first);
    cluster.kill(0);
    cluster.start(0);
    let second = loop {
        match store.write(put("/a", "y")).await {
            Ok(revision) => break revision,
            Err(WriteError::Unknown { .. } | WriteError::Refused { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    };
    let mut told = next_event(&mut watch).await.revision();
    while told < second {
        told = next_event(&mut watch).await.revision();
    }
    assert_eq!(told, second);
}

#[tokio::test]
async fn write_to_nobody_has_not_happened() {
    let mut cluster = Cluster::of(1);
    let store = EtcdStore::connect(impatient(&cluster)).await.unwrap();
    store.write(put("/a", "x")).await.unwrap();
    cluster.kill(0);
    // The first call may find out that the connection is gone; from then on nothing is sent.
    let _ = store.write(put("/a", "y")).await;
    match store.write(put("/a", "z")).await {
        Err(WriteError::Refused { .. }) => {}
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn servers_that_share_an_etcd_compact_it() {
    let cluster = Cluster::of(1);
    let options = || Options {
        compaction_interval: Duration::from_millis(100),
        ..Options::new(cluster.address().parse().unwrap())
    };
    let one = EtcdStore::connect(options()).await.unwrap();
    let _two = EtcdStore::connect(options()).await.unwrap();
    let begin = one.write(put("/a", "0")).await.unwrap();
    let compacted = async {
        for n in 1.. {
            let newest = one.write(put("/a", n.to_string())).await.unwrap();
            match one.watch("/", begin).await {
                Ok(_) => {}
                Err(WatchError::Compacted { oldest, .. }) => {
                    assert!(oldest < newest, "the changes of the last interval are kept");
                    return;
                }
                Err(other) => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(compacted).await;
    assert!(one.watch("/", one.revision().await.unwrap()).await.is_ok());
}

#[tokio::test]
async fn full_etcd_refuses_writes_and_goes_on_with_reads() {
    let cluster = Cluster::with(1, "etcd", &["--quota-backend-bytes", "2000000"]);
    let store = connect(&cluster.address()).await;
    store.write(put("/a", "x")).await.unwrap();
    let full = async {
        for n in 0.. {
            match store.write(put(&format!("/large/{n}"), vec![b'x'; 200_000])).await {
                Ok(_) => {}
                Err(WriteError::Refused { source: BackendError::DiskFull(_), .. }) => return,
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    within(full).await;
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "x");
    assert!(store.revision().await.unwrap() > Revision(0));
}

#[tokio::test]
async fn value_larger_than_etcd_takes_is_refused_by_name() {
    let cluster = Cluster::of(1);
    let store = connect(&cluster.address()).await;
    for bytes in [1_600_000, 3 << 20] {
        match store.write(put("/a", vec![b'x'; bytes])).await {
            Err(WriteError::Refused { source: BackendError::TooLarge, .. }) => {}
            other => panic!("expected a refusal, not {other:?}"),
        }
    }
    store.write(put("/a", "x")).await.unwrap();
}

#[tokio::test]
async fn many_who_ask_for_the_revision_share_reads_and_none_gets_an_older_one() {
    let cluster = Cluster::of(1);
    let store = Arc::new(connect(&cluster.address()).await);
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                let written = store.write(put(&format!("/{writer}"), n.to_string())).await.unwrap();
                assert!(store.revision().await.unwrap() >= written);
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
}

#[tokio::test]
async fn wrong_address_says_that_nobody_answers() {
    let mut cluster = Cluster::of(1);
    let address = cluster.address();
    cluster.kill(0);
    match EtcdStore::connect(impatient(&cluster)).await.map(drop) {
        Err(error @ ConnectError::Unreachable { .. }) => {
            assert_eq!(error.to_string(), format!("no member of {address}/everynode answers"));
        }
        other => panic!("expected that nobody answers, not {other:?}"),
    }
}

#[tokio::test]
async fn tls_with_a_certificate_of_ours_reaches_an_etcd_that_asks_for_one() {
    let files = Identities::new();
    let cluster = Cluster::with(1, "etcds", &files.etcd_options().each_ref().map(String::as_str));
    let options = Options { tls: files.client(), ..impatient(&cluster) };
    let store = EtcdStore::connect(options).await.unwrap();
    let mut watch = store.watch("/", Revision(0)).await.unwrap();
    let revision = store.write(put("/a", "x")).await.unwrap();
    assert_eq!(next_event(&mut watch).await.revision(), revision);

    for tls in [files.client_without_certificate(), files.client_that_trusts_another_ca()] {
        let refused = EtcdStore::connect(Options { tls, ..impatient(&cluster) }).await.map(drop);
        assert!(matches!(refused, Err(ConnectError::Unreachable { .. })), "{refused:?}");
    }
    let refused = EtcdStore::connect(impatient(&cluster)).await.map(drop);
    assert!(matches!(refused, Err(ConnectError::Tls { .. })), "{refused:?}");
}
