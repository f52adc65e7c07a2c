//! Random clients and watchers at work, and what they saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use store::{Change, Event, Expect, ReadError, Revision, Store, Watch, WatchError, Write, WriteError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::history::{Call, History, Operation, Watched, Written};

const KEYS: [&str; 6] = ["/a/1", "/a/2", "/a/3", "/b/1", "/b/2", "/ab"];
const PREFIXES: [&str; 4] = ["", "/a", "/a/", "/b/"];
/// Written at the end under every prefix: who watches it has been told of everything before.
const MARKS: [&str; 2] = ["/a/~", "/b/~"];
/// For a store that has lost its leader, or a watch that has lost its member.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// How much there is to record.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub clients: usize,
    pub watchers: usize,
    pub length: Length,
}

#[derive(Debug, Clone, Copy)]
pub enum Length {
    /// Of each client.
    Operations(usize),
    /// With this pause after each operation.
    Time(Duration, Duration),
}

impl Plan {
    pub const SHORT: Plan = Plan { clients: 4, watchers: 3, length: Length::Operations(8) };
}

/// xorshift; a failing seed is printed by the assertion that it breaks.
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[(self.next() >> 8) as usize % all.len()]
    }
}

/// Lets clients and watchers loose on stores that are to be one; client n uses store n modulo their number.
pub async fn record(stores: &[Arc<dyn Store>], seed: u64, plan: Plan) -> History {
    let begin = read(|| stores[0].scan("", None, None)).await;
    let mut auditor = Watcher::open(&stores[0], "", begin.revision).await;
    let clock = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..plan.clients)
        .map(|number| {
            let client = Client {
                store: stores[number % stores.len()].clone(),
                random: Random::seeded(seed.wrapping_mul(1_000) + number as u64),
                name: format!("{seed}-{number}"),
                clock: clock.clone(),
                seen: BTreeMap::new(),
                done: Vec::new(),
            };
            tokio::spawn(client.run(plan.length))
        })
        .collect();
    let (open, mut opened) = watch::channel(0);
    let watchers: Vec<_> = (0..plan.watchers)
        .map(|number| {
            let mut random = Random::seeded(seed.wrapping_mul(2_000) + number as u64);
            let store = stores[(number + 1) % stores.len()].clone();
            let (first, open) = (begin.revision, open.clone());
            tokio::spawn(async move {
                let prefix = random.one_of(&PREFIXES);
                // Some begin where the history does, some at what there is when they come.
                let after = match random.next() % 2 {
                    0 => first,
                    _ => read(|| store.scan(prefix, None, None)).await.revision,
                };
                let mark =
                    MARKS.into_iter().find(|mark| mark.starts_with(prefix)).expect("every prefix has one");
                let mut watcher = Watcher::open(&store, prefix, after).await;
                open.send_modify(|open| *open += 1);
                watcher.until(|event| event.key() == mark).await;
                watcher.watched
            })
        })
        .collect();
    let mut operations = Vec::new();
    for client in clients {
        operations.extend(client.await.expect("a client does not panic"));
    }
    let mut last = Client {
        store: stores[0].clone(),
        random: Random::seeded(seed),
        name: format!("{seed}-last"),
        clock,
        seen: BTreeMap::new(),
        done: Vec::new(),
    };
    // Who begins after the marks would wait for them in vain.
    opened.wait_for(|open| *open == plan.watchers).await.expect("it is held here");
    for mark in MARKS {
        last.mark(mark).await;
    }
    operations.extend(last.done);
    let end = read(|| stores[0].scan("", None, None)).await;
    auditor.until(|event| event.revision() >= end.revision).await;
    let mut log = auditor.watched.events;
    // A write whose outcome is unknown may come about later still.
    log.retain(|event| event.revision() <= end.revision);
    let mut watches = Vec::new();
    for watcher in watchers {
        watches.push(watcher.await.expect("a watcher does not panic"));
    }
    History { begin, operations, log, watches, end }
}

/// Reads until the store answers.
async fn read<T, F: Future<Output = Result<T, ReadError>>>(ask: impl Fn() -> F) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(error) => assert!(Instant::now() < end, "{error:?}"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

struct Client {
    store: Arc<dyn Store>,
    random: Random,
    /// Makes its values its own.
    name: String,
    clock: Arc<AtomicU64>,
    /// The revisions at which it last saw the keys.
    seen: BTreeMap<String, Revision>,
    done: Vec<Operation>,
}

impl Client {
    async fn run(mut self, length: Length) -> Vec<Operation> {
        match length {
            Length::Operations(count) => {
                for _ in 0..count {
                    self.act().await;
                }
            }
            Length::Time(length, pause) => {
                let end = Instant::now() + length;
                while Instant::now() < end {
                    self.act().await;
                    tokio::time::sleep(pause).await;
                }
            }
        }
        self.done
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    async fn act(&mut self) {
        let key = self.random.one_of(&KEYS).to_owned();
        match self.random.next() % 16 {
            0..8 => self.write(key).await,
            8..12 => {
                let begun = self.tick();
                // What was not answered says nothing.
                let Ok(found) = self.store.get(&key).await else { return };
                self.seen.insert(key.clone(), found.as_ref().map_or(Revision(0), |entry| entry.modified));
                self.note(begun, Call::Get(key, found));
            }
            12..14 => {
                let prefix = self.random.one_of(&PREFIXES);
                let begun = self.tick();
                let Ok(page) = self.store.scan(prefix, None, None).await else { return };
                self.note(begun, Call::Scan(prefix.to_owned(), page));
            }
            _ => {
                let begun = self.tick();
                let Ok(revision) = self.store.revision().await else { return };
                self.note(begun, Call::Revision(revision));
            }
        }
    }

    async fn write(&mut self, key: String) {
        let expect = match (self.random.next() % 8, self.seen.get(&key)) {
            (0..3, _) => Expect::Anything,
            (3, _) => Expect::Absent,
            (_, Some(Revision(0))) => Expect::Absent,
            (_, Some(revision)) => Expect::At(*revision),
            (_, None) => Expect::Anything,
        };
        let change = match self.random.next() % 4 {
            0 => Change::Delete,
            _ => {
                let value = format!("{}-{} ", self.name, self.done.len());
                Change::Put(value.repeat(1 + (self.random.next() % 40) as usize).into())
            }
        };
        self.send(Write { key, expect, change }).await;
    }

    /// Makes the write and notes it; whether it was acknowledged.
    async fn send(&mut self, write: Write) -> bool {
        let begun = self.tick();
        let key = write.key.clone();
        let written = match self.store.write(write.clone()).await {
            Ok(revision) => {
                let gone = write.change == Change::Delete;
                self.seen.insert(key, if gone { Revision(0) } else { revision });
                Written::At(revision)
            }
            Err(WriteError::Mismatch { current, .. }) => {
                self.seen.insert(key, current.as_ref().map_or(Revision(0), |entry| entry.modified));
                Written::Mismatch(current)
            }
            Err(WriteError::Refused { .. }) => Written::Refused,
            Err(WriteError::Unknown { .. }) => Written::Unknown,
        };
        let acknowledged = matches!(written, Written::At(_));
        self.note(begun, Call::Write(write, written));
        acknowledged
    }

    async fn mark(&mut self, key: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let change = Change::Put(format!("{}-{}", self.name, self.done.len()).into());
            if self.send(Write { key: key.to_owned(), expect: Expect::Anything, change }).await {
                return;
            }
            assert!(Instant::now() < end, "the store takes no writes");
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    fn note(&mut self, begun: u64, call: Call) {
        let ended = self.tick();
        self.done.push(Operation { begun, ended, call });
    }
}

/// A watch that goes on from where it was when it breaks, as servers do.
struct Watcher {
    store: Arc<dyn Store>,
    watch: Watch,
    watched: Watched,
}

impl Watcher {
    async fn open(store: &Arc<dyn Store>, prefix: &str, after: Revision) -> Watcher {
        let watched = Watched { prefix: prefix.to_owned(), after, events: Vec::new() };
        let watch = open_watch(store, prefix, after).await;
        Watcher { store: store.clone(), watch, watched }
    }

    /// Reads up to the first event that is wanted.
    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut looked = 0;
        loop {
            for event in &self.watched.events[looked..] {
                if wanted(event) {
                    return;
                }
            }
            looked = self.watched.events.len();
            match tokio::time::timeout_at(end, self.watch.next()).await.expect("the watch goes on") {
                Some(Ok(events)) => self.watched.events.extend(events),
                Some(Err(WatchError::Backend(_))) => {
                    let after = self.watched.events.last().map_or(self.watched.after, Event::revision);
                    self.watch = open_watch(&self.store, &self.watched.prefix, after).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn open_watch(store: &Arc<dyn Store>, prefix: &str, after: Revision) -> Watch {
    let end = Instant::now() + PATIENCE;
    loop {
        match store.watch(prefix, after).await {
            Ok(watch) => return watch,
            Err(WatchError::Backend(error)) => assert!(Instant::now() < end, "{error:?}"),
            Err(error) => panic!("{error:?}"),
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}
