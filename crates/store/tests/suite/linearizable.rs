//! Random histories of concurrent clients and watchers on every backend, each checked (`history`): acknowledged writes
//! are linearizable, watches complete and in order. The embedded store is killed with -9 after each, in the middle of
//! further writes, by the death of the process that holds it: this test binary itself, run with [`DIRECTORY`] set. On etcd
//! the clients use two stores, as two servers would; a cluster of three loses a member every few seconds.

use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store::{Change, EmbeddedStore, Expect, MemoryStore, Page, Store, Write};

use crate::backend::connect;
use crate::history::{Call, Written};
use crate::member::Cluster;
use crate::record::{Length, Plan, record};

const HISTORIES: u64 = 1_000;
/// Histories of stores that do not know each other, at the same time: the machine is not to wait for one.
const LANES: u64 = 4;

const DIRECTORY: &str = "EVERYNODE_STORE_HISTORY_DIRECTORY";
const SEED: &str = "EVERYNODE_STORE_HISTORY_SEED";
/// What is written when a history is over, until the kill; no part of any history.
const LATER: &str = "later";

/// How often a member of three is killed, and for how long.
const KILL_INTERVAL: Duration = Duration::from_secs(5);
const KILLS: usize = 7;

fn lanes(run: impl Fn(u64) + Sync) {
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let run = &run;
            scope.spawn(move || (1 + lane..=HISTORIES).step_by(LANES as usize).for_each(run));
        }
    });
}

fn on_two_threads<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work)
}

#[test]
fn thousand_histories_on_memory_are_linearizable() {
    on_two_threads(async {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        for seed in 1..=HISTORIES {
            let history = record(std::slice::from_ref(&store), seed, Plan::SHORT).await;
            history.check().unwrap_or_else(|why| panic!("seed {seed}: {why}\n{history:?}"));
        }
    });
}

#[test]
fn thousand_histories_on_etcd_through_two_stores_are_linearizable() {
    let cluster = Cluster::of(1);
    on_two_threads(async {
        let lanes = (0..LANES).map(|lane| {
            let address = format!("{}/lane-{lane}", cluster.address());
            tokio::spawn(async move {
                let stores: [Arc<dyn Store>; 2] =
                    [Arc::new(connect(&address).await), Arc::new(connect(&address).await)];
                for seed in (1 + lane..=HISTORIES).step_by(LANES as usize) {
                    let history = record(&stores, seed, Plan::SHORT).await;
                    history.check().unwrap_or_else(|why| panic!("seed {seed}: {why}\n{history:?}"));
                }
            })
        });
        for lane in futures::future::join_all(lanes).await {
            lane.unwrap();
        }
    });
}

#[test]
fn thousand_histories_on_the_embedded_store_are_linearizable_with_a_kill_after_each() {
    // Where a sync costs nothing: a kill takes nothing from the operating system, syncs are `power_loss`'s matter.
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let ends: Vec<Mutex<String>> = (0..LANES).map(|_| Mutex::new("at".to_owned())).collect();
    lanes(|seed| {
        let lane = (seed - 1) % LANES;
        let found = live_and_die(&root.path().join(format!("lane-{lane}")), seed);
        let before = std::mem::replace(&mut *ends[lane as usize].lock().unwrap(), found.end);
        assert_eq!(
            found.begin, before,
            "seed {seed}: what survived the kill is not what was there before it"
        );
    });
}

/// What a process found and what it left.
struct Life {
    begin: String,
    end: String,
}

/// One history in a process of its own, which is killed in the middle of what it writes after it.
fn live_and_die(directory: &Path, seed: u64) -> Life {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "linearizable::process_with_a_history", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut begin, mut end, mut later) = (None, None, 0);
    for line in lines.map_while(Result::ok) {
        if let Some(found) = line.strip_prefix("begin ") {
            begin = Some(found.to_owned());
        } else if let Some(found) = line.strip_prefix("end ") {
            end = Some(found.to_owned());
        } else if line == LATER {
            later += 1;
        }
        if later > seed % 4 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    match (begin, end) {
        (Some(begin), Some(end)) => Life { begin, end },
        _ => panic!(
            "seed {seed}: the history is not linearizable, or its process did not get to its end; see above"
        ),
    }
}

/// Not a claim but the process to be killed: without the variable there is nothing to do.
#[test]
fn process_with_a_history() {
    let (Some(directory), Ok(seed)) = (std::env::var_os(DIRECTORY), std::env::var(SEED)) else { return };
    let seed = seed.parse().unwrap();
    on_two_threads(async {
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(PathBuf::from(directory)).unwrap());
        // The writes that the last kill met are no part of what is compared: some came about, some did not.
        let page = store.scan("/later/", None, None).await.unwrap();
        say("begin", &described(&store.scan("", None, None).await.unwrap()));
        for entry in page.entries {
            let expect = Expect::At(entry.modified);
            store.write(Write { key: entry.key, expect, change: Change::Delete }).await.unwrap();
        }
        let history = record(std::slice::from_ref(&store), seed, Plan::SHORT).await;
        if let Err(why) = history.check() {
            eprintln!("seed {seed}: {why}\n{history:?}");
            return;
        }
        say("end", &described(&history.end));
        for n in 0.. {
            let change = Change::Put(n.to_string().into());
            let key = format!("/later/{}", n % 3);
            store.write(Write { key, expect: Expect::Anything, change }).await.unwrap();
            println!("{LATER}");
        }
    });
}

/// One line is one write call: a kill cannot leave half of one that was read whole.
fn say(what: &str, text: &str) {
    std::io::stdout().lock().write_all(format!("\n{what} {text}\n").as_bytes()).unwrap();
}

/// Everything of a history's page in one line.
fn described(page: &Page) -> String {
    let mine = page.entries.iter().filter(|entry| !entry.key.starts_with("/later/"));
    let entries: Vec<String> = mine
        .map(|entry| {
            let value = String::from_utf8_lossy(&entry.value).replace(' ', "_");
            format!("{}={value}@{},{}", entry.key, entry.created.0, entry.modified.0)
        })
        .collect();
    format!("at {}", entries.join(" ")).trim_end().to_owned()
}

#[test]
fn three_etcd_members_of_which_one_is_killed_every_five_seconds_lose_nothing() {
    let mut cluster = Cluster::of(3);
    let address = cluster.address();
    let length = KILL_INTERVAL * (KILLS as u32 + 1);
    let clients = std::thread::spawn(move || {
        on_two_threads(async {
            let stores: [Arc<dyn Store>; 2] =
                [Arc::new(connect(&address).await), Arc::new(connect(&address).await)];
            let plan =
                Plan { clients: 6, watchers: 6, length: Length::Time(length, Duration::from_millis(4)) };
            record(&stores, 1, plan).await
        })
    });
    // Whichever leads, it is among them; each is back before the next one goes.
    for kill in 0..KILLS {
        std::thread::sleep(KILL_INTERVAL / 2);
        cluster.kill(kill % 3);
        std::thread::sleep(KILL_INTERVAL / 2);
        cluster.start(kill % 3);
    }
    let history = clients.join().expect("the clients got to their end");
    history.check().unwrap_or_else(|why| panic!("{why}"));
    let count = |wanted: fn(&Written) -> bool| {
        let written = history.operations.iter().filter_map(|operation| match &operation.call {
            Call::Write(_, written) => Some(written),
            _ => None,
        });
        written.filter(|written| wanted(written)).count()
    };
    let acknowledged = count(|written| matches!(written, Written::At(_)));
    let unknown = count(|written| matches!(written, Written::Unknown));
    println!("{acknowledged} writes acknowledged, {unknown} of unknown outcome, none lost in {KILLS} kills");
    assert!(acknowledged > 500, "the clients could write: {acknowledged}");
}
