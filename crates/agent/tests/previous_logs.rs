//! The agent's own HTTPS API: which life of a container `kubectl logs --previous` shows, usage, configuration.

#[path = "support/fake_node.rs"]
mod fake_node;
#[path = "support/waiting.rs"]
mod waiting;

use std::path::Path;
use std::sync::Arc;

use agent::{Agent, HttpConfig, Tls};
use base64::Engine;
use cri::fake::{Ending, FakeRuntime};
use fake_node::FakeNode;
use process::{Shutdown, Tasks};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use waiting::{DEADLINE, eventually};

/// A certificate authority, and what it says of a server at 127.0.0.1 and of an administrator.
struct Certificates {
    ca: rcgen::Certificate,
    server: (String, String),
    admin: (String, String),
}

fn certificates() -> Certificates {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let issue = |names: Vec<String>, group: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, group);
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let server = issue(vec!["127.0.0.1".to_owned()], "server");
    let admin = issue(Vec::new(), "system:masters");
    Certificates { ca, server, admin }
}

fn client(certificates: &Certificates, agent: &Agent) -> kube::Client {
    let url = format!("https://{}/", agent.http_addr().unwrap());
    let mut config = kube::Config::new(url.parse().unwrap());
    config.root_cert = Some(vec![certificates.ca.der().to_vec()]);
    let (certificate, key) = &certificates.admin;
    let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
    config.auth_info.client_certificate_data = Some(encode(certificate));
    config.auth_info.client_key_data = Some(encode(key).into());
    kube::Client::try_from(config).unwrap()
}

/// The runtime writes logs; the fake one only knows where.
fn write_log(runtime: &FakeRuntime, attempt: u32) {
    let all = runtime.containers();
    let life = all.iter().find(|container| container.attempt == attempt).unwrap();
    let path = Path::new(&life.log_path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("2026-01-01T00:00:00.000000001Z stdout F life {attempt}\n")).unwrap();
}

/// An agent alone with one static Pod, whose HTTPS API is asked as its server would.
struct Asked {
    runtime: Arc<FakeRuntime>,
    agent: Agent,
    tasks: Tasks,
    client: kube::Client,
    _folder: tempfile::TempDir,
}

async fn start() -> Asked {
    let node = FakeNode::new();
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: c, image: 'web:1'}\n";
    std::fs::write(node.manifests().join("web.yaml"), manifest).unwrap();
    let made = certificates();
    let mut config = node.config();
    let (certificate_pem, key_pem) = made.server.clone();
    let tls = Tls { certificate_pem, key_pem, client_ca_pem: made.ca.pem() };
    config.http = Some(HttpConfig { listen: "127.0.0.1:0".parse().unwrap(), tls });
    let tasks = Tasks::new(Shutdown::new());
    let agent = Agent::start(config, &tasks).await.unwrap();
    let client = client(&made, &agent);
    Asked { runtime: node.runtime, agent, tasks, client, _folder: node.folder }
}

#[tokio::test]
async fn usage_and_configuration_are_served_in_the_forms_that_dashboards_read() {
    let Asked { runtime, agent, tasks, client, _folder } = start().await;
    let ready = async || {
        let status = agent.pods().first()?.status.clone()?.container_statuses?.into_iter().next()?;
        (status.ready && !runtime.running("c").is_empty()).then_some(())
    };
    eventually("it runs", ready).await;
    let get = async |path: &str| {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        client.request_text(request).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let summary: serde_json::Value = serde_json::from_str(&get("/stats/summary").await).unwrap();
    assert_eq!(summary["node"]["nodeName"], "n1");
    assert_eq!(summary["pods"][0]["podRef"]["name"], "web-n1");
    let resource = get("/metrics/resource").await;
    assert!(
        resource.contains("pod_memory_working_set_bytes{namespace=\"default\",pod=\"web-n1\"}"),
        "{resource}"
    );
    assert!(get("/metrics/cadvisor").await.contains("container=\"c\""));
    let config: serde_json::Value = serde_json::from_str(&get("/configz").await).unwrap();
    assert!(config["kubeletconfig"]["staticPodPath"].as_str().unwrap().ends_with("/manifests"));
    assert!(tasks.shutdown(DEADLINE).await.is_empty());
}

#[tokio::test]
async fn previous_life_is_the_last_one_that_ended_in_a_crash_loop_too() {
    let Asked { runtime, agent, tasks, client, _folder } = start().await;
    let logs = async |query: &str| {
        let request = http::Request::get(format!("/containerLogs/default/web-n1/c{query}"));
        client.request_text(request.body(Vec::new()).unwrap()).await
    };
    let status = || agent.pods().first()?.status.clone()?.container_statuses?.into_iter().next();
    let life = async |count: i32| {
        let reached = async || status().filter(|status| status.ready && status.restart_count == count);
        eventually("a life", reached).await;
        eventually("its container", async || runtime.running("c").first().cloned()).await
    };

    let first = life(0).await;
    write_log(&runtime, 0);
    assert_eq!(logs("").await.unwrap(), "life 0\n");
    let none = logs("?previous=true").await.unwrap_err().to_string();
    assert!(none.contains("previous terminated container \"c\" in pod \"web-n1\" not found"), "{none}");

    runtime.exit_container(&first, Ending::code(1));
    let second = life(1).await;
    write_log(&runtime, 1);
    assert_eq!(logs("").await.unwrap(), "life 1\n");
    assert_eq!(logs("?previous=true").await.unwrap(), "life 0\n");

    runtime.exit_container(&second, Ending::code(1));
    let waits = async || {
        let reason = status()?.state?.waiting?.reason?;
        (reason == "CrashLoopBackOff").then_some(())
    };
    eventually("a crash loop", waits).await;
    assert_eq!(logs("?previous=true").await.unwrap(), "life 1\n");
    assert_eq!(logs("").await.unwrap(), "life 1\n");
    assert!(tasks.shutdown(DEADLINE).await.is_empty());
}
