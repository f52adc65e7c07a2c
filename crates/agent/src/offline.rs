//! What this node was asked to run last, and what that needs, kept on disk: a machine that boots while the API server is
//! away starts its daemons as they were.
//!
//! One file for each Pod of the API, readable by the agent's user alone: the Pod with its last status, and the
//! ConfigMaps, Secrets and tokens that its volumes and variables were made from. Files are written when something in
//! them changed, whole or not at all. What cannot be kept is only logged.
//! Upstream has no such thing: a kubelet that boots without its API server runs static Pods alone.
//! It does not decide when what is kept counts: see [`crate::source::api_server`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::Cache;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use parking_lot::Mutex;
use process::{Clock, Shutdown};
use serde::{Deserialize, Serialize};

use crate::board::Board;

/// How long changes are gathered before they are written: a start makes several within a second.
const GATHER_MS: u64 = 1_000;
/// A Pod that is larger than any that the API server takes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// A token as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptToken {
    pub audience: String,
    pub seconds: i64,
    pub text: String,
    pub issued_at: Timestamp,
    pub ends_at: Timestamp,
}

/// What one Pod needs. `None`: it does not exist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    #[serde(default)]
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    #[serde(default)]
    pub secrets: BTreeMap<String, Option<Secret>>,
    #[serde(default)]
    pub tokens: Vec<KeptToken>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct File {
    /// `None`: what it needs was fetched before the Pod itself was kept.
    pod: Option<Pod>,
    needs: Needs,
}

/// The folder, and what is in it.
pub struct Kept {
    folder: PathBuf,
    files: Mutex<BTreeMap<String, File>>,
}

impl Kept {
    /// Reads what is there.
    pub fn open(folder: impl Into<PathBuf>) -> Kept {
        let folder = folder.into();
        let mut files = BTreeMap::new();
        // No folder: nothing was ever kept.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(uid) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if path.extension().is_none_or(|end| end != "json") || !is_uid(uid) {
                continue;
            }
            match read(&path) {
                Ok(file) => drop(files.insert(uid.to_owned(), file)),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "what is kept of a Pod cannot be read");
                }
            }
        }
        Kept { folder, files: Mutex::new(files) }
    }

    /// The Pods that were wanted here last.
    pub fn pods(&self) -> Vec<Pod> {
        self.files.lock().values().filter_map(|file| file.pod.clone()).collect()
    }

    pub fn needs(&self, uid: &str) -> Needs {
        self.files.lock().get(uid).map(|file| file.needs.clone()).unwrap_or_default()
    }

    pub fn keep_pod(&self, pod: &Pod) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        self.change(&uid, |file| file.pod = Some(pod.clone()));
    }

    pub fn keep_needs(&self, uid: &str, change: impl FnOnce(&mut Needs)) {
        self.change(uid, |file| change(&mut file.needs));
    }

    /// Forgets all Pods but these.
    pub fn retain(&self, uids: &BTreeSet<String>) {
        let mut files = self.files.lock();
        let gone: Vec<String> = files.keys().filter(|uid| !uids.contains(*uid)).cloned().collect();
        for uid in gone {
            files.remove(&uid);
            let path = self.path(&uid);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(file = %path.display(), %error, "what is kept of a Pod is not removed");
            }
        }
    }

    fn change(&self, uid: &str, change: impl FnOnce(&mut File)) {
        if !is_uid(uid) {
            return;
        }
        let mut files = self.files.lock();
        let before = files.get(uid).cloned();
        let mut file = before.clone().unwrap_or_default();
        change(&mut file);
        if before.as_ref() == Some(&file) {
            return;
        }
        if let Err(error) = write(&self.folder, &self.path(uid), &file) {
            tracing::warn!(uid, %error, "a Pod is not kept for a start without the API server");
        }
        files.insert(uid.to_owned(), file);
    }

    fn path(&self, uid: &str) -> PathBuf {
        self.folder.join(format!("{uid}.json"))
    }
}

/// It names a file.
fn is_uid(uid: &str) -> bool {
    !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn read(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too large to be one of ours"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn write(folder: &Path, path: &Path, file: &File) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let draft = path.with_extension("draft");
    let mut open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    open.write_all(&serde_json::to_vec(file)?)?;
    // The name must not be on disk before the text is.
    open.sync_all()?;
    fs::rename(draft, path)
}

/// Keeps the API's Pods with the statuses that this node gave them. From the first time that the API was heard until the
/// shutdown.
pub async fn run(
    kept: Arc<Kept>,
    pods: Cache<Pod>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
) {
    tokio::select! {
        // Before that nothing is known to be gone.
        () = shutdown.cancelled() => return,
        () = pods.synced() => {}
    }
    let mut changes = pods.subscribe();
    let mut rows = board.version();
    loop {
        let mut uids = BTreeSet::new();
        for pod in pods.list().into_iter().filter(|pod| !api::pod::is_mirror(pod)) {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let mut pod = (*pod).clone();
            if let Some(row) = board.get(&uid) {
                pod.status = Some(row.status);
            }
            // It changes with each write of others and decides nothing.
            pod.metadata.managed_fields = None;
            pod.metadata.resource_version = None;
            kept.keep_pod(&pod);
            uids.insert(uid);
        }
        // What ends here is cleaned up after the next boot as well.
        uids.extend(board.all().iter().filter_map(|row| row.pod.metadata.uid.clone()));
        kept.retain(&uids);
        tokio::select! {
            // Versions: a change that is missed here is seen at the look above.
            () = shutdown.cancelled() => return,
            _ = changes.next() => {}
            _ = rows.changed() => {}
        }
        while changes.try_next().is_some() {}
        tokio::select! {
            // What was not written is written by the next start, once it has heard the API.
            () = shutdown.cancelled() => return,
            () = clock.sleep(Duration::from_millis(GATHER_MS)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use serde_json::json;

    fn pod(uid: &str) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "uid": uid}, "spec": {"containers": [{"name": "c"}]}}),
        )
        .unwrap()
    }

    #[test]
    fn pods_and_what_they_need_are_there_after_a_restart_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("offline");
        let kept = Kept::open(&place);
        assert!(kept.pods().is_empty());
        let secret: Secret =
            serde_json::from_value(json!({"metadata": {"name": "s"}, "data": {"k": "dg=="}})).unwrap();
        // What it needs may be fetched before the Pod itself is written.
        kept.keep_needs("one", |needs| drop(needs.secrets.insert("s".to_owned(), Some(secret.clone()))));
        assert!(Kept::open(&place).pods().is_empty());
        kept.keep_pod(&pod("one"));
        kept.keep_pod(&pod("two"));
        kept.keep_pod(&pod("../three"));
        let again = Kept::open(&place);
        assert_eq!(again.pods(), [pod("one"), pod("two")]);
        assert_eq!(again.needs("one").secrets["s"], Some(secret));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&place.join("one.json"))), (0o700, 0o600));
        again.retain(&BTreeSet::from(["two".to_owned()]));
        assert_eq!(Kept::open(&place).pods(), [pod("two")]);
    }

    #[test]
    fn nothing_is_written_while_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path());
        kept.keep_pod(&pod("one"));
        let path = folder.path().join("one.json");
        fs::remove_file(&path).unwrap();
        kept.keep_pod(&pod("one"));
        kept.keep_needs("one", |_| ());
        assert!(!path.exists(), "the same again writes nothing");
    }

    #[test]
    fn a_file_that_was_cut_off_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        Kept::open(folder.path()).keep_pod(&pod("one"));
        fs::write(folder.path().join("two.json"), b"{\"pod\": {").unwrap();
        fs::write(folder.path().join("one.draft"), b"{").unwrap();
        assert_eq!(Kept::open(folder.path()).pods(), [pod("one")]);
    }
}
