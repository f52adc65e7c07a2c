//! Which of all manifests count: what each file holds now, or what it held when it was last good.
//!
//! Files (or a URL's body) come one by one; [`Manifests::settle`] then chooses. A manifest counts as a whole. It is
//! refused, and its last good content stays, while it cannot be read, while another manifest has one of its names
//! already, or while one of its Pods refers to a ConfigMap or Secret that no manifest holds. Of two files that want one
//! name the one that has it keeps it, else the first by path.
//! DIFFERS(static-same-name): upstream lets the later file win and restarts the Pod with each change of either.
//! An object whose file is gone stays as long as a Pod uses it: its container could not be restarted otherwise.
//! Pure: no file is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::local_objects::Objects;
use super::manifest::{Manifest, ObjectName, references};

/// All manifests of one source, by path.
#[derive(Debug, Default)]
pub struct Manifests {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// What counts until something better comes.
    accepted: Option<Arc<Manifest>>,
    latest: Latest,
}

/// What the file holds now.
#[derive(Debug)]
enum Latest {
    /// What was accepted, or nobody has looked yet.
    Accepted,
    Good(Arc<Manifest>),
    Bad(String),
    Gone,
}

/// What is wrong with one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    pub message: String,
    /// Full names of the Pods that go on in spite of it.
    pub keeps: Vec<String>,
}

/// What counts.
#[derive(Debug, Default)]
pub struct Settled {
    /// Each with the path that it is from.
    pub pods: Vec<(String, Pod)>,
    pub objects: Objects,
    pub faults: Vec<Fault>,
    /// Paths whose content of now is accepted.
    pub accepted: BTreeSet<String>,
    /// Every path that something is kept of.
    pub kept: BTreeSet<String>,
}

impl Manifests {
    /// What was accepted by an earlier start of the agent.
    pub fn remember(&mut self, path: &str, manifest: Manifest) {
        let entry = Entry { accepted: Some(Arc::new(manifest)), latest: Latest::Accepted };
        self.entries.insert(path.to_owned(), entry);
    }

    /// What the file holds now, or what is wrong with it.
    pub fn put(&mut self, path: &str, content: Result<Manifest, String>) {
        let entry =
            self.entries.entry(path.to_owned()).or_insert(Entry { accepted: None, latest: Latest::Accepted });
        entry.latest = match content {
            Ok(manifest) => Latest::Good(Arc::new(manifest)),
            Err(fault) => Latest::Bad(fault),
        };
    }

    /// Forgets all files but these.
    pub fn retain(&mut self, listed: impl Fn(&str) -> bool) {
        for (path, entry) in &mut self.entries {
            if !listed(path) {
                entry.latest = Latest::Gone;
            } else if matches!(entry.latest, Latest::Gone) {
                // It is back; whoever reads it says what it holds.
                entry.latest = Latest::Accepted;
            }
        }
    }

    /// How many Pods count now.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether anything counts.
    pub fn is_empty(&self) -> bool {
        self.entries.values().all(|entry| entry.accepted.is_none())
    }

    /// Chooses.
    pub fn settle(&mut self) -> Settled {
        let refused = self.refusals();
        let mut settled = Settled::default();
        for (path, entry) in &mut self.entries {
            if let Latest::Good(manifest) = &entry.latest
                && !refused.contains_key(path)
            {
                keep_first_seen(Arc::clone(manifest), entry.accepted.take(), &mut entry.accepted);
                entry.latest = Latest::Accepted;
                settled.accepted.insert(path.clone());
            }
        }
        let used = self.used_objects();
        self.entries.retain(|_, entry| {
            let in_use = |entry: &Entry| {
                entry
                    .accepted
                    .iter()
                    .flat_map(|manifest| objects_of(manifest))
                    .any(|name| used.contains(&name))
            };
            !matches!(entry.latest, Latest::Gone) || in_use(entry)
        });
        let mut taken = BTreeSet::new();
        for (path, entry) in &self.entries {
            let gone = matches!(entry.latest, Latest::Gone);
            let Some(manifest) = &entry.accepted else { continue };
            settled.kept.insert(path.clone());
            settled.objects.add(manifest);
            for pod in manifest.pods.iter().filter(|_| !gone) {
                // Two accepted ones of a name can only come from a crash between two writes.
                if taken.insert((pod.metadata.namespace.clone(), pod.metadata.name.clone())) {
                    settled.pods.push((path.clone(), pod.clone()));
                }
            }
        }
        settled.faults = self.faults(&refused, &used);
        settled
    }

    /// What counts of each path if these are refused.
    fn contents<'a>(
        &'a self,
        refused: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'a String, &'a Entry, &'a Arc<Manifest>, bool)> {
        let refused: BTreeSet<String> = refused.keys().cloned().collect();
        self.entries.iter().filter_map(move |(path, entry)| match &entry.latest {
            Latest::Good(manifest) if !refused.contains(path) => Some((path, entry, manifest, true)),
            Latest::Good(_) | Latest::Bad(_) | Latest::Accepted => {
                Some((path, entry, entry.accepted.as_ref()?, false))
            }
            Latest::Gone => None,
        })
    }

    /// Good contents that cannot count, each with the reason. Whoever is refused falls back on what it was, which
    /// may stand in the way of others: so it is asked again until nothing changes.
    fn refusals(&self) -> BTreeMap<String, String> {
        let mut refused = BTreeMap::new();
        loop {
            let mut more = self.conflicts(&refused);
            if more.is_empty() {
                more = self.unmet_references(&refused);
            }
            if more.is_empty() {
                return refused;
            }
            refused.extend(more);
        }
    }

    fn conflicts(&self, refused: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut owners: BTreeMap<ObjectName, (bool, &String)> = BTreeMap::new();
        for (path, entry, manifest, _) in self.contents(refused) {
            for name in manifest.names() {
                let had = entry.accepted.as_ref().is_some_and(|before| before.names().any(|n| n == name));
                let better = owners.get(&name).is_none_or(|(other_had, _)| had && !other_had);
                if better {
                    owners.insert(name, (had, path));
                }
            }
        }
        let mut more = BTreeMap::new();
        for (path, _, manifest, is_new) in self.contents(refused) {
            let lost =
                manifest.names().find(|name| owners.get(name).is_some_and(|(_, owner)| *owner != path));
            if let Some(name) = lost.filter(|_| is_new) {
                let (_, owner) = owners[&name];
                more.insert(path.clone(), format!("{name} is already defined by {owner}"));
            }
        }
        more
    }

    fn unmet_references(&self, refused: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut there: BTreeSet<ObjectName> = BTreeSet::new();
        for (_, _, manifest, _) in self.contents(refused) {
            there.extend(objects_of(manifest));
        }
        let mut more = BTreeMap::new();
        for (path, _, manifest, is_new) in self.contents(refused) {
            if !is_new {
                continue;
            }
            let wanted = manifest.pods.iter().flat_map(references::of);
            let missing = wanted.into_iter().find(|one| !one.optional && !there.contains(&one.object));
            if let Some(one) = missing {
                more.insert(
                    path.clone(),
                    format!(
                        "{}: a static Pod cannot refer to API objects, and no manifest here holds {}; put it beside \
                         the Pod's manifest, use a DaemonSet, or mount the data with hostPath",
                        one.field, one.object
                    ),
                );
            }
        }
        more
    }

    /// ConfigMaps and Secrets that accepted Pods of files that are there refer to.
    fn used_objects(&self) -> BTreeSet<ObjectName> {
        let there = self.entries.values().filter(|entry| !matches!(entry.latest, Latest::Gone));
        let pods = there.filter_map(|entry| entry.accepted.as_ref()).flat_map(|manifest| &manifest.pods);
        pods.flat_map(references::of).map(|one| one.object).collect()
    }

    fn faults(&self, refused: &BTreeMap<String, String>, used: &BTreeSet<ObjectName>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (path, entry) in &self.entries {
            let message = match &entry.latest {
                Latest::Accepted => continue,
                Latest::Good(_) => refused.get(path).cloned().unwrap_or_default(),
                Latest::Bad(message) => message.clone(),
                Latest::Gone => {
                    let name = entry.accepted.iter().flat_map(|manifest| objects_of(manifest));
                    let name = name.into_iter().find(|name| used.contains(name));
                    let Some(name) = name else { continue };
                    format!("it is gone, but a Pod uses {name}, which stays as it was")
                }
            };
            let keeps = match entry.latest {
                Latest::Gone => Vec::new(),
                Latest::Accepted | Latest::Good(_) | Latest::Bad(_) => {
                    entry.accepted.iter().flat_map(|manifest| full_names(manifest)).collect()
                }
            };
            faults.push(Fault { path: path.clone(), message, keeps });
        }
        faults
    }
}

fn objects_of(manifest: &Manifest) -> Vec<ObjectName> {
    manifest.names().filter(|name| name.kind != "Pod").collect()
}

fn full_names(manifest: &Manifest) -> Vec<String> {
    manifest
        .names()
        .filter(|name| name.kind == "Pod")
        .map(|n| format!("{}/{}", n.namespace, n.name))
        .collect()
}

/// The same Pod was seen first when it was seen first.
fn keep_first_seen(new: Arc<Manifest>, before: Option<Arc<Manifest>>, into: &mut Option<Arc<Manifest>>) {
    const SEEN: &str = api::well_known::pod_annotation::CONFIG_SEEN;
    let Some(before) = before else {
        *into = Some(new);
        return;
    };
    let mut manifest = (*new).clone();
    for pod in &mut manifest.pods {
        let same = before.pods.iter().find(|other| other.metadata.uid == pod.metadata.uid);
        let seen = same.and_then(|other| other.metadata.annotations.as_ref()?.get(SEEN).cloned());
        if let (Some(seen), Some(annotations)) = (seen, pod.metadata.annotations.as_mut()) {
            annotations.insert(SEEN.to_owned(), seen);
        }
    }
    *into = Some(Arc::new(manifest));
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::SourceKind;
    use super::super::manifest::{Origin, read};
    use super::*;

    fn pod(name: &str, image: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - {{name: c, image: {image}}}\n"
        )
    }

    fn using(name: &str, map: &str) -> String {
        format!("{}  volumes:\n  - {{name: v, configMap: {{name: {map}}}}}\n", pod(name, "one"))
    }

    fn map(name: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: v}}\n")
    }

    #[derive(Default)]
    struct World(Manifests);

    impl World {
        fn put(&mut self, path: &str, text: &str) -> &mut World {
            let origin =
                Origin { kind: SourceKind::File, node_name: "n", path, seen_at: Timestamp::UNIX_EPOCH };
            self.0.put(path, read(text.as_bytes(), origin).map_err(|error| error.to_string()));
            self
        }

        fn remove(&mut self, gone: &str) -> &mut World {
            self.0.retain(|path| path != gone);
            self
        }

        /// `name:image@path` of every Pod, and the faults.
        fn settle(&mut self) -> (Vec<String>, Vec<String>) {
            let settled = self.0.settle();
            let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
            let name = |pod: &Pod| pod.metadata.name.clone().unwrap();
            let pods = settled.pods.iter().map(|(path, pod)| format!("{}:{}@{path}", name(pod), image(pod)));
            let faults = settled
                .faults
                .iter()
                .map(|fault| format!("{} {} [{}]", fault.path, fault.message, fault.keeps.join(" ")));
            (pods.collect(), faults.collect())
        }
    }

    #[test]
    fn of_two_files_with_one_pod_the_running_one_stays_and_the_other_is_reported() {
        let mut world = World::default();
        world.put("/b", &pod("web", "one"));
        assert_eq!(world.settle().0, ["web-n:one@/b"]);
        let (pods, faults) = world.put("/a", &pod("web", "two")).settle();
        assert_eq!(pods, ["web-n:one@/b"], "whoever runs stays, whatever the order of names");
        assert_eq!(faults, ["/a Pod default/web-n is already defined by /b []"]);
        assert_eq!(
            world.put("/b", &pod("web", "three")).settle().0,
            ["web-n:three@/b"],
            "its file is still obeyed"
        );
        let (pods, faults) = world.remove("/b").settle();
        assert_eq!((pods, faults), (vec!["web-n:two@/a".to_owned()], vec![]), "the other takes over at once");
    }

    #[test]
    fn of_two_new_files_with_one_pod_the_first_by_path_counts() {
        let mut world = World::default();
        let (pods, faults) = world.put("/2", &pod("web", "two")).put("/1", &pod("web", "one")).settle();
        assert_eq!(pods, ["web-n:one@/1"]);
        assert_eq!(faults.len(), 1);
    }

    #[test]
    fn two_files_may_change_their_pods_with_each_other() {
        let mut world = World::default();
        world.put("/1", &pod("a", "img-x")).put("/2", &pod("b", "img-y")).settle();
        let (pods, faults) = world.put("/1", &pod("b", "img-x")).put("/2", &pod("a", "img-y")).settle();
        assert_eq!(pods, ["b-n:img-x@/1", "a-n:img-y@/2"]);
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn whoever_is_refused_keeps_what_it_was_and_its_names() {
        let mut world = World::default();
        world.put("/1", &pod("a", "img-x")).put("/2", &pod("b", "img-y")).settle();
        // /1 wants b, which /2 has; so it stays a, and /3 cannot have a.
        let (pods, faults) = world.put("/1", &pod("b", "img-x")).put("/3", &pod("a", "img-z")).settle();
        assert_eq!(pods, ["a-n:img-x@/1", "b-n:img-y@/2"]);
        assert_eq!(
            faults,
            [
                "/1 Pod default/b-n is already defined by /2 [default/a-n]",
                "/3 Pod default/a-n is already defined by /1 []"
            ]
        );
    }

    #[test]
    fn a_broken_manifest_keeps_all_that_it_was() {
        let mut world = World::default();
        world.put("/a", &format!("{}---\n{}", pod("a", "one"), pod("b", "one"))).settle();
        let (pods, faults) = world.put("/a", &format!("{}---\nkind: Nonsense\n", pod("a", "two"))).settle();
        assert_eq!(pods, ["a-n:one@/a", "b-n:one@/a"]);
        assert!(faults[0].ends_with("[default/a-n default/b-n]"), "{faults:?}");
        assert_eq!(world.put("/a", &pod("a", "two")).settle().0, ["a-n:two@/a"]);
    }

    #[test]
    fn a_pod_is_refused_until_a_manifest_holds_what_it_refers_to() {
        let mut world = World::default();
        let (pods, faults) = world.put("/pod", &using("web", "m")).settle();
        assert_eq!(pods, Vec::<String>::new());
        assert!(
            faults[0].contains("spec.volumes[0].configMap: a static Pod cannot refer to API objects"),
            "{faults:?}"
        );
        assert!(faults[0].contains("no manifest here holds ConfigMap default/m"), "{faults:?}");
        let (pods, faults) = world.put("/map", &map("m")).settle();
        assert_eq!((pods.len(), faults.len()), (1, 0));
    }

    #[test]
    fn what_a_pod_uses_stays_when_its_file_goes_and_goes_with_the_pod() {
        let mut world = World::default();
        world.put("/map", &map("m")).put("/pod", &using("web", "m")).settle();
        let (pods, faults) = world.remove("/map").settle();
        assert_eq!(pods.len(), 1);
        assert_eq!(faults, ["/map it is gone, but a Pod uses ConfigMap default/m, which stays as it was []"]);
        world.0.retain(|_| false);
        let settled = world.0.settle();
        assert!(settled.pods.is_empty() && settled.faults.is_empty() && settled.kept.is_empty());
    }

    #[test]
    fn an_edit_that_names_what_nobody_holds_leaves_the_pod_as_it_was() {
        let mut world = World::default();
        world.put("/pod", &pod("web", "one")).settle();
        let (pods, faults) = world.put("/pod", &using("web", "m")).settle();
        assert_eq!((pods, faults.len()), (vec!["web-n:one@/pod".to_owned()], 1));
    }

    #[test]
    fn first_seen_is_kept_over_a_touch() {
        let mut world = World::default();
        world.put("/a", &pod("a", "one")).settle();
        let later = Origin {
            kind: SourceKind::File,
            node_name: "n",
            path: "/a",
            seen_at: Timestamp::from_second(9).unwrap(),
        };
        world.0.put("/a", Ok(read(format!("# more\n{}", pod("a", "one")).as_bytes(), later).unwrap()));
        let settled = world.0.settle();
        let seen = &settled.pods[0].1.metadata.annotations.as_ref().unwrap()["kubernetes.io/config.seen"];
        assert_eq!(seen, "1970-01-01T00:00:00Z");
    }
}
