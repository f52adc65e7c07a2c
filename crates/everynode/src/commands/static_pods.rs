//! `everynode static list|status|validate`: what the agent says of its static Pods, and what it would say of files.

use std::io::Read;
use std::path::{Path, PathBuf};

use agent::{FaultLine, Page, StaticReport};
use anyhow::{Context, Result, bail};

use crate::cli::{DataArgs, Output, StaticCommand};
use crate::exit::Failure;
use crate::paths::DataDir;
use crate::wiring::{hold, node};

/// One that is larger is refused anyway; one byte more is read so that it is seen to be.
const STDIN_BYTES_MAX: u64 = (10 << 20) + 1;

pub fn run(command: StaticCommand) -> Result<()> {
    match command {
        StaticCommand::List { data, output } => list(&data, output),
        StaticCommand::Status { data, output } => status(&data, output),
        StaticCommand::Validate { node_name, output, files } => {
            validate(node_name.as_deref(), output, &files)
        }
    }
}

/// The report, with a word on stderr if nobody keeps it up to date.
fn report(args: &DataArgs) -> Result<StaticReport> {
    let folder = args.data_dir.display();
    let nothing = || {
        let text = format!(
            "no agent has run static Pods under {folder}; start one first, or name its folder with --data-dir"
        );
        Failure::Usage(text)
    };
    let data = DataDir::existing(&args.data_dir).map_err(|_| nothing())?;
    let report = StaticReport::read(&data.agent()).context("read the agent's report")?.ok_or_else(nothing)?;
    let runs = [data.pid(), data.agent_pid()].iter().any(|pid| hold::holder(pid).is_some());
    if !runs {
        eprintln!("no agent runs under {folder}: this is what the last one said; its containers go on");
    }
    Ok(report)
}

fn list(args: &DataArgs, output: Output) -> Result<()> {
    let report = report(args)?;
    if output == Output::Json {
        println!("{}", serde_json::to_string_pretty(&report.pods)?);
        return Ok(());
    }
    let mut rows = vec![["POD", "PHASE", "READY", "RESTARTS", "FROM"].map(str::to_owned)];
    rows.extend(report.pods.iter().map(|pod| {
        [
            format!("{}/{}", pod.line.namespace, pod.line.name),
            pod.phase.clone(),
            format!("{}/{}", pod.ready_containers, pod.containers),
            pod.restarts.to_string(),
            pod.line.from.clone(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  "));
        println!("{}{}", cells.collect::<String>(), row[4]);
    }
    Ok(())
}

fn status(args: &DataArgs, output: Output) -> Result<()> {
    let report = report(args)?;
    let faults: Vec<&FaultLine> = report.faults().collect();
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => {
            for page in report.sources.iter().filter(|page| !is_edits(page)) {
                println!("{}: {}", page.place, counts(page));
            }
            for pod in report.pods.iter().filter(|pod| !pod.message.is_empty()) {
                println!("{}/{} {}: {}", pod.line.namespace, pod.line.name, pod.phase, pod.message);
            }
            for fault in &faults {
                println!("FAULT {}", fault.text());
            }
        }
    }
    refuse(&faults)
}

/// Edits that wait are about Pods of the other pages.
fn is_edits(page: &Page) -> bool {
    page.pods.is_empty() && page.objects.is_empty() && page.place == "edits"
}

fn counts(page: &Page) -> String {
    let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut parts = vec![of(page.pods.len(), "Pod")];
    if !page.objects.is_empty() {
        parts.push(page.objects.join(", "));
    }
    parts.push(of(page.faults.len(), "fault"));
    parts.join(", ")
}

fn refuse(faults: &[&FaultLine]) -> Result<()> {
    match faults.len() {
        0 => Ok(()),
        1 => bail!("1 fault"),
        count => bail!("{count} faults"),
    }
}

fn validate(node_name: Option<&str>, output: Output, files: &[PathBuf]) -> Result<()> {
    let node_name = node::name(node_name)?;
    let texts: Result<Vec<_>> = files.iter().map(|file| read(file)).collect();
    let page = agent::validate_manifests(&texts?, &node_name, jiff::Timestamp::now());
    let faults: Vec<&FaultLine> = page.faults.iter().collect();
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&page)?),
        Output::Text => {
            for pod in &page.pods {
                println!("{}: Pod {}/{} can run on {node_name}", pod.from, pod.namespace, pod.name);
            }
            for object in &page.objects {
                println!("{object} is there for these Pods");
            }
            for fault in &faults {
                println!("FAULT {}: {}", fault.about, fault.message);
            }
        }
    }
    refuse(&faults)
}

fn read(file: &Path) -> Result<(String, Vec<u8>)> {
    if file == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().take(STDIN_BYTES_MAX).read_to_end(&mut text).context("read the standard input")?;
        return Ok(("standard input".to_owned(), text));
    }
    let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Ok((file.display().to_string(), text))
}
