//! The backends under test, each with what must live as long as it.

use std::sync::Arc;

use store::embedded::{Options, WindowLimits};
use store::etcd::Options as EtcdOptions;
use store::{EmbeddedStore, EtcdStore, MemoryStore, Revision, Store};
use tempfile::TempDir;

use crate::member::Cluster;

pub trait Backend: Sized {
    /// What is left when the store is closed.
    type World;

    /// A watcher may be told changes that are no longer kept, because they are already on their way to it.
    const TELLS_WHAT_IS_ON_ITS_WAY: bool = false;

    /// Keeps at least `changes_max` changes for watchers, and no more after [`Backend::forget`].
    async fn keeping(changes_max: usize) -> Self;
    fn store(&self) -> Arc<dyn Store>;
    async fn forget(&self) {}
    fn close(self) -> Self::World;
}

pub struct Memory(Arc<MemoryStore>);

impl Backend for Memory {
    type World = ();

    async fn keeping(changes_max: usize) -> Memory {
        Memory(Arc::new(MemoryStore::with_history(changes_max)))
    }

    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    fn close(self) {}
}

pub struct Embedded {
    store: Arc<EmbeddedStore>,
    dir: TempDir,
}

impl Backend for Embedded {
    type World = TempDir;

    async fn keeping(changes_max: usize) -> Embedded {
        let dir = tempfile::tempdir().unwrap();
        let window = WindowLimits { changes_max, bytes_max: 64 << 20 };
        let options = Options { window, ..Options::default() };
        let store = EmbeddedStore::open_with(dir.path().join("store"), options).unwrap();
        Embedded { store: Arc::new(store), dir }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn close(self) -> TempDir {
        self.dir
    }
}

pub struct Etcd {
    store: Arc<EtcdStore>,
    changes_max: u64,
    cluster: Cluster,
}

impl Backend for Etcd {
    type World = Cluster;

    const TELLS_WHAT_IS_ON_ITS_WAY: bool = true;

    async fn keeping(changes_max: usize) -> Etcd {
        let cluster = Cluster::of(1);
        let store = connect(&cluster.address()).await;
        Etcd { store: Arc::new(store), changes_max: changes_max as u64, cluster }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn forget(&self) {
        // Every change here is one revision.
        let newest = self.store.revision().await.unwrap();
        self.store.compact(Revision(newest.0 - self.changes_max)).await.unwrap();
    }

    fn close(self) -> Cluster {
        self.cluster
    }
}

pub async fn connect(address: &str) -> EtcdStore {
    EtcdStore::connect(EtcdOptions::new(address.parse().unwrap())).await.unwrap()
}
