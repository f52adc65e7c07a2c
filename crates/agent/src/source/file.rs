//! The manifest folder, or a single manifest file.
//!
//! Watched with inotify and read again every [`RELIST_SECONDS`]. A file that is being written is left alone until
//! its writer closes it. Which of the files count is decided in [`super::manifests`].
//!
//! DIFFERS(static-broken-file): upstream's folder mode ends a Pod whose file no longer parses, at the next relist.
//! Here the last good content of that file stays, over restarts of the agent too, and the fault is reported until
//! the file is mended or removed.
//! DIFFERS(static-lost-folder): to upstream a path that does not exist means no Pods. Here only a file that was removed
//! ends its Pods: a folder that cannot be read, is gone or lies empty where a mount was says nothing about them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use inotify::{EventMask, EventStream, Inotify, WatchMask};
use k8s_openapi::api::core::v1::Pod;
use process::{Clock, Shutdown};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::last_good::LastGood;
use super::ledger::{FaultLine, Ledger, Page, Writer};
use super::left_alone::is_left_alone;
use super::listing::{self, Listing, MANIFESTS_MAX, Stamp};
use super::local_objects::LocalObjects;
use super::manifest::{self, MANIFEST_BYTES_MAX, Manifest, ManifestError, Origin};
use super::manifests::Manifests;
use super::{SourceKind, SourceSet};

/// Upstream's fileCheckFrequency: the safety net behind inotify.
pub const RELIST_SECONDS: u64 = 20;
/// How soon a path that does not exist is looked for again.
const ABSENT_RETRY_MS: u64 = 1_000;
/// Bytes for one read of events: some sixty with long names.
const EVENT_BUFFER_BYTES: usize = 16 << 10;

/// What a source of static Pods tells others beside its Pods.
#[derive(Clone)]
pub struct Told {
    pub ledger: Arc<Ledger>,
    pub objects: Arc<LocalObjects>,
}

/// Reads the manifests of one path.
pub struct FileSource {
    path: PathBuf,
    node_name: String,
    clock: Arc<dyn Clock>,
    last_good: LastGood,
    told: Told,
    manifests: Manifests,
    /// What was read of each file.
    files: BTreeMap<PathBuf, Reading>,
    /// Texts that were read and do not count yet.
    pending: BTreeMap<String, Vec<u8>>,
    kept: BTreeSet<String>,
    changes: Changes,
    is_mount: fn(&Path) -> bool,
}

#[derive(Clone, Copy)]
struct Reading {
    /// `None`: it must be read again.
    stamp: Option<Stamp>,
    digest: [u8; 32],
}

/// What inotify said of the folder's files.
#[derive(Default)]
struct Changes {
    /// Files that somebody is writing.
    being_written: BTreeSet<OsString>,
    /// Files that were removed since the folder was last listed.
    removed: BTreeSet<OsString>,
}

impl FileSource {
    pub fn new(
        path: impl Into<PathBuf>,
        node_name: impl Into<String>,
        clock: Arc<dyn Clock>,
        last_good: LastGood,
        told: Told,
    ) -> FileSource {
        // Components drop trailing slashes, which upstream trims: the path is part of the uid.
        let path: PathBuf = path.into().components().collect();
        let mut source = FileSource {
            path,
            node_name: node_name.into(),
            clock,
            last_good,
            told,
            manifests: Manifests::default(),
            files: BTreeMap::new(),
            pending: BTreeMap::new(),
            kept: BTreeSet::new(),
            changes: Changes::default(),
            is_mount: listing::is_mount,
        };
        source.remember();
        source
    }

    /// What counted when an earlier agent ended.
    fn remember(&mut self) {
        for (path, text) in self.last_good.load() {
            // Whatever does not count any more is removed with the first look.
            self.kept.insert(path.clone());
            let file = PathBuf::from(&path);
            if file != self.path && file.parent() != Some(&self.path) {
                continue;
            }
            match self.parse(&path, &text) {
                Ok(manifest) => {
                    self.manifests.remember(&path, manifest);
                    let reading = Reading { stamp: None, digest: Sha256::digest(&text).into() };
                    self.files.insert(file, reading);
                }
                // What an older version took for good may be refused by this one.
                Err(error) => tracing::warn!(path, %error, "last good manifest is good no more"),
            }
        }
    }

    /// Until the shutdown; sends the complete set whenever it changed, the first one at once.
    pub async fn run(mut self, sets: mpsc::Sender<SourceSet>, shutdown: Shutdown) {
        let mut sent: Option<Vec<Pod>> = None;
        loop {
            // The watch stands before the first look, so that nothing falls between.
            let events = self.watch();
            if let Err(error) = &events {
                tracing::debug!(path = %self.path.display(), %error, "manifests cannot be watched now");
            }
            let absent = events.is_err();
            let mut events = events.ok();
            let folder = self.watched_folder();
            loop {
                let pods = self.read_all();
                if sent.as_ref() != Some(&pods) {
                    sent = Some(pods.clone());
                    if sets.send(SourceSet { kind: SourceKind::File, pods, heard: true }).await.is_err() {
                        return;
                    }
                }
                let pause = if absent {
                    Duration::from_millis(ABSENT_RETRY_MS)
                } else {
                    Duration::from_secs(RELIST_SECONDS)
                };
                let again = tokio::select! {
                    // Events are state that the kernel keeps, the rest a timer and a flag: nothing is lost.
                    () = shutdown.cancelled() => return,
                    again = next_change(&mut events, &mut self.changes, &folder) => again,
                    () = self.clock.sleep(pause) => {
                        // Whoever has kept a file open for so long is not about to finish it.
                        self.changes.being_written.clear();
                        // A mount that came hides the folder that is watched.
                        !absent && !self.manifests_are_lost()
                    }
                };
                if !again {
                    break;
                }
            }
        }
    }

    fn watch(&self) -> io::Result<EventStream<Vec<u8>>> {
        let inotify = Inotify::init()?;
        let mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::ATTRIB
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF;
        inotify.watches().add(self.watched_folder(), mask)?;
        if !self.path.exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        inotify.into_event_stream(vec![0; EVENT_BUFFER_BYTES])
    }

    fn watched_folder(&self) -> PathBuf {
        if self.path.is_dir() {
            return self.path.clone();
        }
        self.path.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
    }

    /// The complete set now. Files that did not change are not read again.
    pub fn read_all(&mut self) -> Vec<Pod> {
        let listing = listing::list(&self.path, |path| self.files.contains_key(path));
        let trouble = match listing {
            Listing::Files { files, .. } if files.is_empty() && self.mount_is_gone() => Some(format!(
                "the mount that was at {} is gone; mount it again, or let its Pods go by putting a file there",
                self.watched_folder().display()
            )),
            Listing::Files { files, over } => {
                self.take_files(&files);
                (over > 0).then(|| format!("more than {MANIFESTS_MAX} files: {over} of them are not read"))
            }
            Listing::Missing => self.take_missing(),
            Listing::Unreadable(error) => Some(format!("cannot be read: {error}")),
        };
        let settled = self.manifests.settle();
        for path in &settled.accepted {
            if let Some(text) = self.pending.remove(path) {
                self.last_good.keep(path, &text);
            }
        }
        if self.kept != settled.kept {
            self.last_good.retain(&settled.kept);
            self.kept.clone_from(&settled.kept);
        }
        let place = self.path.display().to_string();
        let trouble = trouble.map(|message| FaultLine {
            about: place.clone(),
            message,
            keeps: settled.pods.iter().map(|(_, pod)| crate::spec::PodId::of(pod).to_string()).collect(),
        });
        let page = Page::of(&place, &settled, trouble.into_iter().collect());
        self.told.objects.set(SourceKind::File, settled.objects);
        self.told.ledger.write(Writer::Source(SourceKind::File), page);
        let mut pods: Vec<Pod> = settled.pods.into_iter().map(|(_, pod)| pod).collect();
        let key = |pod: &Pod| (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        pods.sort_by_key(key);
        pods
    }

    fn take_files(&mut self, files: &BTreeMap<PathBuf, Stamp>) {
        self.changes.removed.clear();
        self.last_good.set_was_mount((self.is_mount)(&self.watched_folder()));
        let listed: BTreeSet<String> = files.keys().map(|path| path.display().to_string()).collect();
        self.manifests.retain(|path| listed.contains(path));
        self.files.retain(|path, _| files.contains_key(path));
        self.pending.retain(|path, _| listed.contains(path));
        for (path, stamp) in files {
            self.read_one(path, *stamp);
        }
    }

    /// The path is not there. `Some`: its Pods go on, and this is what to say.
    fn take_missing(&mut self) -> Option<String> {
        let itself = self.path.display().to_string();
        let is_single_file = self.manifests.paths().any(|path| path == itself);
        let parent_is_there = self.path.parent().is_some_and(Path::is_dir);
        let removed = std::mem::take(&mut self.changes.removed);
        let was_removed = |path: &Path| {
            let named = path.file_name().is_some_and(|name| removed.contains(name));
            if is_single_file { parent_is_there && !self.mount_is_gone() } else { named }
        };
        let gone: BTreeSet<String> =
            self.manifests.paths().filter(|path| was_removed(Path::new(path))).map(str::to_owned).collect();
        self.manifests.retain(|path| !gone.contains(path));
        self.files.retain(|path, _| !gone.contains(&path.display().to_string()));
        let lost = self.manifests.paths().any(|path| !gone.contains(path));
        lost.then(|| "it is gone; remove files one by one to end their Pods".to_owned())
    }

    /// Something was mounted on the folder when it was last read, and is not any more.
    fn mount_is_gone(&self) -> bool {
        self.last_good.was_mount() && !(self.is_mount)(&self.watched_folder())
    }

    fn manifests_are_lost(&self) -> bool {
        self.last_good.was_mount() != (self.is_mount)(&self.watched_folder())
    }

    fn read_one(&mut self, path: &Path, stamp: Stamp) {
        let name = path.file_name().unwrap_or_default();
        let known = self.files.get(path).copied();
        let unchanged = known.is_some_and(|reading| reading.stamp == Some(stamp));
        if unchanged || self.changes.being_written.contains(name) {
            return;
        }
        let shown = path.display().to_string();
        let content = match read_limited(path) {
            Ok(content) => content,
            Err(error) => {
                self.files.remove(path);
                return self.manifests.put(&shown, Err(format!("cannot be read: {error}")));
            }
        };
        let digest: [u8; 32] = Sha256::digest(&content).into();
        let stamp = Some(stamp).filter(|stamp| stamp.is_settled(self.clock.now().as_second()));
        self.files.insert(path.to_path_buf(), Reading { stamp, digest });
        if known.is_some_and(|reading| reading.digest == digest) {
            return;
        }
        let parsed = self.parse(&shown, &content).map_err(|error| error.to_string());
        match &parsed {
            Ok(_) => drop(self.pending.insert(shown.clone(), content)),
            Err(_) => drop(self.pending.remove(&shown)),
        }
        self.manifests.put(&shown, parsed);
    }

    fn parse(&self, path: &str, content: &[u8]) -> Result<Manifest, ManifestError> {
        let origin =
            Origin { kind: SourceKind::File, node_name: &self.node_name, path, seen_at: self.clock.now() };
        manifest::read(content, origin)
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut content = Vec::new();
    // One byte more than allowed, so that the parser sees that it is too much.
    std::fs::File::open(path)?.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut content)?;
    Ok(content)
}

fn is_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink() || file.nlink() > 1)
}

/// Waits for a change worth a look. `false`: the watch is of no use any more.
async fn next_change(
    events: &mut Option<EventStream<Vec<u8>>>,
    changes: &mut Changes,
    folder: &Path,
) -> bool {
    let Some(events) = events else { return std::future::pending().await };
    loop {
        let Some(Ok(event)) = events.next().await else { return false };
        if event.mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            return false;
        }
        let Some(name) = event.name else { continue };
        if name.to_str().is_none_or(is_left_alone) {
            continue;
        }
        if event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
            changes.removed.insert(name.clone());
        } else {
            changes.removed.remove(&name);
        }
        if event.mask.contains(EventMask::MODIFY) {
            changes.being_written.insert(name);
        } else if event.mask.contains(EventMask::CREATE) && !is_link(&folder.join(&name)) {
            // A link is complete at once, a new file is not before its writer has closed it.
            changes.being_written.insert(name);
        } else {
            changes.being_written.remove(&name);
            return true;
        }
    }
}

#[cfg(test)]
mod tests {
    use process::SystemClock;
    use tempfile::TempDir;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn manifest(name: &str, image: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: c, image: {image}}}\n"
        )
    }

    fn source(path: &Path) -> FileSource {
        let last_good = LastGood::in_folder(path.with_extension("last-good"));
        let told = Told { ledger: Arc::default(), objects: Arc::default() };
        FileSource::new(path, "n1", SystemClock::shared(), last_good, told)
    }

    fn faults(source: &FileSource) -> Vec<String> {
        source.told.ledger.faults().iter().map(FaultLine::text).collect()
    }

    fn names(pods: &[Pod]) -> Vec<&str> {
        pods.iter().map(|pod| pod.metadata.name.as_deref().unwrap()).collect()
    }

    struct Running {
        sets: mpsc::Receiver<SourceSet>,
        shutdown: Shutdown,
    }

    impl Running {
        fn start(path: &Path) -> Running {
            let (sender, sets) = mpsc::channel(16);
            let shutdown = Shutdown::new();
            tokio::spawn(source(path).run(sender, shutdown.clone()));
            Running { sets, shutdown }
        }

        async fn next(&mut self) -> Vec<Pod> {
            tokio::time::timeout(DEADLINE, self.sets.recv()).await.expect("a set in time").unwrap().pods
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.shutdown.trigger();
        }
    }

    fn write_by_rename(folder: &TempDir, name: &str, text: &str) {
        let hidden = folder.path().join(format!(".{name}"));
        std::fs::write(&hidden, text).unwrap();
        std::fs::rename(hidden, folder.path().join(name)).unwrap();
    }

    #[test]
    fn hidden_files_backups_and_folders_are_no_manifests_and_extensions_do_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".hidden.yaml"), manifest("hidden", "b")).unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("below/x.yaml"), manifest("below", "b")).unwrap();
        std::fs::write(folder.path().join("plain.conf"), manifest("plain", "b")).unwrap();
        std::fs::write(folder.path().join("plain.bak"), manifest("plain", "old")).unwrap();
        assert_eq!(names(&source(folder.path()).read_all()), ["plain-n1"]);
    }

    #[test]
    fn broken_file_keeps_its_last_good_pod_and_disturbs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), manifest("a", "one")).unwrap();
        std::fs::write(folder.path().join("b.yaml"), manifest("b", "one")).unwrap();
        let mut source = source(folder.path());
        let before = source.read_all();
        std::fs::write(folder.path().join("a.yaml"), "kind: [broken").unwrap();
        std::fs::write(folder.path().join("c.yaml"), "kind: [never good").unwrap();
        assert_eq!(source.read_all(), before);
        assert_eq!(faults(&source).len(), 2);
        std::fs::write(folder.path().join("a.yaml"), manifest("a", "two")).unwrap();
        let after = source.read_all();
        assert_eq!(after[0].spec.as_ref().unwrap().containers[0].image.as_deref(), Some("two"));
        std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
        assert_eq!(names(&source.read_all()), ["b-n1"]);
    }

    #[test]
    fn broken_file_keeps_its_last_good_pod_over_a_restart_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        let file = manifests.join("a.yaml");
        std::fs::write(&file, manifest("a", "one")).unwrap();
        let before = source(&manifests).read_all();
        std::fs::write(&file, "kind: [broken").unwrap();
        let mut second = source(&manifests);
        let after = second.read_all();
        assert_eq!(names(&after), ["a-n1"]);
        assert_eq!(after[0].metadata.uid, before[0].metadata.uid);
        assert_eq!(faults(&second).len(), 1);
        std::fs::remove_file(&file).unwrap();
        assert!(second.read_all().is_empty());
        std::fs::write(&file, "kind: [broken").unwrap();
        assert!(source(&manifests).read_all().is_empty(), "what was removed does not come back");
    }

    #[test]
    fn manifest_removed_while_no_agent_runs_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        std::fs::write(manifests.join("a.yaml"), manifest("a", "one")).unwrap();
        source(&manifests).read_all();
        std::fs::remove_file(manifests.join("a.yaml")).unwrap();
        assert!(source(&manifests).read_all().is_empty());
        let kept = std::fs::read_dir(manifests.with_extension("last-good")).unwrap();
        assert_eq!(kept.count(), 0);
    }

    #[test]
    fn a_folder_that_is_lost_ends_nothing_and_a_file_that_was_removed_before_does() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        std::fs::write(manifests.join("a.yaml"), manifest("a", "one")).unwrap();
        std::fs::write(manifests.join("b.yaml"), manifest("b", "one")).unwrap();
        let mut first = source(&manifests);
        first.read_all();
        std::fs::rename(&manifests, folder.path().join("away")).unwrap();
        assert_eq!(names(&first.read_all()), ["a-n1", "b-n1"]);
        assert_eq!(
            faults(&first),
            [format!(
                "{}: it is gone; remove files one by one to end their Pods; default/a-n1 and 1 more keep running as they were",
                manifests.display()
            )]
        );
        // What inotify has told is believed: somebody has removed this one, and then the folder.
        first.changes.removed.insert("a.yaml".into());
        assert_eq!(names(&first.read_all()), ["b-n1"]);
        // An agent that starts then knows what ran as well.
        assert_eq!(names(&source(&manifests).read_all()), ["b-n1"]);
        std::fs::create_dir(&manifests).unwrap();
        assert!(first.read_all().is_empty(), "a folder that is there and empty has no Pods");
        assert_eq!(faults(&first), Vec::<String>::new());
    }

    #[test]
    fn an_empty_folder_where_a_mount_was_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        std::fs::write(manifests.join("a.yaml"), manifest("a", "one")).unwrap();
        let mut mounted = source(&manifests);
        mounted.is_mount = |_| true;
        mounted.read_all();
        std::fs::remove_file(manifests.join("a.yaml")).unwrap();
        let mut next = source(&manifests);
        next.is_mount = |_| false;
        assert_eq!(names(&next.read_all()), ["a-n1"], "also when the agent starts before the mount is there");
        assert!(faults(&next)[0].contains("the mount that was at"), "{:?}", faults(&next));
        next.is_mount = |_| true;
        assert!(next.read_all().is_empty(), "the mount is back, without the file");
    }

    #[test]
    fn a_folder_that_cannot_be_listed_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        std::fs::create_dir(&manifests).unwrap();
        std::fs::write(manifests.join("a.yaml"), manifest("a", "one")).unwrap();
        let mut source = source(&manifests);
        source.read_all();
        std::fs::rename(&manifests, folder.path().join("away")).unwrap();
        // A link to itself: an error that is not "no such file", for root too.
        std::os::unix::fs::symlink(&manifests, &manifests).unwrap();
        assert_eq!(names(&source.read_all()), ["a-n1"]);
        assert!(faults(&source)[0].contains("cannot be read"), "{:?}", faults(&source));
    }

    #[test]
    fn config_maps_in_the_folder_are_there_for_its_pods() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "{}  volumes:\n  - {{name: v, configMap: {{name: m}}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{k: v}}\n",
            manifest("a", "one")
        );
        std::fs::write(folder.path().join("a.yaml"), text).unwrap();
        let mut source = source(folder.path());
        assert_eq!(names(&source.read_all()), ["a-n1"]);
        let map = source.told.objects.config_map("default", "m").unwrap();
        assert_eq!(map.data.unwrap()["k"], "v");
    }

    #[tokio::test]
    async fn files_that_come_change_and_go_are_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut running = Running::start(folder.path());
        assert!(running.next().await.is_empty());
        write_by_rename(&folder, "a.yaml", &manifest("a", "one"));
        let first = running.next().await;
        assert_eq!(names(&first), ["a-n1"]);
        std::fs::write(folder.path().join("a.yaml"), manifest("a", "two")).unwrap();
        let second = running.next().await;
        assert_ne!(first[0].metadata.uid, second[0].metadata.uid);
        std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
        assert!(running.next().await.is_empty());
    }

    #[tokio::test]
    async fn single_file_is_watched_like_a_folder_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("only.yaml");
        std::fs::write(&path, manifest("only", "one")).unwrap();
        let mut running = Running::start(&path);
        assert_eq!(names(&running.next().await), ["only-n1"]);
        write_by_rename(&folder, "only.yaml", &manifest("renamed", "one"));
        assert_eq!(names(&running.next().await), ["renamed-n1"]);
    }

    #[tokio::test]
    async fn folder_that_appears_later_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later");
        let mut running = Running::start(&path);
        assert!(running.next().await.is_empty());
        let hidden = folder.path().join("prepared");
        std::fs::create_dir(&hidden).unwrap();
        std::fs::write(hidden.join("a.yaml"), manifest("a", "one")).unwrap();
        std::fs::rename(&hidden, &path).unwrap();
        assert_eq!(names(&running.next().await), ["a-n1"]);
    }
}
