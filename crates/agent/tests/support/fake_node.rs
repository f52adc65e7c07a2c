//! What a node has on the fake runtime: a folder of its own, with one for manifests, and the image `web:1`.

use std::path::PathBuf;
use std::sync::Arc;

use agent::{Config, RuntimeChoice};
use cri::Runtime;
use cri::fake::FakeRuntime;
use process::SystemClock;
use tempfile::TempDir;

pub struct FakeNode {
    pub folder: TempDir,
    pub runtime: Arc<FakeRuntime>,
}

impl FakeNode {
    pub fn new() -> FakeNode {
        let runtime = Arc::new(FakeRuntime::new(SystemClock::shared()));
        runtime.add_image("web:1");
        let node = FakeNode { folder: tempfile::tempdir().unwrap(), runtime };
        std::fs::create_dir(node.manifests()).unwrap();
        node
    }

    pub fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    /// Of an agent that stands alone.
    pub fn config(&self) -> Config {
        let mut config = Config::new("n1", self.folder.path().join("agent"));
        config.manifest = Some(self.manifests());
        config.runtime = RuntimeChoice::Given(Arc::clone(&self.runtime) as Arc<dyn Runtime>);
        config.log_root = self.folder.path().join("logs");
        config
    }
}
