//! The map behind a cache: entries, index rows and subscribers, changed together.
//!
//! Pure but for the wake-ups of subscribers: it knows no API, no time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::changes::{self, Changes, Inbox};
use crate::key::ObjectKey;

pub(super) type IndexFn<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

pub(super) struct State<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    indexes: Vec<Index<K>>,
    inboxes: Vec<std::sync::Weak<Inbox<K>>>,
}

struct Index<K> {
    name: &'static str,
    by: IndexFn<K>,
    rows: BTreeMap<String, BTreeSet<ObjectKey>>,
}

impl<K> State<K> {
    pub fn new(indexes: Vec<(&'static str, IndexFn<K>)>) -> State<K> {
        let indexes =
            indexes.into_iter().map(|(name, by)| Index { name, by, rows: BTreeMap::new() }).collect();
        State { objects: BTreeMap::new(), indexes, inboxes: Vec::new() }
    }

    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.objects.get(key).cloned()
    }

    pub fn list(&self) -> Vec<Arc<K>> {
        self.objects.values().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.objects
            .range(ObjectKey::namespaced(namespace, "")..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        let Some(index) = self.indexes.iter().find(|index| index.name == name) else { return Vec::new() };
        let keys = index.rows.get(value).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    pub fn index_values(&self, name: &str) -> Vec<String> {
        let index = self.indexes.iter().find(|index| index.name == name);
        index.map(|index| index.rows.keys().cloned().collect()).unwrap_or_default()
    }

    pub fn subscribe(&mut self) -> Changes<K> {
        let inbox = Arc::new(Inbox::new());
        for (key, object) in &self.objects {
            inbox.put(key, None, Some(Arc::clone(object)));
        }
        self.inboxes.push(Arc::downgrade(&inbox));
        changes::Changes::new(inbox)
    }

    /// Puts or removes one object, in the map, in every index and in every inbox.
    pub fn set(&mut self, key: ObjectKey, after: Option<Arc<K>>) {
        let before = match &after {
            Some(object) => self.objects.insert(key.clone(), Arc::clone(object)),
            None => self.objects.remove(&key),
        };
        if before.is_none() && after.is_none() {
            return;
        }
        for index in &mut self.indexes {
            index.refile(&key, before.as_deref(), after.as_deref());
        }
        self.inboxes.retain(|inbox| match inbox.upgrade() {
            Some(inbox) => {
                inbox.put(&key, before.clone(), after.clone());
                true
            }
            None => false,
        });
    }

    /// Makes the map equal to a complete list; `same` tells entries that need no notification.
    pub fn replace(&mut self, list: BTreeMap<ObjectKey, Arc<K>>, same: impl Fn(&K, &K) -> bool) {
        let gone: Vec<_> = self.objects.keys().filter(|key| !list.contains_key(*key)).cloned().collect();
        for key in gone {
            self.set(key, None);
        }
        for (key, object) in list {
            if self.objects.get(&key).is_none_or(|known| !same(known, &object)) {
                self.set(key, Some(object));
            }
        }
    }
}

impl<K> Index<K> {
    fn refile(&mut self, key: &ObjectKey, before: Option<&K>, after: Option<&K>) {
        let old: BTreeSet<String> = before.map(|object| (self.by)(object)).into_iter().flatten().collect();
        let new: BTreeSet<String> = after.map(|object| (self.by)(object)).into_iter().flatten().collect();
        for value in old.difference(&new) {
            if let Some(row) = self.rows.get_mut(value) {
                row.remove(key);
                if row.is_empty() {
                    self.rows.remove(value);
                }
            }
        }
        for value in new.difference(&old) {
            self.rows.entry(value.clone()).or_default().insert(key.clone());
        }
    }
}
