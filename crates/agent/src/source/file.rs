//! The manifest folder, or a single manifest file.
//!
//! Watched with inotify and read again every [`RELIST_SECONDS`]. A file that is being written is left alone until
//! its writer closes it.
//!
//! DIFFERS(static-pod-broken-file): upstream's folder mode ends a Pod whose file no longer parses, at the next relist.
//! Here the last good Pod of that file keeps running, over restarts of the agent too, and the fault is reported until
//! the file is mended or removed.
//! A path that does not exist means no Pods, as upstream.

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
use tokio::sync::mpsc;

use super::last_good::LastGood;
use super::manifest::{MANIFEST_BYTES_MAX, ManifestError, Origin, static_pod};
use super::{SourceKind, SourceSet};

/// Upstream's fileCheckFrequency: the safety net behind inotify.
pub const RELIST_SECONDS: u64 = 20;
/// How soon a path that does not exist is looked for again.
const ABSENT_RETRY_MS: u64 = 1_000;
/// Bytes for one read of events: some sixty with long names.
const EVENT_BUFFER_BYTES: usize = 16 << 10;

/// Reads the manifests of one path.
pub struct FileSource {
    path: PathBuf,
    node_name: String,
    clock: Arc<dyn Clock>,
    last_good: LastGood,
    /// What each file held when it was last good, and what is wrong with it now.
    files: BTreeMap<PathBuf, Manifest>,
    /// The files of the last list.
    listed: Option<BTreeSet<PathBuf>>,
    /// Files that somebody is writing.
    being_written: BTreeSet<OsString>,
}

#[derive(Default)]
struct Manifest {
    content: Vec<u8>,
    pod: Option<Pod>,
    fault: Option<String>,
}

impl FileSource {
    pub fn new(
        path: impl Into<PathBuf>,
        node_name: impl Into<String>,
        clock: Arc<dyn Clock>,
        last_good: LastGood,
    ) -> FileSource {
        // Components drop trailing slashes, which upstream trims: the path is part of the uid.
        let path: PathBuf = path.into().components().collect();
        FileSource {
            path,
            node_name: node_name.into(),
            clock,
            last_good,
            files: BTreeMap::new(),
            listed: None,
            being_written: BTreeSet::new(),
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
                    if sets.send(SourceSet { kind: SourceKind::File, pods }).await.is_err() {
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
                    again = next_change(&mut events, &mut self.being_written, &folder) => again,
                    () = self.clock.sleep(pause) => {
                        // Whoever has kept a file open for so long is not about to finish it.
                        self.being_written.clear();
                        !absent
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

    /// The complete set now. Files that did not change are not parsed again.
    pub fn read_all(&mut self) -> Vec<Pod> {
        let mut found = BTreeSet::new();
        match self.list() {
            Ok(paths) => {
                for path in paths {
                    self.read_one(&path);
                    found.insert(path);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !self.files.is_empty() {
                    tracing::error!(path = %self.path.display(), "manifest path is gone: its Pods end");
                }
            }
            Err(error) => {
                // Unreadable is not empty: keep what is known.
                tracing::error!(path = %self.path.display(), %error, "manifests cannot be listed");
                return self.pods();
            }
        }
        self.files.retain(|path, _| found.contains(path));
        if self.listed.as_ref() != Some(&found) {
            self.last_good.retain(&found);
            self.listed = Some(found);
        }
        self.pods()
    }

    /// What is wrong with which file.
    pub fn faults(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.files.iter().filter_map(|(path, file)| Some((path.as_path(), file.fault.as_deref()?)))
    }

    fn pods(&self) -> Vec<Pod> {
        // COMPAT(kubelet): of two files that name the same Pod, the later one in sorted order wins.
        let mut by_name = BTreeMap::new();
        for pod in self.files.values().filter_map(|file| file.pod.as_ref()) {
            by_name.insert((pod.metadata.namespace.clone(), pod.metadata.name.clone()), pod.clone());
        }
        by_name.into_values().collect()
    }

    fn list(&self) -> io::Result<Vec<PathBuf>> {
        if !std::fs::metadata(&self.path)?.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            // Follows symbolic links; a dangling one is as good as absent.
            let is_file = std::fs::metadata(&path).is_ok_and(|file| file.is_file());
            if !hidden && is_file {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn read_one(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default();
        if self.being_written.contains(name) {
            // Not to be listed as gone: an entry without a Pod is nothing.
            self.files.entry(path.to_path_buf()).or_default();
            return;
        }
        let content = match read_limited(path) {
            Ok(content) => content,
            Err(error) => return self.take_broken(path, format!("cannot be read: {error}")),
        };
        let file = self.files.entry(path.to_path_buf()).or_default();
        if content == file.content && (file.pod.is_some() || file.fault.is_some()) {
            return;
        }
        file.content.clone_from(&content);
        match self.parse(path, &content) {
            Ok(mut pod) => {
                let file = self.files.entry(path.to_path_buf()).or_default();
                keep_first_seen(&mut pod, file.pod.as_ref());
                file.fault = None;
                file.pod = Some(pod);
                self.last_good.keep(path, &content);
            }
            Err(error) => self.take_broken(path, error.to_string()),
        }
    }

    fn parse(&self, path: &Path, content: &[u8]) -> Result<Pod, ManifestError> {
        let shown = path.display().to_string();
        let origin = Origin { node_name: &self.node_name, path: &shown, seen_at: self.clock.now() };
        static_pod(content, origin)
    }

    /// Keeps the last good Pod, or that of an earlier start when this one saw none.
    fn take_broken(&mut self, path: &Path, fault: String) {
        let known = self.files.get(path);
        let earlier = match known {
            Some(file) if file.pod.is_some() || file.fault.is_some() => None,
            // Texts that an older version took for good may be refused by this one.
            Some(_) | None => self.last_good.get(path).and_then(|text| self.parse(path, &text).ok()),
        };
        let file = self.files.entry(path.to_path_buf()).or_default();
        file.pod = file.pod.take().or(earlier);
        report(path, file, fault);
    }
}

/// Says it once per fault.
fn report(path: &Path, file: &mut Manifest, fault: String) {
    if file.fault.as_ref() == Some(&fault) {
        return;
    }
    let consequence = match &file.pod {
        Some(_) => "its last good Pod keeps running",
        None => "nothing is started from it",
    };
    tracing::error!(file = %path.display(), %fault, "static Pod manifest is refused; {consequence}");
    file.fault = Some(fault);
}

/// The same Pod was seen first when it was seen first.
fn keep_first_seen(pod: &mut Pod, before: Option<&Pod>) {
    const SEEN: &str = api::well_known::pod_annotation::CONFIG_SEEN;
    let Some(before) = before.filter(|before| before.metadata.uid == pod.metadata.uid) else { return };
    let seen = before.metadata.annotations.as_ref().and_then(|annotations| annotations.get(SEEN)).cloned();
    if let (Some(seen), Some(annotations)) = (seen, pod.metadata.annotations.as_mut()) {
        annotations.insert(SEEN.to_owned(), seen);
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
    being_written: &mut BTreeSet<OsString>,
    folder: &Path,
) -> bool {
    let Some(events) = events else { return std::future::pending().await };
    loop {
        let Some(Ok(event)) = events.next().await else { return false };
        if event.mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            return false;
        }
        let Some(name) = event.name else { continue };
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if event.mask.contains(EventMask::MODIFY) {
            being_written.insert(name);
        } else if event.mask.contains(EventMask::CREATE) && !is_link(&folder.join(&name)) {
            // A link is complete at once, a new file is not before its writer has closed it.
            being_written.insert(name);
        } else {
            being_written.remove(&name);
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
        FileSource::new(path, "n1", SystemClock::shared(), last_good)
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
    fn hidden_files_and_folders_are_no_manifests_and_extensions_do_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".hidden.yaml"), manifest("hidden", "b")).unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("below/x.yaml"), manifest("below", "b")).unwrap();
        std::fs::write(folder.path().join("plain.bak"), manifest("plain", "b")).unwrap();
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
        assert_eq!(source.faults().count(), 2);
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
        assert_eq!(second.faults().count(), 1);
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
    fn of_two_files_with_one_pod_the_later_wins() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("1.yaml"), manifest("same", "one")).unwrap();
        std::fs::write(folder.path().join("2.yaml"), manifest("same", "two")).unwrap();
        let pods = source(folder.path()).read_all();
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0].spec.as_ref().unwrap().containers[0].image.as_deref(), Some("two"));
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
