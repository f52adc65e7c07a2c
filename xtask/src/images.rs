//! Demo and test images, packed from Debian packages: no registry is asked.
//!
//! Each image is one folder tree made of unpacked packages plus a few files of ours, written as an OCI
//! archive with one layer. The same packages give the same bytes.

mod archive;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What one image is made of.
struct Recipe {
    /// File stem of the archive.
    stem: &'static str,
    /// The names under which a manifest asks for it.
    references: &'static [&'static str],
    packages: &'static [&'static str],
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
    /// Said in the image's description label.
    description: &'static str,
    /// Adds files of ours to the unpacked packages.
    finish: fn(&Path) -> Result<()>,
}

const LIBC: &[&str] = &["libc6", "libgcc-s1", "gcc-12-base"];

const RECIPES: &[Recipe] = &[
    Recipe {
        stem: "busybox",
        references: &["everynode.local/busybox:1.35"],
        packages: &["busybox-static"],
        entrypoint: &[],
        command: &["/bin/sh"],
        description: "busybox from Debian's busybox-static",
        finish: finish_busybox,
    },
    Recipe {
        stem: "node-exporter",
        references: &["everynode.local/node-exporter:1.5.0", "everynode.local/node-exporter:1.5.0-again"],
        packages: &["prometheus-node-exporter"],
        entrypoint: &["/usr/bin/prometheus-node-exporter"],
        command: &[],
        description: "prometheus-node-exporter from its Debian package",
        finish: finish_nothing,
    },
    Recipe {
        stem: "fluentd",
        references: &["gcr.io/google_containers/fluentd-elasticsearch:1.3"],
        packages: &[
            "rsyslog",
            "libestr0",
            "libfastjson4",
            "liblognorm5",
            "libuuid1",
            "libsystemd0",
            "zlib1g",
            "libcap2",
            "libgcrypt20",
            "libgpg-error0",
            "liblz4-1",
            "liblzma5",
            "libzstd1",
        ],
        entrypoint: &["/usr/sbin/rsyslogd", "-n", "-i", "NONE", "-f", "/etc/collector.conf"],
        command: &[],
        description: "a stand-in for fluentd-elasticsearch:1.3: Debian's rsyslog follows /varlog and writes to stdout",
        finish: finish_collector,
    },
];

/// Packs the named images (all when none is named) into `out`.
pub fn pack(root: &Path, out: &Path, names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| RECIPES.iter().all(|recipe| recipe.stem != **name)) {
        let known: Vec<_> = RECIPES.iter().map(|recipe| recipe.stem).collect();
        bail!("no image {unknown}; there are {}", known.join(", "));
    }
    fs::create_dir_all(out)?;
    let work = root.join("target/image-work");
    for recipe in RECIPES.iter().filter(|recipe| names.is_empty() || names.iter().any(|n| n == recipe.stem)) {
        let archive = out.join(format!("{}.tar", recipe.stem));
        if archive.exists() {
            println!("{} is there", archive.display());
            continue;
        }
        let rootfs = work.join(recipe.stem);
        if rootfs.exists() {
            fs::remove_dir_all(&rootfs)?;
        }
        fs::create_dir_all(&rootfs)?;
        let dynamic = recipe.stem != "busybox";
        let libc = if dynamic { LIBC } else { &[] };
        for package in recipe.packages.iter().chain(libc) {
            unpack(&work, package, &rootfs)?;
        }
        drop_what_no_daemon_reads(&rootfs)?;
        (recipe.finish)(&rootfs)?;
        archive::write(
            &archive,
            &rootfs,
            &archive::Config {
                references: recipe.references,
                entrypoint: recipe.entrypoint,
                command: recipe.command,
                description: recipe.description,
            },
        )?;
        println!("{} {} KiB", archive.display(), fs::metadata(&archive)?.len() / 1024);
    }
    Ok(())
}

/// Fetches a Debian package once and unpacks it into `rootfs`.
fn unpack(work: &Path, package: &str, rootfs: &Path) -> Result<()> {
    let packages = work.join("packages");
    fs::create_dir_all(&packages)?;
    let deb = match fetched(&packages, package)? {
        Some(deb) => deb,
        None => {
            run(Command::new("apt-get").args(["download", "-qq", package]).current_dir(&packages))
                .with_context(|| format!("download {package}; `apt-get update` may be due"))?;
            fetched(&packages, package)?.with_context(|| format!("apt-get download left no {package}"))?
        }
    };
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(rootfs)).with_context(|| format!("unpack {package}"))
}

fn fetched(packages: &Path, package: &str) -> Result<Option<PathBuf>> {
    let prefix = format!("{package}_");
    for entry in fs::read_dir(packages)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(&prefix) && name.ends_with(".deb") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn drop_what_no_daemon_reads(rootfs: &Path) -> Result<()> {
    for part in [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/lintian",
        "usr/share/bash-completion",
    ] {
        let path = rootfs.join(part);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

fn write_file(rootfs: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let path = rootfs.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn write_users(rootfs: &Path) -> Result<()> {
    write_file(
        rootfs,
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        0o644,
    )?;
    write_file(rootfs, "etc/group", "root:x:0:\nadm:x:4:\nnogroup:x:65534:\n", 0o644)
}

fn finish_nothing(rootfs: &Path) -> Result<()> {
    write_users(rootfs)
}

/// A link for every applet.
fn finish_busybox(rootfs: &Path) -> Result<()> {
    write_users(rootfs)?;
    let busybox = rootfs.join("bin/busybox");
    let list = Command::new(&busybox).arg("--list").output().context("run busybox --list")?;
    for applet in String::from_utf8(list.stdout)?.lines().filter(|applet| *applet != "busybox") {
        let link = rootfs.join("bin").join(applet);
        if !link.exists() {
            symlink("busybox", &link)?;
        }
    }
    for folder in ["tmp", "root", "var", "proc", "sys", "dev"] {
        fs::create_dir_all(rootfs.join(folder))?;
    }
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok(())
}

/// rsyslog follows the files under /varlog and writes each line, with its file's name, to stdout.
fn finish_collector(rootfs: &Path) -> Result<()> {
    write_users(rootfs)?;
    let configuration = r#"# A log collector's job in the smallest form: follow files, write what they get to stdout.
global(workDirectory="/var/spool/collector" maxMessageSize="64k")
module(load="imfile" mode="inotify")
template(name="line" type="list") {
  property(name="$!metadata!filename")
  constant(value=": ")
  property(name="msg")
  constant(value="\n")
}
input(type="imfile" file="/varlog/*.log" tag="varlog" addMetadata="on" freshStartTail="on" ruleset="out")
input(type="imfile" file="/varlog/*.txt" tag="varlog" addMetadata="on" freshStartTail="on" ruleset="out")
ruleset(name="out") {
  action(type="omfile" file="/dev/stdout" template="line" asyncWriting="off" flushOnTXEnd="on")
}
"#;
    write_file(rootfs, "etc/collector.conf", configuration, 0o644)?;
    for folder in ["var/spool/collector", "varlog", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(rootfs.join(folder))?;
    }
    Ok(())
}
