//! The head of a stored object: what is selected by, read where it lies.
//!
//! It stands before the JSON in the stored buffer and is never unpacked: an object in memory costs its buffer and a few
//! numbers, and looking at one that was just stored costs a walk over a few hundred bytes. Decides the layout, and that
//! bytes of any other layout are damaged.
//!
//! Layout, integers little-endian: the mark; lengths of head and managedFields, the place of the revision in the JSON, all
//! u32; seconds of its age's beginning, i64; 1 if being deleted, u8; then texts, each a u32 length and UTF-8: name, namespace, uid;
//! then three lists, each a u32 count: labels and fields (two texts an item), references (one).

use std::collections::BTreeMap;

use bytes::Bytes;

/// The first byte of a stored object. Another layout takes another.
const MARK: u8 = 1;
/// Mark, three numbers, seconds and flag.
const FIXED_BYTES: usize = 1 + 3 * 4 + 8 + 1;

/// What a head is written from.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub uid: &'a str,
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The kind's selectable fields beside metadata.name and metadata.namespace.
    pub fields: &'a BTreeMap<String, String>,
    /// Names of objects that this one needs, by kind: what a node's agent may read for a pod that it runs.
    pub references: &'a [String],
    /// From when on it is kept, in seconds since the epoch: its creation, or the last write of kinds that are kept for a
    /// time.
    pub since_seconds: i64,
    pub deleting: bool,
    /// Where the revision goes in the JSON.
    pub revision_at: usize,
    /// Length of `"managedFields":[…],`, which stands right before the revision's field.
    pub managed_bytes: usize,
}

/// A head in its buffer.
#[derive(Debug, Clone)]
pub struct Header {
    /// The texts and lists, known to be whole.
    texts: Bytes,
    pub since_seconds: i64,
    pub deleting: bool,
}

/// What the head says of the bytes after it.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    pub json_at: usize,
    pub revision_at: usize,
    pub managed_bytes: usize,
}

/// Appends the head; nothing if a number does not fit.
pub fn write(parts: &Parts<'_>, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    out.push(MARK);
    // The head's own length, known at the end.
    number(0, out)?;
    number(parts.managed_bytes, out)?;
    number(parts.revision_at, out)?;
    out.extend_from_slice(&parts.since_seconds.to_le_bytes());
    out.push(u8::from(parts.deleting));
    for one in [parts.name, parts.namespace, parts.uid] {
        text(one, out)?;
    }
    let none = BTreeMap::new();
    for pairs in [parts.labels.unwrap_or(&none), parts.fields] {
        number(pairs.len(), out)?;
        for (key, value) in pairs {
            text(key, out)?;
            text(value, out)?;
        }
    }
    number(parts.references.len(), out)?;
    for reference in parts.references {
        text(reference, out)?;
    }
    let length = u32::try_from(out.len() - start).ok()?;
    out.get_mut(start + 1..start + 5)?.copy_from_slice(&length.to_le_bytes());
    Some(())
}

fn number(number: usize, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u32::try_from(number).ok()?.to_le_bytes());
    Some(())
}

fn text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    number(text.len(), out)?;
    out.extend_from_slice(text.as_bytes());
    Some(())
}

impl Header {
    /// Reads the head of a stored object; nothing if it is none.
    pub fn read(stored: &Bytes) -> Option<(Header, Places)> {
        let mut fixed = Reader(stored.get(..FIXED_BYTES)?);
        if fixed.bytes(1)? != [MARK] {
            return None;
        }
        let (json_at, managed_bytes, revision_at) = (fixed.number()?, fixed.number()?, fixed.number()?);
        let since_seconds = i64::from_le_bytes(fixed.bytes(8)?.try_into().ok()?);
        let deleting = fixed.bytes(1)? == [1];
        if json_at < FIXED_BYTES || json_at > stored.len() {
            return None;
        }
        let header = Header { texts: stored.slice(FIXED_BYTES..json_at), since_seconds, deleting };
        header.is_whole().then_some((header, Places { json_at, revision_at, managed_bytes }))
    }

    fn is_whole(&self) -> bool {
        let mut reader = Reader(&self.texts);
        let mut walk = || {
            for _ in 0..3 {
                reader.text()?;
            }
            for texts_an_item in [2, 2, 1] {
                for _ in 0..reader.number()?.checked_mul(texts_an_item)? {
                    reader.text()?;
                }
            }
            reader.0.is_empty().then_some(())
        };
        walk().is_some()
    }

    /// After `skipped` of the first three texts.
    fn after(&self, skipped: usize) -> Reader<'_> {
        let mut reader = Reader(&self.texts);
        for _ in 0..skipped {
            reader.skip();
        }
        reader
    }

    pub fn name(&self) -> &str {
        self.after(0).text().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.after(1).text().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.after(2).text().unwrap_or_default()
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.after(3).pair(key)
    }

    /// A selectable field by its selector name.
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "metadata.name" => return Some(self.name()),
            "metadata.namespace" => return Some(self.namespace()),
            _ => {}
        }
        let mut reader = self.after(3);
        reader.skip_list(2);
        reader.pair(name)
    }

    /// Names of objects that this one needs, by kind.
    pub fn references(&self) -> impl Iterator<Item = &str> {
        let mut reader = self.after(3);
        reader.skip_list(2);
        reader.skip_list(2);
        let count = reader.number().unwrap_or(0);
        (0..count).map_while(move |_| reader.text())
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn number(&mut self) -> Option<usize> {
        let bytes: [u8; 4] = self.bytes(4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    }

    fn raw(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(length)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.raw()?).ok()
    }

    fn skip(&mut self) {
        let _ = self.raw();
    }

    fn skip_list(&mut self, texts_an_item: usize) {
        for _ in 0..self.number().unwrap_or(0) * texts_an_item {
            self.skip();
        }
    }

    /// The value under `key` in the list that begins here.
    fn pair(&mut self, key: &str) -> Option<&'a str> {
        for _ in 0..self.number()? {
            let found = self.raw()? == key.as_bytes();
            if found {
                return self.text();
            }
            self.skip();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn written(parts: &Parts<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        write(parts, &mut out).unwrap();
        out.extend_from_slice(b"{}");
        out
    }

    #[test]
    fn what_is_written_is_read_where_it_lies() {
        let (labels, fields) = (map(&[("app", "a"), ("zone", "ü")]), map(&[("spec.nodeName", "n1")]));
        let references = ["secret/s".to_owned(), "configmap/c".to_owned()];
        let parts = Parts {
            name: "pod",
            namespace: "ns",
            uid: "u",
            labels: Some(&labels),
            fields: &fields,
            references: &references,
            since_seconds: -5,
            deleting: true,
            revision_at: 7,
            managed_bytes: 9,
        };
        let stored = Bytes::from(written(&parts));
        let (header, places) = Header::read(&stored).unwrap();
        assert_eq!((header.name(), header.namespace(), header.uid()), ("pod", "ns", "u"));
        assert_eq!(
            (header.label("app"), header.label("zone"), header.label("a")),
            (Some("a"), Some("ü"), None)
        );
        assert_eq!(header.field("spec.nodeName"), Some("n1"));
        assert_eq!((header.field("metadata.name"), header.field("app")), (Some("pod"), None));
        assert_eq!(header.references().collect::<Vec<_>>(), ["secret/s", "configmap/c"]);
        assert_eq!((header.since_seconds, header.deleting), (-5, true));
        assert_eq!((places.revision_at, places.managed_bytes), (7, 9));
        assert_eq!(&stored[places.json_at..], b"{}");
    }

    #[test]
    fn a_head_that_is_cut_or_changed_is_none() {
        let labels = map(&[("app", "a")]);
        let whole = written(&Parts {
            name: "pod",
            namespace: "",
            uid: "",
            labels: Some(&labels),
            fields: &labels,
            references: &[],
            since_seconds: 0,
            deleting: false,
            revision_at: 0,
            managed_bytes: 0,
        });
        assert!(Header::read(&Bytes::from(whole.clone())).is_some());
        for length in 0..whole.len() - 2 {
            assert!(Header::read(&Bytes::from(whole[..length].to_vec())).is_none(), "cut at {length}");
        }
        for at in (0..5).chain(FIXED_BYTES..FIXED_BYTES + 4) {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            assert!(Header::read(&Bytes::from(changed)).is_none(), "changed at {at}");
        }
        let mut not_text = whole;
        not_text[FIXED_BYTES + 4] = 0xff;
        assert!(Header::read(&Bytes::from(not_text)).is_none());
    }
}
