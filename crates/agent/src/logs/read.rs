//! Reading a container's log as the API's log options ask: tail, since, time stamps, a limit, following.
//!
//! A rotated file is read to its end before the new one; a follower ends when the container has ended and nothing is
//! left to read.

use std::future::Future;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio::sync::mpsc;

use super::line::Line;

/// Read at once from a file.
const CHUNK_BYTES: usize = 64 << 10;
/// A line that is longer comes in pieces; runtimes cut at 16 KiB already.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How often a follower looks whether its container still runs.
const ALIVE_CHECK_MS: u64 = 1_000;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub follow: bool,
    pub timestamps: bool,
    pub tail_lines: Option<u64>,
    pub since: Option<Timestamp>,
    pub limit_bytes: Option<u64>,
    /// `stdout` or `stderr` alone.
    pub stream: Option<String>,
}

/// Sends the log's text in pieces until its end, the limit, or until nobody listens.
/// `alive` says whether the container may still write.
pub async fn read<F, A>(path: PathBuf, options: Options, alive: A, out: mpsc::Sender<io::Result<Bytes>>)
where
    A: Fn() -> F + Send,
    F: Future<Output = bool> + Send,
{
    if let Err(error) = run(&path, &options, alive, &out).await {
        // Whoever listens hears it; if nobody does, nobody cares.
        let _ = out.send(Err(error)).await;
    }
}

async fn run<F, A>(
    path: &Path,
    options: &Options,
    alive: A,
    out: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()>
where
    A: Fn() -> F + Send,
    F: Future<Output = bool> + Send,
{
    let mut file = File::open(path).await?;
    if let Some(lines) = options.tail_lines {
        let start = tail_start(&mut file, lines).await?;
        file.seek(SeekFrom::Start(start)).await?;
    }
    let mut events = if options.follow { watch(path).ok() } else { None };
    let mut writer = Writer { options, left: options.limit_bytes, starts_line: true };
    let mut pending = BytesMut::new();
    loop {
        // Asked before reading: what was written before its end is then in the file.
        let was_alive = options.follow && alive().await;
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let count = file.read(&mut chunk).await?;
            if count == 0 {
                break;
            }
            pending.extend_from_slice(&chunk[..count]);
            let (text, full) = writer.take(&mut pending);
            if !text.is_empty() && out.send(Ok(text)).await.is_err() {
                return Ok(());
            }
            if full {
                return Ok(());
            }
        }
        if options.follow
            && let Some(next) = rotated(path, &file).await?
        {
            file = next;
            continue;
        }
        if !was_alive {
            return Ok(());
        }
        tokio::select! {
            // The kernel keeps events, the rest is a timer and a flag.
            () = out.closed() => return Ok(()),
            () = next_event(&mut events) => {}
            () = tokio::time::sleep(Duration::from_millis(ALIVE_CHECK_MS)) => {}
        }
    }
}

/// Opens the file that has taken this one's place.
async fn rotated(path: &Path, file: &File) -> io::Result<Option<File>> {
    let here = file.metadata().await?;
    match tokio::fs::metadata(path).await {
        Ok(there) if there.ino() != here.ino() => File::open(path).await.map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn watch(path: &Path) -> io::Result<EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    inotify.watches().add(folder, WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO)?;
    inotify.into_event_stream(vec![0; 4096])
}

async fn next_event(events: &mut Option<EventStream<Vec<u8>>>) {
    match events {
        Some(stream) => drop(stream.next().await),
        None => std::future::pending().await,
    }
}

/// Where the last so many lines begin.
async fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.metadata().await?.len();
    let mut at = length;
    // The last newline ends the last line and begins none.
    let mut newlines_left = lines + 1;
    if lines == 0 {
        return Ok(length);
    }
    while at > 0 {
        let size = at.min(CHUNK_BYTES as u64);
        at -= size;
        file.seek(SeekFrom::Start(at)).await?;
        let mut chunk = vec![0; usize::try_from(size).unwrap_or(CHUNK_BYTES)];
        file.read_exact(&mut chunk).await?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            if *byte == b'\n' {
                newlines_left -= 1;
                if newlines_left == 0 {
                    return Ok(at + index as u64 + 1);
                }
            }
        }
    }
    Ok(0)
}

/// Turns lines into what the reader is to see.
struct Writer<'a> {
    options: &'a Options,
    left: Option<u64>,
    /// The next piece begins a line of text.
    starts_line: bool,
}

impl Writer<'_> {
    /// Takes all complete lines. `true`: the limit is reached.
    fn take(&mut self, pending: &mut BytesMut) -> (Bytes, bool) {
        let mut text = BytesMut::new();
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let raw = pending.split_to(end + 1);
            match Line::parse(&raw) {
                Some(line) => self.put(&line, &mut text),
                // Not the runtime's format: shown as it is.
                None => text.extend_from_slice(&raw),
            }
        }
        if pending.len() > LINE_BYTES_MAX {
            text.extend_from_slice(&pending.split());
        }
        if let Some(left) = &mut self.left {
            if text.len() as u64 >= *left {
                text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = 0;
                return (text.freeze(), true);
            }
            *left -= text.len() as u64;
        }
        (text.freeze(), false)
    }

    fn put(&mut self, line: &Line<'_>, text: &mut BytesMut) {
        if self.options.stream.as_ref().is_some_and(|wanted| wanted != line.stream) {
            return;
        }
        if let Some(since) = self.options.since
            && line.at().is_some_and(|at| at < since)
        {
            return;
        }
        if self.options.timestamps && self.starts_line {
            text.extend_from_slice(line.time.as_bytes());
            text.extend_from_slice(b" ");
        }
        text.extend_from_slice(line.text);
        if !line.partial {
            text.extend_from_slice(b"\n");
        }
        self.starts_line = !line.partial;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn log(folder: &Path, lines: &[&str]) -> PathBuf {
        let path = folder.join("0.log");
        std::fs::write(&path, lines.concat()).unwrap();
        path
    }

    const LINES: &[&str] = &[
        "2026-01-01T00:00:01Z stdout F one\n",
        "2026-01-01T00:00:02Z stderr F two\n",
        "2026-01-01T00:00:03Z stdout P thr\n",
        "2026-01-01T00:00:03Z stdout F ee\n",
    ];

    async fn all(path: PathBuf, options: Options) -> String {
        let (out, mut pieces) = mpsc::channel(4);
        tokio::spawn(read(path, options, || async { false }, out));
        let mut text = Vec::new();
        while let Some(piece) = pieces.recv().await {
            text.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn options_choose_what_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), LINES);
        let ask = |options| all(path.clone(), options);
        assert_eq!(ask(Options::default()).await, "one\ntwo\nthree\n");
        assert_eq!(ask(Options { tail_lines: Some(3), ..Default::default() }).await, "two\nthree\n");
        assert_eq!(ask(Options { tail_lines: Some(0), ..Default::default() }).await, "");
        assert_eq!(ask(Options { tail_lines: Some(99), ..Default::default() }).await, "one\ntwo\nthree\n");
        assert_eq!(ask(Options { limit_bytes: Some(5), ..Default::default() }).await, "one\nt");
        let since = Some("2026-01-01T00:00:02Z".parse().unwrap());
        let stamped = ask(Options { since, timestamps: true, ..Default::default() }).await;
        assert_eq!(stamped, "2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n");
        let errors = ask(Options { stream: Some("stderr".to_owned()), ..Default::default() }).await;
        assert_eq!(errors, "two\n");
    }

    #[tokio::test]
    async fn follower_reads_over_a_rotation_and_ends_with_its_container() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), &LINES[..1]);
        let alive = Arc::new(AtomicBool::new(true));
        let asked = alive.clone();
        let (out, mut pieces) = mpsc::channel(4);
        let options = Options { follow: true, ..Default::default() };
        tokio::spawn(read(
            path.clone(),
            options,
            move || std::future::ready(asked.load(Ordering::SeqCst)),
            out,
        ));
        let mut next = async || {
            let piece = tokio::time::timeout(DEADLINE, pieces.recv()).await.expect("a piece in time");
            piece.map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap())
        };
        assert_eq!(next().await.as_deref(), Some("one\n"));
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(LINES[1].as_bytes()).unwrap();
        assert_eq!(next().await.as_deref(), Some("two\n"));
        std::fs::rename(&path, folder.path().join("0.log.old")).unwrap();
        std::fs::write(&path, "2026-01-01T00:00:04Z stdout F new\n").unwrap();
        assert_eq!(next().await.as_deref(), Some("new\n"));
        alive.store(false, Ordering::SeqCst);
        assert_eq!(next().await, None);
    }
}
