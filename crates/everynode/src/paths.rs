//! Where things lie under the data folder. Part of the binary's contract: users and tests rely on these names.

use std::path::{Path, PathBuf};

/// The data folder of one everynode.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Creates the folder (0700) when it is absent and makes the path absolute.
    pub fn open(path: &Path) -> std::io::Result<DataDir> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(DataDir(path.canonicalize()?))
    }

    /// The folder as it is named, whether it is there or not.
    pub fn existing(path: &Path) -> std::io::Result<DataDir> {
        Ok(DataDir(path.canonicalize()?))
    }

    /// Whether everynode has run here; a server on etcd leaves no store.
    pub fn is_ours(&self) -> bool {
        [self.store(), self.agent(), self.pid().with_extension("lock")].iter().any(|path| path.exists())
    }

    pub fn root(&self) -> &Path {
        &self.0
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.0.join("admin.kubeconfig")
    }

    pub fn agent_kubeconfig(&self) -> PathBuf {
        self.0.join("agent.kubeconfig")
    }

    /// The process of `everynode up` or `everynode server`.
    pub fn pid(&self) -> PathBuf {
        self.0.join("everynode.pid")
    }

    /// The process of a separate `everynode agent`.
    pub fn agent_pid(&self) -> PathBuf {
        self.0.join("agent.pid")
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("everynode.log")
    }

    pub fn manifests(&self) -> PathBuf {
        self.0.join("manifests")
    }

    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }
}
