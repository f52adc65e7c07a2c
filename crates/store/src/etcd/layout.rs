//! Where the store's keys lie in an etcd that may hold other programs' keys too.
//!
//! Under the prefix (`/everynode` unless said otherwise) there are
//! - `data` + key: an entry; its value is the entry's, its revisions are etcd's;
//! - `head`: written in the transaction of every write, so that its own revision is that of the store's newest
//!   change, however often others write to the same etcd;
//! - `compacted`: who compacts, and up to where (see `compaction`).

use bytes::{BufMut, Bytes, BytesMut};

use super::wire::KeyValue;
use crate::{Entry, Revision};

#[derive(Debug, Clone)]
pub struct Layout {
    data: String,
    pub head: Bytes,
    pub compacted: Bytes,
}

impl Layout {
    /// `prefix` begins with a slash and ends without one.
    pub fn new(prefix: &str) -> Layout {
        Layout {
            data: format!("{prefix}/data"),
            head: format!("{prefix}/head").into(),
            compacted: format!("{prefix}/compacted").into(),
        }
    }

    pub fn entry(&self, key: &str) -> Bytes {
        [self.data.as_bytes(), key.as_bytes()].concat().into()
    }

    /// The range of the keys that begin with `prefix`, strictly after `after`; nothing if there can be none.
    pub fn range(&self, prefix: &str, after: Option<&str>) -> Option<(Bytes, Bytes)> {
        let first = self.entry(prefix);
        let end = end_of(&first);
        let begin = match after {
            Some(after) if after >= prefix => just_after(&self.entry(after)),
            _ => first,
        };
        (begin < end).then_some((begin, end))
    }

    /// The entry of a stored row; nothing if the key is none of ours. The value is copied: the buffer that it came in
    /// holds others too, and would live as long as any of them.
    pub fn decode(&self, row: &KeyValue) -> Option<Entry> {
        Some(Entry {
            key: self.key(&row.key)?,
            value: Bytes::copy_from_slice(&row.value),
            created: revision(row.create_revision),
            modified: revision(row.mod_revision),
        })
    }

    pub fn key(&self, key: &[u8]) -> Option<String> {
        let key = key.strip_prefix(self.data.as_bytes())?;
        Some(std::str::from_utf8(key).ok()?.to_owned())
    }
}

/// etcd's revisions are signed and never negative.
pub fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or_default())
}

/// The first key after `key`.
pub fn just_after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// The first key after all that begin with `prefix`, which is not empty and, being text, has no byte 0xff.
fn end_of(prefix: &[u8]) -> Bytes {
    let mut end = BytesMut::from(prefix);
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(prefix: &str, after: Option<&str>) -> Option<(String, String)> {
        let text = |key: Bytes| String::from_utf8_lossy(&key).into_owned();
        Layout::new("/e").range(prefix, after).map(|(begin, end)| (text(begin), text(end)))
    }

    #[test]
    fn range_begins_after_the_mark_and_ends_with_the_prefix() {
        let some = |begin: &str, end: &str| Some((begin.to_owned(), end.to_owned()));
        assert_eq!(range("/pods/", None), some("/e/data/pods/", "/e/data/pods0"));
        assert_eq!(range("/pods/", Some("/pods/a")), some("/e/data/pods/a\0", "/e/data/pods0"));
        assert_eq!(range("/pods/", Some("/a")), some("/e/data/pods/", "/e/data/pods0"));
        assert_eq!(range("/pods/", Some("/z")), None);
        assert_eq!(range("", None), some("/e/data", "/e/datb"));
    }

    #[test]
    fn keys_of_others_are_not_entries() {
        let layout = Layout::new("/e");
        assert_eq!(layout.key(b"/e/data/a").as_deref(), Some("/a"));
        assert_eq!(layout.key(b"/e/head"), None);
        assert_eq!(layout.key(b"/e/data/\xff"), None);
    }
}
