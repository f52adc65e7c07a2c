//! Measures the libraries that the embedded store could be built on, and the floor below them.
//!
//! `cargo run --release -p store --example embedded_choice [DIR]` prints, for redb, fjall and a bare file
//! that is appended to and synced: the time and CPU of a value written alone and of one of a group of 32, what the
//! process and the disk hold afterwards, and how long opening and reading everything back takes after a
//! kill. Each measurement runs in a child process of its own, in DIR (on the disk to be measured).
//! The figures of docs/adr/0001-embedded-store.md come from here.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KEYS: u32 = 5_000;
const VALUE_BYTES: usize = 2_048;
const SINGLE_WRITES: u32 = 2_000;
const GROUP: u32 = 32;
const GROUPS: u32 = 500;
const ENGINES: [&str; 3] = ["file", "redb", "fjall"];

type Failure = Box<dyn std::error::Error>;

/// What is measured: durable groups of rows, and everything back.
trait Engine {
    fn commit(&mut self, rows: &[(String, Vec<u8>)]) -> Result<(), Failure>;
    fn load(&mut self) -> Result<(u64, u64), Failure>;
}

struct Floor(std::fs::File);

impl Engine for Floor {
    fn commit(&mut self, rows: &[(String, Vec<u8>)]) -> Result<(), Failure> {
        let bytes: Vec<u8> = rows.iter().flat_map(|(key, value)| key.bytes().chain(value.clone())).collect();
        self.0.write_all(&bytes)?;
        Ok(self.0.sync_data()?)
    }

    fn load(&mut self) -> Result<(u64, u64), Failure> {
        Ok((0, self.0.metadata()?.len()))
    }
}

struct Redb(redb::Database);

const TABLE: redb::TableDefinition<&str, &[u8]> = redb::TableDefinition::new("entries");

impl Engine for Redb {
    fn commit(&mut self, rows: &[(String, Vec<u8>)]) -> Result<(), Failure> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in rows {
                table.insert(key.as_str(), value.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn load(&mut self) -> Result<(u64, u64), Failure> {
        use redb::{ReadableDatabase as _, ReadableTable as _};
        let transaction = self.0.begin_read()?;
        let table = transaction.open_table(TABLE)?;
        let mut sum = (0, 0);
        for row in table.iter()? {
            let (_, value) = row?;
            sum = (sum.0 + 1, sum.1 + value.value().len() as u64);
        }
        Ok(sum)
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Engine for Fjall {
    fn commit(&mut self, rows: &[(String, Vec<u8>)]) -> Result<(), Failure> {
        let mut batch = self.0.batch().durability(Some(fjall::PersistMode::SyncData));
        for (key, value) in rows {
            batch.insert(&self.1, key.as_str(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn load(&mut self) -> Result<(u64, u64), Failure> {
        let mut sum = (0, 0);
        for row in self.1.iter() {
            let (_, value) = row.into_inner()?;
            sum = (sum.0 + 1, sum.1 + value.len() as u64);
        }
        Ok(sum)
    }
}

fn open(engine: &str, dir: &Path) -> Result<Box<dyn Engine>, Failure> {
    Ok(match engine {
        "file" => {
            Box::new(Floor(std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?))
        }
        "redb" => {
            let mut builder = redb::Database::builder();
            builder.set_cache_size(4 << 20);
            Box::new(Redb(builder.create(dir.join("store.redb"))?))
        }
        "fjall" => {
            let database = fjall::Database::builder(dir)
                .cache_size(1 << 20)
                .worker_threads(1)
                .manual_journal_persist(true)
                .open()?;
            let options = || fjall::KeyspaceCreateOptions::default().max_memtable_size(4 << 20);
            let entries = database.keyspace("entries", options)?;
            Box::new(Fjall(database, entries))
        }
        other => return Err(format!("no engine is called {other}").into()),
    })
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("write") => write(&arguments[2], Path::new(&arguments[3])),
        Some("recover") => recover(&arguments[2], Path::new(&arguments[3])),
        dir => {
            let base = dir.map_or_else(std::env::temp_dir, Into::into);
            for engine in ENGINES {
                let dir = base.join(format!("everynode-choice-{}-{engine}", std::process::id()));
                std::fs::create_dir_all(&dir)?;
                for step in ["write", "recover"] {
                    let child = Command::new(std::env::current_exe()?)
                        .args([step, engine])
                        .arg(&dir)
                        .stdout(Stdio::inherit())
                        .status()?;
                    // The writer ends itself by abort, as a kill would.
                    if step == "recover" && !child.success() {
                        return Err(format!("{engine} did not recover").into());
                    }
                }
                std::fs::remove_dir_all(&dir)?;
            }
            Ok(())
        }
    }
}

fn write(engine: &str, dir: &Path) -> Result<(), Failure> {
    let base_rss = rss_kib();
    let mut store = open(engine, dir)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for start in (0..KEYS).step_by(GROUP as usize) {
        let rows: Vec<_> = (start..(start + GROUP).min(KEYS)).map(|n| random.row(n)).collect();
        store.commit(&rows)?;
    }
    let mut measure = |count: u32, group: u32| -> Result<(Duration, Duration), Failure> {
        // Few rows, used again and again, so that they do not count as the engine's memory.
        let rows: Vec<Vec<_>> = (0..16).map(|_| (0..group).map(|_| random.any_row()).collect()).collect();
        let (begin, begin_cpu) = (Instant::now(), cpu());
        for n in 0..count {
            let mut rows = rows[n as usize % rows.len()].clone();
            rows.iter_mut().for_each(|(key, _)| *key = random.key());
            store.commit(&rows)?;
        }
        Ok((begin.elapsed() / (count * group), (cpu() - begin_cpu) / (count * group)))
    };
    let (single, single_cpu) = measure(SINGLE_WRITES, 1)?;
    let (grouped, grouped_cpu) = measure(GROUPS, GROUP)?;
    let idle = {
        let begin = cpu();
        std::thread::sleep(Duration::from_secs(2));
        cpu() - begin
    };
    println!(
        "{engine:6} alone {single:>10.1?} (cpu {single_cpu:.1?})  of 32 {grouped:>9.1?} (cpu {grouped_cpu:.1?})  \
         idle cpu {idle:?} in 2 s  rss +{} KiB  threads {}  disk {} KiB",
        rss_kib().saturating_sub(base_rss),
        threads(),
        disk_kib(dir)?,
    );
    std::process::abort()
}

fn recover(engine: &str, dir: &Path) -> Result<(), Failure> {
    let base_rss = rss_kib();
    let begin = Instant::now();
    let mut store = open(engine, dir)?;
    let opened = begin.elapsed();
    let (rows, bytes) = store.load()?;
    println!(
        "{engine:6} after a kill: open {opened:.1?}, read back {rows} rows, {} KiB in {:.1?}, rss +{} KiB",
        bytes / 1024,
        begin.elapsed() - opened,
        rss_kib().saturating_sub(base_rss),
    );
    Ok(())
}

/// xorshift: the same rows for every engine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn any_row(&mut self) -> (String, Vec<u8>) {
        let n = (self.next() % u64::from(KEYS)) as u32;
        self.row(n)
    }

    fn key(&mut self) -> String {
        key((self.next() % u64::from(KEYS)) as u32)
    }

    fn row(&mut self, n: u32) -> (String, Vec<u8>) {
        // Half text that compresses like JSON does, half that does not.
        let mut value = br#"{"metadata":{"name":"pod","labels":{"app":"logging"}},"status":{}}"#.repeat(16);
        while value.len() < VALUE_BYTES {
            value.extend(self.next().to_le_bytes());
        }
        value.truncate(VALUE_BYTES);
        (key(n), value)
    }
}

fn key(n: u32) -> String {
    format!("/registry/pods/default/pod-{n:06}")
}

fn status_field(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn rss_kib() -> u64 {
    status_field("VmRSS")
}

fn threads() -> u64 {
    status_field("Threads")
}

/// User and system time of all threads, in the kernel's ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn disk_kib(dir: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let mut blocks = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        blocks += if metadata.is_dir() { disk_kib(&entry.path())? * 2 } else { metadata.blocks() };
    }
    Ok(blocks / 2)
}
