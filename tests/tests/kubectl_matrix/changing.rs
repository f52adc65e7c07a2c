//! label, annotate, patch, set, edit, taint, cordon, wait, certificate.

use crate::session::{Row, Session, fails, ok, since};

/// A PEM certificate request of `CN=jane, O=people`.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIYU1JR0NBZ0VBTUNBeERUQUxCZ05WQkFNTUJHcGhibVV4RHpBTkJnTlZCQW9NQm5CbGIzQnNaVEJaTUJNRwpCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQkhjL0MrQ2VsU1hROWdHU1N3RElNak51OTREcHNWc1RZYzVDCjBIWE5IbWdKaGc3RmZHcHlicVl3azF0a29QTXRxck5URFNpYnZxZ1JtbjFOY1pQZHA4bWdBREFLQmdncWhrak8KUFFRREFnTkhBREJFQWlCUWxlTTM1TjZ1dFhZaGN2YW1QUE11ci9PL2UwblN4a2tIU1RIdDlhczlnQUlnWTdrSApIdmlkbU14aThjeGxVV1J2dTk1RXg2dkx4UFUxWldYVGF2NDlVZkk9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

const ROWS: &[Row] = &[
    ok("label cm settings tier=a", &["configmap/settings labeled"]),
    fails("label cm settings tier=b", &["already has a value (a), and --overwrite is false"]),
    ok("label cm settings tier=b --overwrite", &["configmap/settings labeled"]),
    ok("get cm -l tier=b -o name", &["configmap/settings"]),
    ok("label cm settings tier-", &["configmap/settings"]),
    ok("annotate cm settings note=kept", &["configmap/settings annotated"]),
    ok("annotate cm settings note-", &["configmap/settings annotated"]),
    ok("patch cm settings -p '{\"data\":{\"strategic\":\"1\"}}'", &["configmap/settings patched"]),
    ok(
        "patch cm settings --type=merge -p '{\"data\":{\"merge\":\"2\",\"a\":null}}'",
        &["configmap/settings patched"],
    ),
    ok(
        "patch cm settings --type=json -p '[{\"op\":\"add\",\"path\":\"/data/json\",\"value\":\"3\"}]'",
        &["configmap/settings patched"],
    ),
    ok("get cm settings -o jsonpath={.data.strategic}{.data.merge}{.data.json}<{.data.a}>", &["123<>"]),
    ok(
        "patch cm settings --type=merge -p '{\"data\":{\"merge\":\"2\"}}'",
        &["configmap/settings patched (no change)"],
    ),
    fails(
        "patch cm settings --type=json -p '[{\"op\":\"test\",\"path\":\"/data/json\",\"value\":\"4\"}]'",
        &["The request is invalid"],
    ),
    since(
        24,
        "patch node made --subresource=status --type=merge -p '{\"status\":{\"phase\":\"Running\"}}'",
        &["node/made patched"],
    ),
    since(24, "get node made --subresource=status -o jsonpath={.status.phase}", &["Running"]),
    ok("edit cm settings", &["configmap/settings edited"]),
    ok("get cm settings -o jsonpath={.data.text}", &["after"]),
    ok("set image ds/logger main=everynode.local/busybox:1.36", &["daemonset.apps/logger image updated"]),
    ok("set env ds/logger A=b", &["daemonset.apps/logger env updated"]),
    ok("set resources ds logger --limits=cpu=200m", &["daemonset.apps/logger resource requirements updated"]),
    ok("set serviceaccount ds logger robot", &["daemonset.apps/logger serviceaccount updated"]),
    ok(
        "get ds logger -o jsonpath={.spec.template.spec.containers[0].env[0].value}{.spec.template.spec.serviceAccountName}",
        &["brobot"],
    ),
    ok(
        "set subject clusterrolebinding watcher --user=bob",
        &["clusterrolebinding.rbac.authorization.k8s.io/watcher subjects updated"],
    ),
    ok("taint node made dedicated=gpu:NoSchedule", &["node/made tainted"]),
    ok("taint node made dedicated-", &["node/made"]),
    ok("cordon made", &["node/made cordoned"]),
    ok("get node made", &["SchedulingDisabled"]),
    ok("drain made --ignore-daemonsets", &["node/made"]),
    ok("uncordon made", &["node/made uncordoned"]),
    since(
        23,
        "wait --for=jsonpath={.data.merge}=2 cm/settings --timeout=10s",
        &["configmap/settings condition met"],
    ),
    since(31, "wait --for=create cm/settings --timeout=10s", &["configmap/settings condition met"]),
    fails(
        "wait --for=condition=Ready pod/once --timeout=100ms",
        &["timed out waiting for the condition on pods/once"],
    ),
    ok("create -f request.yaml", &["certificatesigningrequest.certificates.k8s.io/jane created"]),
    ok("get csr", &["SIGNERNAME", "CONDITION", "example.com/people", "Pending"]),
    ok("describe csr jane", &["Subject:", "jane", "people"]),
    ok("certificate approve jane", &["certificatesigningrequest.certificates.k8s.io/jane approved"]),
    ok("get csr jane", &["Approved"]),
    ok("create -f denied.yaml", &["certificatesigningrequest.certificates.k8s.io/denied created"]),
    ok("certificate deny denied", &["certificatesigningrequest.certificates.k8s.io/denied denied"]),
    ok("get csr denied", &["Denied"]),
];

pub fn run(session: &Session) {
    let request = format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: jane}}\nspec:\n  \
         request: {REQUEST}\n  signerName: example.com/people\n  usages: [client auth]\n"
    );
    session.file("request.yaml", &request);
    session.file("denied.yaml", &request.replace("name: jane", "name: denied"));
    session.table(ROWS);

    let mut waits = session.kubectl.start(&["wait", "--for=delete", "cm/late", "--timeout=60s"]);
    session.call("delete cm late");
    let ended = waits.wait().expect("wait");
    // One that looked too late says so; it did not wait for nothing.
    assert!(ended.success() || session.minor < 24, "{ended}");
}
