//! Who a client is: tokens in Pods and from `kubectl create token`, certificates by `kubectl certificate approve`, a
//! new machine with a bootstrap token.

use std::path::PathBuf;
use std::process::Command;

use blackbox::{Kubectl, Machine, SOON, eventually, process};

const READER: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: reader}
spec:
  selector: {matchLabels: {app: reader}}
  template:
    metadata: {labels: {app: reader}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: everynode.local/busybox:1.35
        command: [sleep, "3600"]
"#;

/// A client of the machine's server with these credentials and no others.
fn client(machine: &Machine, name: &str, credentials: &str) -> Kubectl {
    let folder = machine.folder().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let authority = machine.data().join("pki/ca.crt");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{}', certificate-authority: '{}'}}}}]\n\
         users: [{{name: u, user: {{{credentials}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        machine.port,
        authority.display(),
    );
    let file = folder.join("kubeconfig");
    std::fs::write(&file, text).expect("a kubeconfig");
    Kubectl::new("kubectl-current", file)
}

fn who(kubectl: &Kubectl) -> Result<String, String> {
    let ran = kubectl.try_run(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]);
    if ran.ok { Ok(ran.out) } else { Err(ran.err) }
}

/// A key, and a request for a certificate of this subject.
fn request(machine: &Machine, name: &str, subject: &str) -> (PathBuf, String) {
    let (key, request) =
        (machine.folder().join(format!("{name}.key")), machine.folder().join(format!("{name}.csr")));
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        subject,
    ]);
    command.arg("-keyout").arg(&key).arg("-out").arg(&request);
    let out = process::run(&mut command, SOON);
    assert!(out.status.success(), "openssl: {}", String::from_utf8_lossy(&out.stderr));
    let encoded = process::run(Command::new("base64").arg("-w0").arg(&request), SOON);
    (key, String::from_utf8(encoded.stdout).expect("base64"))
}

fn signing_request(name: &str, signer: &str, encoded: &str) -> String {
    format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\n\
         spec: {{request: {encoded}, signerName: {signer}, usages: [digital signature, client auth]}}\n"
    )
}

/// Waits for the certificate; a client that shows it.
fn certified(machine: &Machine, name: &str, key: &std::path::Path) -> Kubectl {
    let certificate = eventually("the certificate is issued", SOON, || {
        let found = machine.kubectl().get(&["csr", name])?;
        let certificate = found["status"]["certificate"].as_str().map(str::to_owned);
        certificate.ok_or_else(|| found["status"].to_string())
    });
    let credentials = format!("client-certificate-data: {certificate}, client-key: '{}'", key.display());
    client(machine, name, &credentials)
}

#[test]
fn a_pods_token_is_its_account_as_long_as_the_pod_lives() {
    let machine = Machine::up(&["busybox"]);
    let kubectl = machine.kubectl();
    kubectl.run(&["create", "namespace", "fresh"]);
    // At once: the namespace's account and certificate are on their way.
    let ran = kubectl.try_with_input(&["apply", "-n", "fresh", "-f", "-"], READER);
    assert!(ran.ok, "{}", ran.err);
    let pod = eventually("the Pod is ready", SOON * 2, || {
        let pods = kubectl.get(&["pods", "-n", "fresh", "-l", "app=reader"])?;
        let ready =
            pods["items"].as_array().into_iter().flatten().find(|pod| blackbox::machine::is_ready(pod));
        ready
            .and_then(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
            .ok_or_else(|| pods.to_string())
    });
    let read = |file: &str| {
        let path = format!("/var/run/secrets/kubernetes.io/serviceaccount/{file}");
        kubectl.run(&["exec", "-n", "fresh", &pod, "--", "cat", &path])
    };
    assert_eq!(read("namespace"), "fresh");
    let authority = std::fs::read_to_string(machine.data().join("pki/ca.crt")).expect("the CA");
    assert_eq!(read("ca.crt"), authority);
    let bearer = client(&machine, "bearer", &format!("token: {}", read("token")));
    assert_eq!(who(&bearer).as_deref(), Ok("system:serviceaccount:fresh:default"));
    let refused = bearer.try_run(&["get", "secrets", "-n", "fresh"]);
    assert!(refused.err.contains("cannot list resource \"secrets\""), "{}", refused.err);

    kubectl.run(&["delete", "ds", "reader", "-n", "fresh"]);
    eventually("the token ends with its Pod", SOON * 2, || match who(&bearer) {
        Err(said) if said.contains("Unauthorized") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn create_token_and_certificate_approve_make_clients() {
    let machine = Machine::server();
    let kubectl = machine.kubectl();
    eventually("the rules of view are written into it", SOON, || {
        let rules = kubectl.run(&["get", "clusterrole", "view", "-o", "jsonpath={.rules[*].resources}"]);
        if rules.contains("pods/log") { Ok(()) } else { Err(rules) }
    });
    kubectl.run(&["create", "serviceaccount", "robot"]);
    let token = kubectl.run(&["create", "token", "robot", "--duration", "20m"]);
    let robot = client(&machine, "robot", &format!("token: {}", token.trim()));
    assert_eq!(who(&robot).as_deref(), Ok("system:serviceaccount:default:robot"));
    kubectl.run(&["create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=default:robot"]);
    assert_eq!(robot.run(&["auth", "can-i", "list", "pods"]).trim(), "yes");
    let secrets = robot.try_run(&["auth", "can-i", "get", "secrets"]);
    assert!(!secrets.ok && secrets.out.starts_with("no"), "{}", secrets.out);

    // The older way: a Secret that names the account.
    kubectl.apply(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n\
         metadata: {name: robots, annotations: {kubernetes.io/service-account.name: robot}}\n",
    );
    let encoded = eventually("the Secret has the account's token", SOON, || {
        let secret = kubectl.get(&["secret", "robots"])?;
        secret["data"]["token"].as_str().map(str::to_owned).ok_or_else(|| secret.to_string())
    });
    let decoded =
        process::run_with_input(Command::new("base64").arg("-d"), Some(encoded.as_bytes()), SOON).stdout;
    let lasting =
        client(&machine, "lasting", &format!("token: {}", String::from_utf8(decoded).expect("a token")));
    assert_eq!(who(&lasting).as_deref(), Ok("system:serviceaccount:default:robot"));
    kubectl.run(&["delete", "secret", "robots"]);
    assert!(who(&lasting).is_err_and(|said| said.contains("Unauthorized")));

    let (key, encoded) = request(&machine, "anna", "/O=people/CN=anna");
    kubectl.apply(&signing_request("anna", "kubernetes.io/kube-apiserver-client", &encoded));
    let pending = kubectl.run(&["get", "csr", "anna"]);
    assert!(pending.contains("Pending") && pending.contains("kubernetes-admin"), "{pending}");
    kubectl.run(&["certificate", "approve", "anna"]);
    let anna = certified(&machine, "anna", &key);
    assert_eq!(who(&anna).as_deref(), Ok("anna"));
    let approved = kubectl.run(&["get", "csr", "anna"]);
    assert!(approved.contains("Approved,Issued"), "{approved}");

    let (_, encoded) = request(&machine, "otto", "/CN=otto");
    kubectl.apply(&signing_request("otto", "kubernetes.io/kube-apiserver-client", &encoded));
    kubectl.run(&["certificate", "deny", "otto"]);
    assert!(kubectl.run(&["get", "csr", "otto"]).contains("Denied"));
}

#[test]
fn a_new_machine_gets_its_certificate_with_a_bootstrap_token() {
    let machine = Machine::server();
    let kubectl = machine.kubectl();
    kubectl.run(&[
        "create",
        "secret",
        "generic",
        "bootstrap-token-abcdef",
        "-n",
        "kube-system",
        "--type=bootstrap.kubernetes.io/token",
        "--from-literal=token-id=abcdef",
        "--from-literal=token-secret=0123456789abcdef",
        "--from-literal=usage-bootstrap-authentication=true",
    ]);
    // As kubeadm binds them.
    for (name, role) in [
        ("bootstrap", "system:node-bootstrapper"),
        ("autoapprove", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"),
    ] {
        let (role, group) = (format!("--clusterrole={role}"), "--group=system:bootstrappers");
        kubectl.run(&["create", "clusterrolebinding", name, &role, group]);
    }
    let newcomer = client(&machine, "newcomer", "token: abcdef.0123456789abcdef");
    assert_eq!(who(&newcomer).as_deref(), Ok("system:bootstrap:abcdef"));
    let (key, encoded) = request(&machine, "fresh-node", "/O=system:nodes/CN=system:node:fresh-node");
    let asked = signing_request("fresh-node", "kubernetes.io/kube-apiserver-client-kubelet", &encoded);
    let made = newcomer.try_with_input(&["create", "-f", "-"], &asked);
    assert!(made.ok, "{}", made.err);
    let node = certified(&machine, "fresh-node", &key);
    assert_eq!(who(&node).as_deref(), Ok("system:node:fresh-node"));
    let own = node.try_run(&["get", "node", "fresh-node"]);
    assert!(own.err.contains("NotFound"), "it may look for itself: {}", own.err);
    let others = node.try_run(&["get", "nodes"]);
    assert!(others.err.contains("only its own Node object"), "{}", others.err);
    let secrets = node.try_run(&["get", "secret", "bootstrap-token-abcdef", "-n", "kube-system"]);
    assert!(secrets.err.contains("no relationship found"), "{}", secrets.err);

    // A token that has ended is taken away, and with it who holds it.
    let ended = "{\"stringData\": {\"expiration\": \"2020-01-01T00:00:00Z\"}}";
    kubectl.run(&[
        "patch",
        "secret",
        "bootstrap-token-abcdef",
        "-n",
        "kube-system",
        "--type=merge",
        "-p",
        ended,
    ]);
    eventually("the ended token is removed", SOON, || {
        match kubectl.get(&["secret", "bootstrap-token-abcdef", "-n", "kube-system"]) {
            Err(said) if said.contains("NotFound") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(who(&newcomer).is_err_and(|said| said.contains("Unauthorized")));
}
