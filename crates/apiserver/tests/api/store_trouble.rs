//! A store that takes no writes: what clients are told, and that they can go on reading.

use std::io::ErrorKind;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use store::{BackendError, Entry, MemoryStore, Page, ReadError, Revision, Store, Watch, WatchError};
use store::{Write, WriteError};

use crate::world::World;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

type Failure = fn(String) -> WriteError;

/// Memory, with writes that fail when they are told to.
#[derive(Default)]
struct Troubled {
    store: MemoryStore,
    failure: Mutex<Option<Failure>>,
}

#[async_trait]
impl Store for Troubled {
    async fn write(&self, write: Write) -> Result<Revision, WriteError> {
        let failure = *self.failure.lock();
        match failure {
            Some(failure) => Err(failure(write.key)),
            None => self.store.write(write).await,
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        self.store.get(key).await
    }

    async fn scan(&self, prefix: &str, after: Option<&str>, limit: Option<usize>) -> Result<Page, ReadError> {
        self.store.scan(prefix, after, limit).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, WatchError> {
        self.store.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, ReadError> {
        self.store.revision().await
    }
}

#[tokio::test]
async fn store_that_takes_no_writes_says_why_and_reads_go_on() {
    let store = Arc::new(Troubled::default());
    let world = World::over(store.clone()).await;
    let map = |name: &str| json!({"metadata": {"name": name}, "data": {"k": "v"}});
    world.post(MAPS, map("a")).await;
    let failures: [(Failure, &str); 4] = [
        (
            |key| WriteError::Refused { key, source: BackendError::DiskFull(ErrorKind::StorageFull.into()) },
            "503 ServiceUnavailable: the store is full: nothing was written; reads go on, and writes as soon as there \
             is space",
        ),
        (
            |key| WriteError::Refused { key, source: BackendError::Io(ErrorKind::Other.into()) },
            "503 ServiceUnavailable: the store's disk fails: nothing was written; reads go on, and writes as soon as \
             the disk works",
        ),
        (
            |key| WriteError::Unknown { key, source: BackendError::Io(ErrorKind::Other.into()) },
            "500 InternalError: Internal error occurred: the outcome of the write is unknown",
        ),
        (
            |key| WriteError::Refused { key, source: BackendError::TooLarge },
            "413 RequestEntityTooLarge: Request entity too large: the store takes no object of this size",
        ),
    ];
    let one = format!("{MAPS}/a");
    for (failure, said) in failures {
        *store.failure.lock() = Some(failure);
        assert_eq!(world.post(MAPS, map("b")).await.said(), said);
        assert_eq!(world.merge(&one, json!({"data": {"k": "w"}})).await.said(), said);
        assert_eq!(world.delete(&one).await.said(), said);
        assert_eq!(world.get(&one).await.json()["data"]["k"], "v");
        assert_eq!(
            world.get(MAPS).await.json()["items"].as_array().map(|items| items
                .iter()
                .filter(|item| item["metadata"]["name"] != "kube-root-ca.crt")
                .count()),
            Some(1)
        );
    }
    *store.failure.lock() = None;
    assert_eq!(world.post(MAPS, map("b")).await.status, 201);
}
