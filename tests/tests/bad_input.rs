//! Bad input: upstream's error, and a hint where ours adds one.

use blackbox::{Machine, SOON, eventually};
use std::process::Command;

const GOOD: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: good}
spec:
  selector: {matchLabels: {app: good}}
  template:
    metadata: {labels: {app: good}}
    spec:
      containers:
      - {name: main, image: "everynode.local/busybox:1.35"}
"#;

#[test]
fn wrong_manifests_are_refused_with_upstreams_words() {
    let machine = Machine::server();
    let kubectl = machine.kubectl();
    let refused = |manifest: &str| {
        let ran = kubectl.try_with_input(&["create", "--validate=false", "-f", "-"], manifest);
        assert!(!ran.ok, "accepted: {}", ran.out);
        ran.err
    };

    let dots = refused("apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: dots}\nspec: ...\n");
    assert_eq!(
        dots.trim(),
        "Error from server (BadRequest): error when creating \"STDIN\": DaemonSet in version \"v1\" cannot be \
         handled as a DaemonSet: json: cannot unmarshal string into Go struct field DaemonSet.spec of type \
         v1.DaemonSetSpec",
    );

    let unknown = refused("apiVersion: apps/v1\nkind: DaemonSets\nmetadata: {name: x}\n");
    assert_eq!(
        unknown.trim(),
        "error: resource mapping not found for name: \"x\" namespace: \"\" from \"STDIN\": no matches for kind \
         \"DaemonSets\" in version \"apps/v1\"\nensure CRDs are installed first",
    );

    let mismatch = refused(&GOOD.replace("labels: {app: good}", "labels: {app: other}"));
    assert_eq!(
        mismatch.trim(),
        "The DaemonSet \"good\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: \
         `selector` does not match template `labels`",
    );

    let both_zero = GOOD.replace(
        "spec:\n  selector",
        "spec:\n  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 0}}\n  selector",
    );
    let zero = refused(&both_zero);
    assert_eq!(
        zero.trim(),
        "The DaemonSet \"good\" is invalid: spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: \
         cannot be 0 when maxSurge is 0",
    );

    let annotation = GOOD.replace(
        "metadata: {labels: {app: good}}",
        "metadata: {labels: {app: good}, annotations: {scheduler.alpha.kubernetes.io/affinity: '{broken'}}",
    );
    let malformed = refused(&annotation);
    assert_eq!(
        malformed.trim(),
        "The DaemonSet \"good\" is invalid: \
         spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/affinity]: Invalid value: \"{broken\": must \
         be the JSON of an affinity: key must be a string at line 1 column 2",
    );

    let typo = kubectl.try_with_input(&["create", "-f", "-"], &GOOD.replace("selector:", "selecter:"));
    assert!(!typo.ok, "accepted: {}", typo.out);
    assert_eq!(
        typo.err.trim(),
        "Error from server (BadRequest): error when creating \"STDIN\": DaemonSet in version \"v1\" cannot be \
         handled as a DaemonSet: strict decoding error: unknown field \"spec.selecter\"",
    );
    assert!(kubectl.run(&["get", "ds", "-A", "--no-headers"]).is_empty(), "nothing was stored");
}

#[test]
fn a_body_of_five_mebibytes_is_refused_with_413() {
    let machine = Machine::server();
    let body = machine.folder().join("big.json");
    let big = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"big\"}},\"data\":{{\"k\":\"{}\"}}}}",
        "x".repeat(5 << 20)
    );
    std::fs::write(&body, big).expect("write");
    let path = "/api/v1/namespaces/default/configmaps";
    let ran = machine.kubectl().try_run(&["create", "--raw", path, "-f", &body.display().to_string()]);
    assert!(!ran.ok);
    assert_eq!(
        ran.err.trim(),
        "Error from server (RequestEntityTooLarge): Request entity too large: limit is 3145728"
    );
}

#[test]
fn the_wrong_certificate_and_none_are_refused() {
    let machine = Machine::server();
    let other = Machine::server();
    // Another server's admin: its certificate is signed by another CA, and so is the server's in its eyes.
    let theirs = other.kubectl().run(&["config", "view", "--raw"]);
    let file = machine.folder().join("stranger.kubeconfig");
    std::fs::write(&file, theirs.replace(&other.port.to_string(), &machine.port.to_string())).expect("write");
    let stranger = blackbox::Kubectl::new("kubectl-current", file);
    let ran = stranger.try_run(&["get", "nodes"]);
    assert!(!ran.ok, "{}", ran.out);
    let last = ran.err.lines().last().unwrap_or_default();
    assert_eq!(
        last,
        "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown \
         authority (possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority \
         certificate \"everynode-ca\")"
    );

    // Where the stranger trusts whoever answers, it is this server that does not know the stranger; nor somebody without
    // any certificate.
    let get = |path: &str, arguments: &[&str]| {
        let url = format!("https://127.0.0.1:{}{path}", machine.port);
        let mut curl = Command::new("curl");
        let out =
            blackbox::process::run(curl.args(["-sSk", "-w", "\n%{http_code}", &url]).args(arguments), SOON);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').expect("a code");
        (code.to_owned(), serde_json::from_str::<serde_json::Value>(body).expect("a Status"))
    };
    let unauthorized = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
    });
    let part = |field: &str, name: &str| {
        let path = format!("jsonpath={{.users[0].user.{field}}}");
        let encoded = stranger.run(&["config", "view", "--raw", "-o", &path]);
        let decoded = blackbox::process::run_with_input(
            Command::new("base64").arg("-d"),
            Some(encoded.as_bytes()),
            SOON,
        );
        let file = machine.folder().join(name);
        std::fs::write(&file, decoded.stdout).expect("write");
        file.display().to_string()
    };
    let (cert, key) = (part("client-certificate-data", "cert.pem"), part("client-key-data", "key.pem"));
    for path in ["/api/v1/nodes", "/livez"] {
        let refused = get(path, &["--cert", &cert, "--key", &key]);
        assert_eq!(refused, ("401".to_owned(), unauthorized.clone()), "{path}");
    }
    assert_eq!(get("/api/v1/nodes", &[]), ("401".to_owned(), unauthorized));

    // What a load balancer asks is answered; acting as somebody else is that somebody's right only.
    let url = format!("https://127.0.0.1:{}/livez", machine.port);
    let out = blackbox::process::run(Command::new("curl").args(["-sk", &url]), SOON);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "ok");
    let ran = machine.kubectl().try_run(&["get", "nodes", "--as=jane"]);
    assert_eq!(
        ran.err.trim(),
        "Error from server (Forbidden): nodes is forbidden: User \"jane\" cannot list resource \"nodes\" in API \
         group \"\" at the cluster scope"
    );
}

#[test]
fn a_node_reads_only_what_its_pods_name() {
    let machine = Machine::up(&[]);
    let kubectl = machine.kubectl();
    kubectl.run(&["create", "secret", "generic", "private", "--from-literal=k=v"]);
    let user = format!("system:node:{}", machine.node);
    let node = machine.data().join("agent.kubeconfig");
    eventually("the node's credentials are there", SOON, || {
        if node.exists() { Ok(()) } else { Err("no".into()) }
    });
    let node = blackbox::Kubectl::new("kubectl-current", node);
    let ran = node.try_run(&["get", "secret", "private"]);
    assert!(!ran.ok && ran.err.contains("forbidden") && ran.err.contains(&user), "{}", ran.err);
    let ran = node.try_run(&["get", "secrets", "-A"]);
    assert!(!ran.ok && ran.err.contains("forbidden"), "{}", ran.err);
    let ran = node.try_run(&["get", "node", &machine.node]);
    assert!(ran.ok, "{}", ran.err);
}
