//! A container's end of exec, as a runtime's SPDY server shows it: what comes on stdin goes to stdout, sizes go to
//! stderr, and at the end of stdin it ends with the code that its command names (`exit=7`, or `vanish`).

use std::collections::BTreeMap;

use super::*;

const SYN_STREAM: [u8; 4] = [0x80, 3, 0, 1];
const FIN: u8 = 1;

fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.extend((u32::from(flags) << 24 | payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame
}

fn status(code: &str) -> Vec<u8> {
    let status = match code {
        "0" => serde_json::json!({"metadata": {}, "status": "Success"}),
        code => serde_json::json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code}]}}),
    };
    status.to_string().into_bytes()
}

pub async fn run(mut stream: TokioIo<hyper::upgrade::Upgraded>, path_and_query: &str) {
    let (_, query) = path_and_query.split_once('?').unwrap_or_default();
    let given = |name: &str| form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == name);
    let command: String =
        form_urlencoded::parse(query.as_bytes()).filter(|(k, _)| k == "command").map(|(_, v)| v).collect();
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let expected = 1 + ["input", "output", "error", "tty"].into_iter().filter(|name| given(name)).count();
    loop {
        let mut header = [0; 8];
        if stream.read_exact(&mut header).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.unwrap();
        if header[..4] == SYN_STREAM {
            let text = String::from_utf8_lossy(&payload).into_owned();
            let kinds = ["error", "stdin", "stdout", "stderr", "resize"];
            let kind = kinds.into_iter().find(|kind| text.contains(kind)).unwrap();
            numbers.insert(kind.to_owned(), u32::from_be_bytes(payload[..4].try_into().unwrap()));
            if numbers.len() == expected {
                // Replies, of which only the form matters, and a ping.
                stream.write_all(b"\x80\x03\x00\x02\0\0\0\x04\0\0\0\x01").await.unwrap();
                stream.write_all(b"\x80\x03\x00\x06\0\0\0\x04\0\0\0\x02").await.unwrap();
            }
            continue;
        }
        let number = u32::from_be_bytes(header[..4].try_into().unwrap());
        if numbers.get("resize") == Some(&number) {
            stream.write_all(&data(numbers["stdout"], 0, &payload)).await.unwrap();
        }
        if numbers.get("stdin") == Some(&number) {
            if !payload.is_empty() {
                stream.write_all(&data(numbers["stdout"], 0, &payload)).await.unwrap();
            }
            if header[4] & FIN != 0 {
                if command == "vanish" {
                    return;
                }
                let code = command.strip_prefix("exit=").unwrap_or("0");
                stream.write_all(&data(numbers["stdout"], FIN, b"end")).await.unwrap();
                stream.write_all(&data(numbers["error"], FIN, &status(code))).await.unwrap();
                return stream.shutdown().await.unwrap();
            }
        }
    }
}
