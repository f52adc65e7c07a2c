//! A disk in memory that fails as disks and operating systems do.
//!
//! What was written is seen at once and survives a power loss only after a sync. When a sync fails, part of what it was
//! to make durable is forgotten: it is still seen, and no later sync brings it to the disk. When the disk is full a
//! file cannot grow, and what it has can be written over. The power may fail at any operation; then
//! what was not synced is lost, kept or torn, sector by sector.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::place::Place;

const SECTOR_BYTES: usize = 512;

/// Clones are one disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u32, Contents>,
    made: u32,
    /// Which file has the store's name, as the machine sees it.
    named: Option<u32>,
    draft: Option<u32>,
    faults: Faults,
    power: Power,
}

#[derive(Debug, Default)]
struct Contents {
    durable: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<Operation>,
    /// Beyond this nothing was ever written: it takes no space yet.
    allocated: usize,
}

/// What fails from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    pub sync: Sync,
    /// Nothing may take more space.
    pub full: bool,
    /// Writes fail as those of a disk that is broken.
    pub broken: bool,
    /// The rename of a draft fails.
    pub rename: bool,
    /// All is well for so many operations before the faults begin.
    pub after: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    #[default]
    Works,
    Fails,
    Panics,
}

/// Writes and syncs until the power fails.
#[derive(Debug, Default)]
enum Power {
    #[default]
    Lasts,
    Operations(u32),
}

#[derive(Debug)]
enum Operation {
    Length(u64),
    Write(u64, Vec<u8>),
}

impl Disk {
    pub fn set(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    pub fn fail_power_after(&self, operations: u32) {
        self.0.lock().power = Power::Operations(operations);
    }

    /// The same disk after a power loss.
    pub fn after_power_loss(&self, random: &mut Random) -> Disk {
        let state = self.0.lock();
        let mut survived = State { made: state.made, named: state.named, ..State::default() };
        for (number, file) in &state.files {
            let mut content = file.durable.clone();
            for operation in &file.unsynced {
                operation.apply(&mut content, |_| random.next().is_multiple_of(2));
            }
            let allocated = content.len();
            let file = Contents { seen: content.clone(), durable: content, allocated, unsynced: Vec::new() };
            survived.files.insert(*number, file);
        }
        Disk(Arc::new(Mutex::new(survived)))
    }

    fn make(&self) -> (u32, Box<dyn StorageBackend>) {
        let mut state = self.0.lock();
        state.made += 1;
        let number = state.made;
        state.files.insert(number, Contents::default());
        (number, Box::new(File { disk: self.clone(), number }))
    }
}

impl Operation {
    /// Whole sectors are kept or not.
    fn apply(&self, content: &mut Vec<u8>, mut keep: impl FnMut(usize) -> bool) {
        match self {
            // A file grows before what is written into it can land.
            Operation::Length(length) => content.resize((*length).max(content.len() as u64) as usize, 0),
            Operation::Write(offset, data) => {
                for (n, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                    if keep(n) {
                        let begin = *offset as usize + n * SECTOR_BYTES;
                        content[begin..begin + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }
}

impl Place for Disk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let named = self.0.lock().named;
        if let Some(number) = named {
            return Ok(Box::new(File { disk: self.clone(), number }));
        }
        let (number, file) = self.make();
        self.0.lock().named = Some(number);
        Ok(file)
    }

    fn draft(&self) -> io::Result<Box<dyn StorageBackend>> {
        let (number, file) = self.make();
        self.0.lock().draft = Some(number);
        Ok(file)
    }

    fn adopt(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.spend()?.rename {
            return Err(io::Error::other("as the test wants"));
        }
        state.named = Some(state.draft.take().expect("a draft was made"));
        Ok(())
    }
}

impl State {
    /// The faults that count for one more operation.
    fn spend(&mut self) -> io::Result<Faults> {
        match &mut self.power {
            Power::Lasts => {}
            Power::Operations(0) => return Err(io::Error::other("no power")),
            Power::Operations(left) => *left -= 1,
        }
        if self.faults.after > 0 {
            self.faults.after -= 1;
            return Ok(Faults::default());
        }
        Ok(self.faults)
    }
}

#[derive(Debug)]
struct File {
    disk: Disk,
    number: u32,
}

impl File {
    fn with<R>(&self, act: impl FnOnce(&mut Contents) -> R) -> R {
        act(self.disk.0.lock().files.get_mut(&self.number).expect("the file was made"))
    }

    fn spend(&self) -> io::Result<Faults> {
        self.disk.0.lock().spend()
    }
}

impl StorageBackend for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|file| file.seen.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let begin = offset as usize;
        self.with(|file| {
            let found = file.seen.get(begin..begin + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.spend()?;
        self.with(|file| {
            file.seen.resize(length as usize, 0);
            file.unsynced.push(Operation::Length(length));
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.spend()?.sync {
            Sync::Works => {
                self.with(|file| {
                    for operation in std::mem::take(&mut file.unsynced) {
                        operation.apply(&mut file.durable, |_| true);
                    }
                });
                Ok(())
            }
            Sync::Fails => {
                // Every other sector is never heard of again, though it is seen.
                self.with(|file| {
                    for operation in std::mem::take(&mut file.unsynced) {
                        operation.apply(&mut file.durable, |sector| sector % 2 == 1);
                    }
                });
                Err(io::Error::other("as the test wants"))
            }
            Sync::Panics => panic!("as the test wants"),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let faults = self.spend()?;
        let begin = offset as usize;
        let end = begin + data.len();
        if faults.broken {
            return Err(io::Error::other("as the test wants"));
        }
        self.with(|file| {
            if faults.full && end > file.allocated {
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.allocated = file.allocated.max(end);
            file.seen[begin..end].copy_from_slice(data);
            file.unsynced.push(Operation::Write(offset, data.to_vec()));
            Ok(())
        })
    }
}

/// xorshift; a failing seed is printed by the assertion that it breaks.
pub struct Random(u64);

impl Random {
    pub fn seeded(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
