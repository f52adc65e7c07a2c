//! Clients that are slow, many, huge or wrong: each gets its error, memory stays within bounds, others are served.

use std::time::Duration;

use blackbox::wire::{As, Wire, reply};
use blackbox::{Machine, SOON, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "content-type: application/json\r\n";

/// Answers that cannot take long however busy the machine is.
const PROMPTLY: Duration = Duration::from_secs(20);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Resident memory of the server.
fn mebibytes(machine: &Machine) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", machine.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}

/// Another client is served meanwhile.
async fn serves(wire: &Wire) {
    let asked = tokio::time::timeout(PROMPTLY, wire.ask("GET", "/api/v1/namespaces/default", "", b"")).await;
    let answer = asked.expect("others are answered promptly").expect("others are answered");
    assert_eq!(answer.code, 200, "{answer:?}");
}

fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn ten_thousand_connections_of_nobody_leave_room_for_who_has_a_certificate() {
    const CONNECTIONS: usize = 10_000;
    /// About 20 KiB for each connection that is kept, and what a server needs anyway.
    const MEBIBYTES_MAX: u64 = 400;
    blackbox::process::allow_many_files();

    let machine = Machine::server();
    let (nobody, admin) = (Wire::new(&machine, As::Nobody), Wire::new(&machine, As::Admin));
    runtime().block_on(async {
        let mut open = Vec::with_capacity(CONNECTIONS);
        while open.len() < CONNECTIONS {
            let batch = (0..64.min(CONNECTIONS - open.len())).map(|_| nobody.connect());
            for connected in futures::future::join_all(batch).await {
                open.push(connected.expect("a handshake"));
            }
        }
        serves(&admin).await;
        let refused = nobody.ask("GET", "/api/v1/pods", "", b"").await;
        assert!(refused.is_err(), "one more of nobody is closed: {refused:?}");
        let memory = mebibytes(&machine);
        assert!(memory < MEBIBYTES_MAX, "{memory} MiB");
        drop(open);
        let again = tokio::time::timeout(PROMPTLY, async {
            loop {
                if let Ok(answer) = nobody.ask("GET", "/livez", "", b"").await {
                    return answer;
                }
            }
        });
        assert_eq!(again.await.expect("their places are free again").body, "ok");
    });
}

#[test]
fn slow_senders_of_headers_and_bodies_are_cut_off() {
    let machine = Machine::server();
    let admin = Wire::new(&machine, As::Admin);
    runtime().block_on(async {
        let mut slow = tokio::task::JoinSet::new();
        for number in 0..200 {
            let admin = admin.clone();
            slow.spawn(async move {
                let mut stream = admin.connect().await.expect("a connection");
                let begun = match number % 2 {
                    0 => "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\nx-slow: ".to_owned(),
                    _ => format!("POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{JSON}content-length: 1000\r\n\r\n{{\"meta"),
                };
                stream.write_all(begun.as_bytes()).await.expect("the beginning");
                stream.flush().await.expect("the beginning");
                match number % 2 {
                    0 => {
                        let mut rest = Vec::new();
                        let _ = stream.read_to_end(&mut rest).await;
                        let text = String::from_utf8_lossy(&rest).into_owned();
                        assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
                    }
                    _ => {
                        let answer = reply(stream).await.expect("an answer");
                        let want = "504 Timeout: Timeout: request did not complete within the allotted timeout";
                        assert_eq!(answer.said(), want);
                    }
                }
            });
        }
        serves(&admin).await;
        let cut_off = async {
            while let Some(ended) = slow.join_next().await {
                ended.expect("each is cut off as it should");
            }
        };
        tokio::time::timeout(SOON * 2, cut_off).await.expect("all of them are cut off");
        serves(&admin).await;
    });
}

#[test]
fn bodies_of_100_mib_are_413_and_do_not_stay_in_memory() {
    const MEBIBYTES_MORE_MAX: u64 = 128;
    let machine = Machine::server();
    let admin = Wire::new(&machine, As::Admin);
    let before = mebibytes(&machine);
    runtime().block_on(async {
        let body = vec![b' '; 100 << 20];
        let chunked = [b"6400000\r\n".as_slice(), &body, b"\r\n0\r\n\r\n"].concat();
        let as_chunks = format!("{JSON}transfer-encoding: chunked\r\n");
        let asked = (0..8).map(|number| match number % 2 {
            0 => admin.ask("POST", CONFIG_MAPS, JSON, &body),
            _ => admin.ask("POST", CONFIG_MAPS, &as_chunks, &chunked),
        });
        for answer in futures::future::join_all(asked).await {
            let want = "413 RequestEntityTooLarge: Request entity too large: limit is 3145728";
            assert_eq!(answer.expect("an answer").said(), want);
        }
        serves(&admin).await;
    });
    let after = mebibytes(&machine);
    assert!(after < before + MEBIBYTES_MORE_MAX, "{before} MiB became {after} MiB");
}

#[test]
fn malformed_requests_get_their_error_each() {
    let machine = Machine::server();
    let admin = Wire::new(&machine, As::Admin);
    let deep = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!("{{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"data\":{open}{close}}}")
    };
    let merge = "content-type: application/merge-patch+json\r\n";
    let json_patch = "content-type: application/json-patch+json\r\n";
    let strategic = "content-type: application/strategic-merge-patch+json\r\n";
    let one = format!("{CONFIG_MAPS}/kube-root-ca.crt");
    let cannot = "400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind";
    let yaml = deep(10_000);
    let begins: String = yaml.bytes().take(64).map(|byte| format!("{byte:02x}")).collect();
    let too_deep = "400 BadRequest: error decoding patch: exceeded max depth";
    let patch_types = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
    let rows: Vec<(&str, String, &str, String, String)> = [
        (
            "POST",
            CONFIG_MAPS.to_owned(),
            JSON,
            deep(10_000),
            format!("{cannot}; json parse error: exceeded max depth ({begins})").as_str(),
        ),
        (
            "POST",
            CONFIG_MAPS.to_owned(),
            "content-type: application/yaml\r\n",
            yaml,
            &format!("{cannot}; yaml: exceeded max depth ({begins})"),
        ),
        ("PATCH", one.clone(), merge, deep(10_000), too_deep),
        ("PATCH", one.clone(), strategic, deep(10_000), too_deep),
        ("PATCH", one.clone(), json_patch, deep(10_000), too_deep),
        (
            "PATCH",
            one.clone(),
            merge,
            "{".to_owned(),
            "400 BadRequest: error decoding patch: unexpected end of JSON input",
        ),
        (
            "PATCH",
            one.clone(),
            json_patch,
            "[{\"op\":\"fly\"}]".to_owned(),
            "400 BadRequest: error decoding patch: the patch is not a list of JSON patch operations",
        ),
        (
            "PATCH",
            one.clone(),
            strategic,
            "{\"data\":{\"$patch\":\"fly\"}}".to_owned(),
            "400 BadRequest: unknown patch type found: \"fly\"",
        ),
        (
            "PATCH",
            one,
            "content-type: text/plain\r\n",
            String::new(),
            &format!(
                "415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types \
                 include: {patch_types}"
            ),
        ),
        (
            "POST",
            CONFIG_MAPS.to_owned(),
            "content-type: application/vnd.kubernetes.protobuf\r\n",
            "k8s\0\u{1}\u{2}".to_owned(),
            &format!("{cannot}; proto: illegal tag 0 (6b3873000102)"),
        ),
        (
            "GET",
            format!("{CONFIG_MAPS}?labelSelector=a%20in%20("),
            "",
            String::new(),
            "400 BadRequest: unable to parse requirement: unable to parse requirement: found '', expected: ',', ')' or \
             identifier",
        ),
        (
            "GET",
            format!("{CONFIG_MAPS}?fieldSelector=spec.nodeName%3Da"),
            "",
            String::new(),
            "400 BadRequest: \"spec.nodeName\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            "GET",
            format!("{CONFIG_MAPS}?continue=%F0%9F%92%A3"),
            "",
            String::new(),
            "400 BadRequest: invalid continue token: continue key is not valid: illegal base64 data: Invalid symbol 240, \
             offset 0.",
        ),
        (
            "GET",
            format!("{CONFIG_MAPS}?limit=many"),
            "",
            String::new(),
            "400 BadRequest: strconv.ParseInt: parsing \"many\": invalid syntax",
        ),
        (
            "GET",
            format!("{CONFIG_MAPS}?watch=1&resourceVersion=old"),
            "",
            String::new(),
            "400 BadRequest: invalid resource version: resourceVersion: Invalid value: \"old\": strconv.ParseUint: parsing \
             \"old\": invalid syntax",
        ),
        ("GET", format!("{CONFIG_MAPS}?x={}", "y".repeat(65_536)), "", String::new(), "414 -: -"),
    ]
    .map(|(method, path, headers, body, want)| (method, path, headers, body, want.to_owned()))
    .into();
    let mut wrong = Vec::new();
    runtime().block_on(async {
        for (method, path, headers, body, want) in rows {
            let answer = admin.ask(method, &path, headers, body.as_bytes()).await.expect("an answer");
            let short: String = path.chars().take(100).collect();
            if answer.said() != want {
                wrong.push(format!("{method} {short} with {headers}: {}", answer.said()));
            }
        }
        serves(&admin).await;
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let log = machine.log_text();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_storm_of_watches_passes_and_leaves_nothing_behind() {
    const WATCHES: usize = 3_000;
    const MEBIBYTES_MAX: u64 = 400;
    blackbox::process::allow_many_files();
    let machine = Machine::server();
    let admin = Wire::new(&machine, As::Admin);
    let watch = format!("GET {CONFIG_MAPS}?watch=1&allowWatchBookmarks=true HTTP/1.1\r\nhost: x\r\n\r\n");
    let runtime = runtime();
    runtime.block_on(async {
        let mut watching = Vec::with_capacity(WATCHES);
        while watching.len() < WATCHES {
            let batch = (0..64.min(WATCHES - watching.len())).map(|_| async {
                let mut stream = admin.connect().await.expect("a connection");
                stream.write_all(watch.as_bytes()).await.expect("a request");
                // What was written may still wait for its turn among so many.
                stream.flush().await.expect("a request");
                stream
            });
            watching.extend(futures::future::join_all(batch).await);
        }
        let text = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"seen\"}}";
        let made = admin.ask("POST", CONFIG_MAPS, JSON, text.as_bytes()).await.expect("an answer");
        assert_eq!(made.code, 201, "{made:?}");
        // Some read, most do not: nobody waits for those.
        for (index, stream) in watching.iter_mut().enumerate().step_by(100) {
            let mut read = Vec::new();
            let seen = tokio::time::timeout(SOON, async {
                let mut buffer = vec![0; 16 * 1024];
                while !String::from_utf8_lossy(&read).contains("\"name\":\"seen\"") {
                    let count = stream.read(&mut buffer).await.expect("the watch goes on");
                    assert_ne!(count, 0, "the watch ended");
                    read.extend_from_slice(&buffer[..count]);
                }
            });
            let seen = seen.await.is_ok();
            assert!(seen, "watch {index} does not see the change: {}", String::from_utf8_lossy(&read));
        }
        serves(&admin).await;
        let memory = mebibytes(&machine);
        assert!(memory < MEBIBYTES_MAX, "{memory} MiB");
    });
    eventually("the watches have ended", SOON, || {
        let metrics = runtime.block_on(admin.ask("GET", "/metrics", "", b"")).map_err(|e| e.to_string())?;
        match metric(&metrics.body, "apiserver_registered_watchers ") {
            Some(open) if open < 1_000.0 => Ok(()),
            other => Err(format!("{other:?} watches")),
        }
    });
}
