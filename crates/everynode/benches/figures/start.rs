//! Static manifest → the container's first instruction, beside the same Pod by bare CRI calls.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use cri::{
    ContainerConfig, ContainerSecurity, Mount, NamespaceMode, Namespaces, Runtime, SandboxConfig,
    SandboxSecurity,
};

use crate::instance::Instance;
use crate::median;

const ROUNDS: usize = 10;
/// Parent of the floor's cgroups: runc makes it and never removes it.
const CGROUP: &str = "everynode-bench";
const IMAGE: &str = "everynode.local/busybox:1.35";
/// How often the bench looks for the container's sign of life: far below what is measured.
const LOOK_AGAIN_US: u64 = 300;
const DEADLINE_SECONDS: u64 = 60;

pub async fn run() -> Result<()> {
    let agent = Instance::start("agent")?;
    agent.load("busybox")?;
    let out = agent.folder.path().join("out");
    std::fs::create_dir(&out)?;
    let runtime = cri::RemoteRuntime::connect(&format!("unix://{}", agent.containerd_socket().display()))?;
    let (mut floors, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    // One round of each is not counted: the first start reads the image from disk.
    for round in 0..=ROUNDS {
        let floor = bare(&runtime, &out, round).await?;
        let (start, end) = by_manifest(&agent, &out, round).await?;
        if round > 0 {
            floors.push(floor);
            starts.push(start);
            ends.push(end);
        }
    }
    remove_cgroup();
    let (floor, start) = (median(&mut floors), median(&mut starts));
    println!("static manifest to first instruction   {:>8.1} ms", start * 1e3);
    println!(
        "  floor: bare CRI calls                {:>8.1} ms   ratio {:.2} (aim 1.3)",
        floor * 1e3,
        start / floor
    );
    println!("manifest removed to sign of the end    {:>8.1} ms", median(&mut ends) * 1e3);
    Ok(())
}

/// In every hierarchy (v1), or in the one (v2); what is not there or not empty stays as it is.
fn remove_cgroup() {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        let _ = std::fs::remove_dir(hierarchy.join(CGROUP));
    }
}

fn script(sign: &str) -> String {
    format!(
        "echo > /out/{sign}; trap 'rm -f /out/{sign}; exit 0' TERM; while :; do sleep 1000 & wait $!; done"
    )
}

async fn until(path: &Path, there: bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(DEADLINE_SECONDS);
    while path.exists() != there {
        if Instant::now() > end {
            bail!("{} did not {}", path.display(), if there { "appear" } else { "go" });
        }
        tokio::time::sleep(Duration::from_micros(LOOK_AGAIN_US)).await;
    }
    Ok(())
}

async fn by_manifest(agent: &Instance, out: &Path, round: usize) -> Result<(f64, f64)> {
    let sign = format!("agent-{round}");
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {sign}}}\nspec:\n  hostNetwork: true\n  \
         terminationGracePeriodSeconds: 5\n  containers:\n  - name: main\n    image: {IMAGE}\n    \
         command: [sh, -c, \"{}\"]\n    volumeMounts: [{{name: out, mountPath: /out}}]\n  volumes:\n  \
         - {{name: out, hostPath: {{path: {}}}}}\n",
        script(&sign),
        out.display()
    );
    let draft = agent.manifests().join(format!(".{sign}"));
    let file = agent.manifests().join(format!("{sign}.yaml"));
    std::fs::write(&draft, manifest)?;
    let started = Instant::now();
    std::fs::rename(&draft, &file)?;
    until(&out.join(&sign), true).await?;
    let start = started.elapsed().as_secs_f64();
    let removed = Instant::now();
    std::fs::remove_file(&file)?;
    until(&out.join(&sign), false).await?;
    let end = removed.elapsed().as_secs_f64();
    // Let its cleanup end, so that it does not run beside the next round's floor.
    tokio::time::sleep(Duration::from_millis(400)).await;
    Ok((start, end))
}

async fn bare(runtime: &cri::RemoteRuntime, out: &Path, round: usize) -> Result<f64> {
    let sign = format!("bare-{round}");
    let namespaces = Namespaces { network: NamespaceMode::Node, ..Namespaces::default() };
    let sandbox = SandboxConfig {
        name: sign.clone(),
        namespace: "bench".to_owned(),
        uid: sign.clone(),
        hostname: String::new(),
        log_directory: format!("{}/logs", out.display()),
        cgroup_parent: format!("/{CGROUP}"),
        security: SandboxSecurity { namespaces: namespaces.clone(), ..Default::default() },
        ..Default::default()
    };
    let container = ContainerConfig {
        name: "main".to_owned(),
        image: IMAGE.to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned(), script(&sign)],
        mounts: vec![Mount {
            container_path: "/out".to_owned(),
            host_path: out.display().to_string(),
            read_only: false,
            recursive_read_only: false,
            propagation: cri::Propagation::default(),
            selinux_relabel: false,
        }],
        log_path: format!("{sign}.log"),
        security: ContainerSecurity { namespaces, ..Default::default() },
        ..Default::default()
    };
    let started = Instant::now();
    let pod = runtime.run_sandbox(&sandbox).await?;
    let id = runtime.create_container(&pod, &container, &sandbox).await?;
    runtime.start_container(&id).await?;
    until(&out.join(&sign), true).await?;
    let elapsed = started.elapsed().as_secs_f64();
    runtime.stop_container(&id, Duration::from_secs(5)).await?;
    runtime.stop_sandbox(&pod).await?;
    runtime.remove_sandbox(&pod).await?;
    Ok(elapsed)
}
