//! Bodies as Go's clients write them: some byte by byte, some built by a small writer.

use serde_json::{Value, json};

use super::schema::Schema;
use super::{ProtobufError, decode_object};

/// A field of bytes, text or a message.
fn field(tag: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let mut out = varint(tag << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

fn number(tag: u64, value: i64) -> Vec<u8> {
    [varint(tag << 3), varint(value.cast_unsigned())].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, version), field(2, kind)].concat();
    let unknown = [field(1, type_meta), field(2, raw), field(3, ""), field(4, "")].concat();
    [b"k8s\0".as_slice(), &unknown].concat()
}

fn decoded(version: &str, kind: &str, parts: &[Vec<u8>]) -> Value {
    decode_object(&envelope(version, kind, &parts.concat())).unwrap()
}

#[test]
fn every_line_of_the_table_is_understood_and_every_served_kind_is_in_it() {
    let schema = Schema::parse(include_str!("fields.txt")).unwrap();
    for resource in api::scheme::RESOURCES {
        let name = super::message_name(&resource.api_version(), resource.kind);
        assert!(schema.find(&name).is_some(), "{name}");
        for sub in resource.subresources.iter().filter(|sub| matches!(sub.name, "binding" | "eviction")) {
            let (group, version) = sub.group_version.unwrap_or((resource.group, resource.version));
            let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            assert!(schema.find(&super::message_name(&version, sub.kind)).is_some(), "{}", sub.kind);
        }
    }
    assert!(schema.find(&super::message_name("apps/v1", "DeleteOptions")).is_some());
}

#[test]
fn a_namespace_as_bytes() {
    // As `kubectl create namespace a` sends it: empty texts, an empty time, empty spec and status are written.
    let body = [
        b"k8s\0".as_slice(),
        &[0x0a, 15, 0x0a, 2, b'v', b'1', 0x12, 9],
        b"Namespace",
        &[0x12, 25],                                 // raw
        &[0x0a, 17],                                 // metadata
        &[0x0a, 1, b'a', 0x12, 0, 0x1a, 0, 0x22, 0], // name, generateName, namespace, selfLink
        &[0x2a, 0, 0x32, 0, 0x38, 0, 0x42, 0],       // uid, resourceVersion, generation, creationTimestamp
        &[0x12, 0, 0x1a, 2, 0x0a, 0],                // spec, status with an empty phase
        &[0x1a, 0, 0x22, 0],                         // contentEncoding, contentType
    ]
    .concat();
    assert_eq!(
        decode_object(&body).unwrap(),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}, "spec": {}, "status": {}})
    );
}

#[test]
fn a_secret_s_data_is_base64_and_its_zero_pointer_is_kept() {
    let entry = [field(1, "key"), field(2, [0xff, 0x00, 0x01])].concat();
    let empty = field(1, "none");
    let secret =
        decoded("v1", "Secret", &[field(2, entry), field(2, empty), field(3, "Opaque"), number(5, 0)]);
    assert_eq!(
        secret,
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": false,
               "data": {"key": "/wAB", "none": ""}})
    );
}

#[test]
fn a_pod_s_inlined_messages_pointers_and_zeros_are_as_in_its_json() {
    let get = [field(1, "/ready"), field(2, [number(1, 0), number(2, 8080), field(3, "")].concat())].concat();
    let probe = [field(1, field(2, get)), number(2, 0), number(3, 5), number(7, 0)].concat();
    let limits = [field(1, "cpu"), field(2, field(1, "100m"))].concat();
    let secret_env = [field(1, field(1, "s")), field(2, "k")].concat();
    let env = [field(1, "A"), field(2, ""), field(3, field(4, secret_env))].concat();
    let context = [number(4, 0), number(2, 0)].concat();
    let container = [
        field(1, "c"),
        field(2, "img"),
        field(3, "sleep"),
        field(3, ""),
        field(7, env),
        field(8, field(1, limits)),
        field(11, probe),
        field(15, context),
        number(16, 0),
    ]
    .concat();
    let volume = [field(1, "v"), field(2, field(2, field(1, "")))].concat();
    let toleration = [field(1, ""), field(2, "Exists"), number(5, 0)].concat();
    let spec =
        [field(1, volume), field(2, container), number(4, 0), number(11, 0), field(22, toleration)].concat();
    let pod = decoded("v1", "Pod", &[field(2, spec)]);
    assert_eq!(
        pod["spec"],
        json!({
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{
                "name": "c", "image": "img", "command": ["sleep", ""],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "resources": {"limits": {"cpu": "100m"}},
                "readinessProbe": {
                    "httpGet": {"path": "/ready", "port": 8080}, "timeoutSeconds": 5,
                    "terminationGracePeriodSeconds": 0,
                },
                "securityContext": {"runAsUser": 0, "privileged": false},
            }],
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists", "tolerationSeconds": 0}],
        })
    );
}

#[test]
fn times_int_or_strings_and_raw_json_have_their_json_forms() {
    let at = [number(1, 1_700_000_000), number(2, 123_456_789)].concat();
    let lease = decoded(
        "coordination.k8s.io/v1",
        "Lease",
        &[
            field(1, field(8, &at)),
            field(2, [field(1, "me"), number(2, 0), field(4, &at), field(3, "")].concat()),
        ],
    );
    assert_eq!(lease["metadata"], json!({"creationTimestamp": "2023-11-14T22:13:20Z"}));
    assert_eq!(
        lease["spec"],
        json!({"holderIdentity": "me", "leaseDurationSeconds": 0, "renewTime": "2023-11-14T22:13:20.123456Z"})
    );
    let percent = [number(1, 1), number(2, 0), field(3, "10%")].concat();
    let strategy = [field(1, "RollingUpdate"), field(2, field(1, percent))].concat();
    let set = decoded("apps/v1", "DaemonSet", &[field(2, field(3, strategy))]);
    assert_eq!(
        set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}})
    );
    let revision =
        decoded("apps/v1", "ControllerRevision", &[field(2, field(1, r#"{"a":1}"#)), number(3, 7)]);
    assert_eq!((&revision["data"], &revision["revision"]), (&json!({"a": 1}), &json!(7)));
}

#[test]
fn integers_are_read_packed_and_not_and_may_be_negative() {
    let groups = [number(4, 1), number(4, -2), field(4, [3, 4])].concat();
    let pod = decoded("v1", "Pod", &[field(2, field(14, groups))]);
    assert_eq!(pod["spec"]["securityContext"]["supplementalGroups"], json!([1, -2, 3, 4]));
    let class = decoded("scheduling.k8s.io/v1", "PriorityClass", &[number(2, -5), number(3, 0)]);
    assert_eq!(class["value"], json!(-5));
    assert_eq!(class.get("globalDefault"), None);
}

#[test]
fn a_message_that_stands_twice_is_merged_and_unknown_fields_are_skipped() {
    let options = decoded(
        "rbac.authorization.k8s.io/v1",
        "DeleteOptions",
        &[number(1, 0), field(2, field(1, "u")), field(2, field(2, "5")), field(500, "?"), field(5, "All")],
    );
    assert_eq!(options["gracePeriodSeconds"], json!(0));
    assert_eq!(options["preconditions"], json!({"uid": "u", "resourceVersion": "5"}));
    assert_eq!(options["dryRun"], json!(["All"]));
}

#[test]
fn what_is_malformed_is_refused_with_its_reason() {
    let refused = |raw: &[u8]| decode_object(&envelope("v1", "Pod", raw)).unwrap_err();
    assert_eq!(decode_object(b"{}"), Err(ProtobufError::Magic));
    assert_eq!(decode_object(b"k8s\0"), Err(ProtobufError::NoKind));
    assert!(matches!(
        decode_object(&envelope("v1", "Gadget", b"")),
        Err(ProtobufError::UnknownKind { kind, .. }) if kind == "Gadget"
    ));
    assert_eq!(refused(&[0x0a, 5, 1]), ProtobufError::Truncated);
    assert_eq!(refused(&[0x0a; 1]), ProtobufError::Truncated);
    assert_eq!(refused(&[0xff; 12]), ProtobufError::Overflow);
    assert_eq!(refused(&[0x02, 0]), ProtobufError::Tag(0));
    assert_eq!(refused(&[0x0b]), ProtobufError::WireType(3));
    assert_eq!(refused(&number(1, 3)), ProtobufError::Mismatch("metadata".to_owned()));
    assert_eq!(refused(&field(1, field(1, [0xff]))), ProtobufError::Utf8("name".to_owned()));
    let late = number(1, i64::MAX);
    assert_eq!(refused(&field(1, field(8, late))), ProtobufError::Time("creationTimestamp".to_owned()));
    assert_eq!(
        decode_object(&envelope("apps/v1", "ControllerRevision", &field(2, field(1, "{")))),
        Err(ProtobufError::RawJson("data".to_owned()))
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(kind in 0..api::scheme::RESOURCES.len(), raw: Vec<u8>) {
        let resource = &api::scheme::RESOURCES[kind];
        let _ = decode_object(&envelope(&resource.api_version(), resource.kind, &raw));
        let _ = decode_object(&[b"k8s\0".as_slice(), &raw].concat());
    }
}
