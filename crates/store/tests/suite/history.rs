//! What clients and watchers saw of a store, and whether a store could have behaved so.
//!
//! Every change has a revision of its own, so the order of the writes is not to be guessed: a history is linearizable if
//! each operation can be given a moment between its begin and its end so that it fits that order. A write's moment is its
//! revision. A read's is any revision at which what it saw was true; the earliest that is not before what had ended by
//! then is as good as any, as later ones forbid more. So one pass in the order of the begins decides it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use store::{Change, Entry, Event, Expect, Page, Revision, Write};

/// One call with the ticks of a clock that all clients share.
#[derive(Debug, Clone)]
pub struct Operation {
    pub begun: u64,
    pub ended: u64,
    pub call: Call,
}

#[derive(Debug, Clone)]
pub enum Call {
    Write(Write, Written),
    Get(String, Option<Entry>),
    /// Of a prefix, without a limit.
    Scan(String, Page),
    Revision(Revision),
}

/// What came of a write.
#[derive(Debug, Clone)]
pub enum Written {
    At(Revision),
    Mismatch(Option<Entry>),
    Refused,
    Unknown,
}

/// What a watcher of a prefix was told, up to its last event.
#[derive(Debug, Clone)]
pub struct Watched {
    pub prefix: String,
    pub after: Revision,
    pub events: Vec<Event>,
}

#[derive(Debug, Clone)]
pub struct History {
    /// Everything, before the first operation.
    pub begin: Page,
    pub operations: Vec<Operation>,
    /// Every change between `begin` and `end`, as one watcher was told of them.
    pub log: Vec<Event>,
    pub watches: Vec<Watched>,
    /// Everything, after the last operation.
    pub end: Page,
}

/// What a key was from a revision on.
type Versions<'a> = BTreeMap<&'a str, Vec<(Revision, Option<&'a Entry>)>>;

impl History {
    /// Why no store that keeps its contract can have behaved so.
    pub fn check(&self) -> Result<(), String> {
        let versions = self.versions()?;
        self.check_end(&versions)?;
        let authors = self.authors(&versions)?;
        for (event, author) in self.log.iter().zip(&authors) {
            check_precondition(event, &self.operations[*author], &versions)?;
        }
        self.check_order(&versions, &authors)?;
        self.watches.iter().try_for_each(|watch| self.check_watch(watch))
    }

    /// Replays the log.
    fn versions(&self) -> Result<Versions<'_>, String> {
        let mut versions = Versions::new();
        for entry in &self.begin.entries {
            if entry.modified > self.begin.revision {
                return Err(format!("the first page is older than its {entry:?}"));
            }
            versions.insert(&entry.key, vec![(Revision(0), Some(entry))]);
        }
        let mut newest = self.begin.revision;
        for event in &self.log {
            if event.revision() <= newest {
                return Err(format!("{event:?} is told after revision {}", newest.0));
            }
            newest = event.revision();
            let of_key = versions.entry(event.key()).or_insert_with(|| vec![(Revision(0), None)]);
            let before = of_key.last().and_then(|(_, entry)| *entry);
            let now = match event {
                Event::Put(entry) => {
                    let created = before.map_or(entry.modified, |before| before.created);
                    if entry.created != created {
                        return Err(format!("{entry:?} was created at {}", created.0));
                    }
                    Some(entry)
                }
                Event::Delete { .. } if before.is_none() => {
                    return Err(format!("{event:?}, but nothing was there"));
                }
                Event::Delete { .. } => None,
            };
            of_key.push((newest, now));
        }
        Ok(versions)
    }

    fn check_end(&self, versions: &Versions<'_>) -> Result<(), String> {
        let newest = self.log.last().map_or(self.begin.revision, Event::revision);
        if self.end.revision != newest {
            return Err(format!("the log ends at {}, the store is at {}", newest.0, self.end.revision.0));
        }
        check_page("", &self.end, versions)
    }

    /// For each change of the log the operation that made it.
    fn authors(&self, versions: &Versions<'_>) -> Result<Vec<usize>, String> {
        let mut acknowledged = BTreeMap::new();
        let mut unknown: Vec<(usize, &Write)> = Vec::new();
        for (number, operation) in self.operations.iter().enumerate() {
            match &operation.call {
                Call::Write(write, Written::At(revision)) => {
                    if let Some((_, other)) = acknowledged.insert(*revision, (number, write)) {
                        return Err(format!("{write:?} and {other:?} are both at {}", revision.0));
                    }
                }
                Call::Write(write, Written::Unknown) => unknown.push((number, write)),
                Call::Write(_, Written::Mismatch(_) | Written::Refused)
                | Call::Get(..)
                | Call::Scan(..)
                | Call::Revision(_) => {}
            }
        }
        let mut authors = Vec::with_capacity(self.log.len());
        for event in &self.log {
            if let Some((number, write)) = acknowledged.remove(&event.revision()) {
                if !makes(write, event) {
                    return Err(format!("{write:?} was acknowledged, {event:?} is told"));
                }
                authors.push(number);
                continue;
            }
            // Deletions look alike. One that named the revision can have made this one only; of the others the one that
            // began first, as whoever comes later can have made what follows.
            let before = at(event.key(), Revision(event.revision().0 - 1), versions);
            let able =
                |(_, (_, write)): &(usize, &(usize, &Write))| makes(write, event) && holds(write, before);
            let position = unknown.iter().enumerate().filter(able).min_by_key(|(_, (number, write))| {
                (write.expect == Expect::Anything, self.operations[*number].begun)
            });
            let position = position.map(|(position, _)| position);
            let position =
                position.ok_or_else(|| format!("{event:?} is told, nobody's write can have done that"))?;
            authors.push(unknown.swap_remove(position).0);
        }
        match acknowledged.first_key_value() {
            Some((revision, (_, write))) => {
                Err(format!("{write:?} was acknowledged at {} and is lost", revision.0))
            }
            None => Ok(authors),
        }
    }

    /// One pass over the operations in the order of their begins.
    fn check_order(&self, versions: &Versions<'_>, authors: &[usize]) -> Result<(), String> {
        let made: BTreeMap<usize, Revision> =
            authors.iter().copied().zip(self.log.iter().map(Event::revision)).collect();
        let mut order: Vec<usize> = (0..self.operations.len()).collect();
        order.sort_by_key(|number| self.operations[*number].begun);
        let mut running: BinaryHeap<Reverse<(u64, Revision)>> = BinaryHeap::new();
        // No operation that begins from here on may see or be less.
        let mut earliest = self.begin.revision;
        for number in order {
            let operation = &self.operations[number];
            while let Some(Reverse((_, moment))) = running.peek().filter(|next| next.0.0 < operation.begun) {
                earliest = earliest.max(*moment);
                running.pop();
            }
            let moment = match &operation.call {
                Call::Write(write, Written::At(_) | Written::Unknown) => {
                    // Unknown, and nothing came of it.
                    let Some(revision) = made.get(&number) else { continue };
                    if *revision <= earliest {
                        let text = "but began after somebody had been told of";
                        return Err(format!("{write:?} is at {} {text} {}", revision.0, earliest.0));
                    }
                    if matches!(operation.call, Call::Write(_, Written::Unknown)) {
                        continue;
                    }
                    *revision
                }
                Call::Write(_, Written::Refused) => continue,
                Call::Write(write, Written::Mismatch(current)) => {
                    if holds(write, current.as_ref()) {
                        return Err(format!("{write:?} was refused although there was {current:?}"));
                    }
                    moment_of(&write.key, current.as_ref(), earliest, versions)?
                }
                Call::Get(key, found) => moment_of(key, found.as_ref(), earliest, versions)?,
                Call::Scan(prefix, page) => {
                    if page.revision < earliest {
                        let (page, told) = (page.revision.0, earliest.0);
                        return Err(format!("a page is of {page}, {told} had been told of before it"));
                    }
                    check_page(prefix, page, versions)?;
                    page.revision
                }
                Call::Revision(revision) => {
                    if *revision < earliest || *revision > self.end.revision {
                        let text = "had been told of before it was asked for";
                        return Err(format!("the revision is {}, {} {text}", revision.0, earliest.0));
                    }
                    *revision
                }
            };
            running.push(Reverse((operation.ended, moment)));
        }
        Ok(())
    }

    fn check_watch(&self, watch: &Watched) -> Result<(), String> {
        let Watched { prefix, after, events } = watch;
        let until = events.last().map_or(*after, Event::revision);
        let due = self.log.iter().filter(|event| {
            event.key().starts_with(prefix) && event.revision() > *after && event.revision() <= until
        });
        let mut told = events.iter();
        for due in due {
            match told.next() {
                Some(event) if event == due => {}
                other => return Err(format!("the watch of {prefix:?} was told {other:?}, not {due:?}")),
            }
        }
        told.next().map_or(Ok(()), |event| Err(format!("the watch of {prefix:?} was told {event:?}")))
    }
}

/// Whether a write's precondition holds where this is what there is.
fn holds(write: &Write, current: Option<&Entry>) -> bool {
    match (write.expect, &write.change) {
        (Expect::Anything, Change::Put(_)) => true,
        (Expect::Anything, Change::Delete) => current.is_some(),
        (Expect::Absent, Change::Put(_)) => current.is_none(),
        (Expect::Absent, Change::Delete) => false,
        (Expect::At(revision), _) => current.is_some_and(|entry| entry.modified == revision),
    }
}

fn makes(write: &Write, event: &Event) -> bool {
    match (&write.change, event) {
        (Change::Put(value), Event::Put(entry)) => write.key == entry.key && *value == entry.value,
        (Change::Delete, Event::Delete { key, .. }) => write.key == *key,
        (Change::Put(_), Event::Delete { .. }) | (Change::Delete, Event::Put(_)) => false,
    }
}

fn check_precondition(event: &Event, author: &Operation, versions: &Versions<'_>) -> Result<(), String> {
    let Call::Write(write, _) = &author.call else { return Ok(()) };
    let before = at(event.key(), Revision(event.revision().0 - 1), versions);
    if holds(write, before) {
        return Ok(());
    }
    Err(format!("{write:?} was done at {}, although there was {before:?}", event.revision().0))
}

fn at<'a>(key: &str, revision: Revision, versions: &Versions<'a>) -> Option<&'a Entry> {
    let of_key = versions.get(key)?;
    let count = of_key.partition_point(|(since, _)| *since <= revision);
    of_key[..count].last().and_then(|(_, entry)| *entry)
}

/// The earliest revision, but none before `earliest`, at which a key was what was found.
fn moment_of(
    key: &str,
    found: Option<&Entry>,
    earliest: Revision,
    versions: &Versions<'_>,
) -> Result<Revision, String> {
    let never = [(Revision(0), None)];
    let of_key = versions.get(key).map_or(&never[..], Vec::as_slice);
    for (number, (since, entry)) in of_key.iter().enumerate() {
        let ended = of_key.get(number + 1).is_some_and(|(next, _)| *next <= earliest);
        if !ended && *entry == found {
            return Ok(earliest.max(*since));
        }
    }
    Err(format!("{key} was never {found:?} from {} on", earliest.0))
}

fn check_page(prefix: &str, page: &Page, versions: &Versions<'_>) -> Result<(), String> {
    let mut due: Vec<&Entry> = versions.keys().filter_map(|key| at(key, page.revision, versions)).collect();
    due.retain(|entry| entry.key.starts_with(prefix));
    if page.more || !page.entries.iter().eq(due.iter().copied()) {
        let found: Vec<_> = page.entries.iter().map(|entry| (&entry.key, entry.modified.0)).collect();
        let due: Vec<_> = due.iter().map(|entry| (&entry.key, entry.modified.0)).collect();
        return Err(format!("the page of {prefix:?} at {} is {found:?}, not {due:?}", page.revision.0));
    }
    Ok(())
}

/// A checker that finds nothing is worth nothing: each kind of wrong is put into a right history.
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entry(key: &str, value: &str, created: u64, modified: u64) -> Entry {
        let value = Bytes::copy_from_slice(value.as_bytes());
        Entry { key: key.into(), value, created: Revision(created), modified: Revision(modified) }
    }

    fn call(begun: u64, ended: u64, call: Call) -> Operation {
        Operation { begun, ended, call }
    }

    fn put(key: &str, value: &str, expect: Expect, written: Written) -> Call {
        let change = Change::Put(Bytes::copy_from_slice(value.as_bytes()));
        Call::Write(Write { key: key.into(), expect, change }, written)
    }

    fn delete(key: &str, written: Written) -> Call {
        let write = Write { key: key.into(), expect: Expect::Anything, change: Change::Delete };
        Call::Write(write, written)
    }

    fn page(revision: u64, entries: Vec<Entry>) -> Page {
        Page { revision: Revision(revision), entries, more: false }
    }

    /// Right: /a is written, overwritten and read; /b is made, deleted, and made by one who never heard of it.
    fn right() -> History {
        let at = |revision| Written::At(Revision(revision));
        let operations = vec![
            call(1, 2, put("/a", "1", Expect::At(Revision(3)), at(6))),
            call(3, 8, put("/a", "2", Expect::Anything, at(7))),
            // Beside that write: either value is right, but not the old one after the new one.
            call(4, 5, Call::Get("/a".into(), Some(entry("/a", "1", 3, 6)))),
            call(6, 7, Call::Get("/a".into(), Some(entry("/a", "2", 3, 7)))),
            call(9, 10, put("/b", "1", Expect::Absent, at(8))),
            call(11, 12, put("/b", "x", Expect::Absent, Written::Mismatch(Some(entry("/b", "1", 8, 8))))),
            call(13, 14, delete("/b", at(9))),
            call(15, 16, Call::Get("/b".into(), None)),
            call(17, 18, put("/b", "2", Expect::Anything, Written::Unknown)),
            call(19, 20, put("/b", "3", Expect::Anything, Written::Unknown)),
            call(21, 22, put("/b", "4", Expect::Anything, Written::Refused)),
            call(23, 24, Call::Scan("/b".into(), page(9, vec![]))),
            call(25, 26, Call::Revision(Revision(9))),
        ];
        let log = vec![
            Event::Put(entry("/a", "1", 3, 6)),
            Event::Put(entry("/a", "2", 3, 7)),
            Event::Put(entry("/b", "1", 8, 8)),
            Event::Delete { key: "/b".into(), revision: Revision(9) },
            Event::Put(entry("/b", "3", 10, 10)),
        ];
        let watch = Watched { prefix: "/b".into(), after: Revision(6), events: log[2..].to_vec() };
        History {
            begin: page(5, vec![entry("/a", "0", 3, 3)]),
            operations,
            log,
            watches: vec![watch],
            end: page(10, vec![entry("/a", "2", 3, 7), entry("/b", "3", 10, 10)]),
        }
    }

    #[test]
    fn right_history_passes() {
        right().check().unwrap();
    }

    #[test]
    fn every_kind_of_wrong_is_found() {
        type Spoil = fn(&mut History);
        let wrong: &[(&str, Spoil)] = &[
            ("is lost", |history| {
                history.log.remove(1);
                history.end.entries[0] = entry("/a", "1", 3, 6);
            }),
            ("the page of \"\" at 10", |history| {
                history.end.entries.pop();
            }),
            ("nobody's write", |history| {
                history.operations[9].call = put("/b", "3", Expect::Anything, Written::Refused)
            }),
            ("are both at 6", |history| {
                history.operations[1].call = put("/a", "2", Expect::Anything, Written::At(Revision(6)));
            }),
            ("was acknowledged, ", |history| {
                history.operations[1].call = put("/a", "9", Expect::Anything, Written::At(Revision(7)));
            }),
            // A stale read: the write had ended, or another reader had seen it.
            ("/a was never", |history| {
                history.operations[3].call = Call::Get("/a".into(), Some(entry("/a", "0", 3, 3)));
            }),
            ("/a was never", |history| {
                history.operations[2] = call(4, 5, Call::Get("/a".into(), Some(entry("/a", "2", 3, 7))));
                history.operations[3] = call(6, 7, Call::Get("/a".into(), Some(entry("/a", "1", 3, 6))));
            }),
            // A read of what was written only after it.
            ("is at 8 but began after", |history| {
                history.operations[3].call = Call::Get("/b".into(), Some(entry("/b", "1", 8, 8)));
            }),
            ("is at 6 but began after", |history| {
                (history.operations[0].begun, history.operations[0].ended) = (30, 31)
            }),
            ("although there was None", |history| {
                history.operations[4].call =
                    put("/b", "1", Expect::At(Revision(7)), Written::At(Revision(8)));
            }),
            ("was refused although", |history| {
                let found = Some(entry("/b", "1", 8, 8));
                history.operations[5].call = put("/b", "x", Expect::Anything, Written::Mismatch(found));
            }),
            ("the page of \"/b\" at 9", |history| {
                let page = page(9, vec![entry("/b", "1", 8, 8)]);
                history.operations[11].call = Call::Scan("/b".into(), page);
            }),
            ("a page is of 8", |history| {
                let page = page(8, vec![entry("/b", "1", 8, 8)]);
                history.operations[11].call = Call::Scan("/b".into(), page);
            }),
            ("the revision is 8", |history| history.operations[12].call = Call::Revision(Revision(8))),
            ("is told after revision", |history| history.log.swap(0, 1)),
            ("was created at 3", |history| history.log[1] = Event::Put(entry("/a", "2", 7, 7))),
            ("the watch of \"/b\"", |history| {
                history.watches[0].events.remove(1);
            }),
            ("the watch of \"/b\"", |history| history.watches[0].events.swap(0, 1)),
            ("the watch of \"/b\"", |history| {
                let first = history.watches[0].events[0].clone();
                history.watches[0].events.insert(0, first);
            }),
            ("the watch of \"/b\"", |history| history.watches[0].after = Revision(8)),
            ("the log ends at 9", |history| {
                history.log.pop();
            }),
        ];
        for (number, (said, spoil)) in wrong.iter().enumerate() {
            let mut history = right();
            spoil(&mut history);
            let found = history.check().expect_err(said);
            assert!(found.contains(said), "{number}: {found}");
        }
    }
}
