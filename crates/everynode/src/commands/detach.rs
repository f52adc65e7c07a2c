//! `--detach`: the same command again in the background, and a wait until it says that it is ready.
//!
//! The background half leaves this session (`setsid`), writes its log to the data folder's log file, and
//! says `ready …` as the last line on its standard output, which the front half relays. If it ends before
//! that, the end of its log is the reason.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths::DataDir;

/// What the background half prints when all is ready, before the rest of that line.
pub const READY: &str = "ready";

/// How much of the log is shown when the background half failed.
const LOG_TAIL_BYTES: u64 = 4096;

/// Starts the background half and returns when it is ready.
pub fn start(data: &DataDir) -> Result<()> {
    let log_path = data.log();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path)
        .with_context(|| format!("open {}", log_path.display()))?;
    let log_start = log.metadata()?.len();
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--detach");
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start the background process")?;
    let output = child.stdout.take().context("the background process has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if line.starts_with(READY) {
            return Ok(());
        }
    }
    let status = child.wait()?;
    bail!("not ready, the background process ended ({status}):\n{}", log_tail(&log_path, log_start)?);
}

/// The background half: its own session, so that the terminal's end is not its end.
pub fn leave_session() -> Result<()> {
    rustix::process::setsid().context("leave the session")?;
    Ok(())
}

fn log_tail(path: &Path, start: u64) -> Result<String> {
    let mut log = std::fs::File::open(path)?;
    let end = log.metadata()?.len();
    log.seek(SeekFrom::Start(start.max(end.saturating_sub(LOG_TAIL_BYTES))))?;
    let mut tail = Vec::new();
    log.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).trim_end().to_owned())
}
