//! A manifest URL: asked every [`POLL_SECONDS`], with the headers that were given.
//!
//! Upstream's rules (pkg/kubelet/config/http.go): whatever is not 200 leaves the Pods as they are, the same body again
//! is no news, a body that is no manifest is reported and not read again. Beyond it the last good body is kept on disk, so
//! that a machine that boots while the URL is away runs what it ran.
//! DIFFERS(static-url-empty): an empty body is a fault and ends nothing; a list without items ends the Pods.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use process::{Clock, Shutdown};
use tokio::sync::mpsc;

use super::file::Told;
use super::last_good::LastGood;
use super::ledger::{FaultLine, Page, Writer};
use super::manifest::{self, MANIFEST_BYTES_MAX, Origin};
use super::manifests::Manifests;
use super::{SourceKind, SourceSet};

/// Upstream's httpCheckFrequency.
pub const POLL_SECONDS: u64 = 20;
/// Upstream's time for one answer.
const ANSWER_SECONDS: u64 = 10;
/// As Go's client.
const REDIRECTS_MAX: usize = 10;

/// Where manifests are fetched from.
#[derive(Clone)]
pub struct ManifestUrl {
    pub url: Uri,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl std::fmt::Debug for ManifestUrl {
    /// Headers may be credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManifestUrl").field("url", &self.url).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("{0:?} is not a URL that begins with http:// or https://")]
    Url(String),
    #[error("{0:?} is not a header: it looks like NAME:VALUE")]
    Header(String),
    #[error("cannot be asked: {message}")]
    Ask { message: String },
    #[error("did not answer within {ANSWER_SECONDS} s")]
    Late,
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    #[error("answered more than {MANIFEST_BYTES_MAX} bytes, or broke off: {message}")]
    Body { message: String },
}

impl ManifestUrl {
    /// `headers` in the kubelet's form: `name:value,name:value`, any number of times.
    pub fn parse<'a>(url: &str, headers: impl IntoIterator<Item = &'a str>) -> Result<ManifestUrl, UrlError> {
        let refused = || UrlError::Url(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| refused())?;
        if !matches!(parsed.scheme_str(), Some("http" | "https")) || parsed.host().is_none() {
            return Err(refused());
        }
        let pairs =
            headers.into_iter().flat_map(|text| text.split(',')).filter(|text| !text.trim().is_empty());
        let header = |text: &str| {
            let (name, value) = text.split_once(':')?;
            let name = name.trim().parse::<HeaderName>().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        };
        let headers: Result<Vec<_>, _> =
            pairs.map(|text| header(text).ok_or_else(|| UrlError::Header(text.to_owned()))).collect();
        Ok(ManifestUrl { url: parsed, headers: headers? })
    }

    /// One body.
    async fn fetch(&self) -> Result<Vec<u8>, UrlError> {
        let asked = async {
            let mut url = self.url.clone();
            for _ in 0..=REDIRECTS_MAX {
                match self.ask(&url).await? {
                    Asked::Body(body) => return Ok(body),
                    Asked::Elsewhere(next) => url = next,
                }
            }
            Err(UrlError::Redirects)
        };
        tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS), asked).await.unwrap_or(Err(UrlError::Late))
    }

    async fn ask(&self, url: &Uri) -> Result<Asked, UrlError> {
        let failed = |error: &dyn std::error::Error| UrlError::Ask { message: crate::error_chain(error) };
        let mut base = url.clone().into_parts();
        base.path_and_query = Some("/".parse().map_err(|error: http::uri::InvalidUri| failed(&error))?);
        let base = Uri::from_parts(base).map_err(|error| failed(&error))?;
        let mut config = kube::Config::new(base);
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(ANSWER_SECONDS));
        let client = kube::Client::try_from(config).map_err(|error| failed(&error))?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path).body(Body::empty()).map_err(|error| failed(&error))?;
        // Whoever we are sent to does not get what was meant for another.
        if url.authority() == self.url.authority() {
            for (name, value) in &self.headers {
                request.headers_mut().append(name, value.clone());
            }
        }
        let answer = client.send(request).await.map_err(|error| failed(&error))?;
        if answer.status().is_redirection() {
            let location = answer.headers().get(http::header::LOCATION).and_then(|value| value.to_str().ok());
            let next =
                location.and_then(|text| resolve(url, text)).ok_or(UrlError::Status(answer.status()))?;
            return Ok(Asked::Elsewhere(next));
        }
        if answer.status() != StatusCode::OK {
            return Err(UrlError::Status(answer.status()));
        }
        let limit = usize::try_from(MANIFEST_BYTES_MAX).unwrap_or(usize::MAX);
        let body = Limited::new(answer.into_body(), limit).collect().await;
        Ok(Asked::Body(
            body.map_err(|error| UrlError::Body { message: error.to_string() })?.to_bytes().to_vec(),
        ))
    }
}

enum Asked {
    Body(Vec<u8>),
    Elsewhere(Uri),
}

/// A redirect's target: absolute, or on the same server.
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    let target: Uri = location.parse().ok()?;
    if target.scheme().is_some() {
        return matches!(target.scheme_str(), Some("http" | "https")).then_some(target);
    }
    let mut parts = from.clone().into_parts();
    parts.path_and_query = target.into_parts().path_and_query;
    Uri::from_parts(parts).ok()
}

/// Polls one URL.
pub struct UrlSource {
    from: ManifestUrl,
    node_name: String,
    clock: Arc<dyn Clock>,
    last_good: LastGood,
    told: Told,
    manifests: Manifests,
    /// The body that was read last, good or not.
    body: Option<Vec<u8>>,
}

impl UrlSource {
    pub fn new(
        from: ManifestUrl,
        node_name: impl Into<String>,
        clock: Arc<dyn Clock>,
        last_good: LastGood,
        told: Told,
    ) -> UrlSource {
        let node_name = node_name.into();
        let mut source = UrlSource {
            from,
            node_name,
            clock,
            last_good,
            told,
            manifests: Manifests::default(),
            body: None,
        };
        let place = source.place();
        for (path, text) in source.last_good.load() {
            if path == place
                && let Ok(manifest) = source.parse(&text)
            {
                source.manifests.remember(&path, manifest);
                source.body = Some(text);
            }
        }
        source
    }

    /// Until the shutdown; sends the complete set whenever it changed, and the one from the disk at once. A URL that
    /// was never heard says nothing.
    pub async fn run(mut self, sets: mpsc::Sender<SourceSet>, shutdown: Shutdown) {
        let mut sent: Option<Vec<Pod>> = None;
        let mut trouble = None;
        let mut asked = false;
        loop {
            let (pods, heard) = self.settle(trouble.take());
            if heard && sent.as_ref() != Some(&pods) {
                sent = Some(pods.clone());
                if sets.send(SourceSet { kind: SourceKind::Http, pods, heard: true }).await.is_err() {
                    return;
                }
            }
            let pause = Duration::from_secs(if asked { POLL_SECONDS } else { 0 });
            asked = true;
            let from = self.from.clone();
            let answer = tokio::select! {
                // A question that is dropped is asked again at the next start.
                () = shutdown.cancelled() => return,
                answer = async {
                    self.clock.sleep(pause).await;
                    from.fetch().await
                } => answer,
            };
            match answer {
                Ok(body) => self.take(body),
                Err(error) => trouble = Some(error.to_string()),
            }
        }
    }

    fn place(&self) -> String {
        self.from.url.to_string()
    }

    fn take(&mut self, body: Vec<u8>) {
        if self.body.as_ref() == Some(&body) {
            return;
        }
        let parsed = self.parse(&body).map_err(|error| error.to_string());
        self.manifests.put(&self.place(), parsed);
        self.body = Some(body);
    }

    fn parse(&self, body: &[u8]) -> Result<manifest::Manifest, manifest::ManifestError> {
        let place = self.place();
        let origin = Origin {
            kind: SourceKind::Http,
            node_name: &self.node_name,
            path: &place,
            seen_at: self.clock.now(),
        };
        manifest::read(body, origin)
    }

    /// The Pods that count, and whether the URL, now or once, has said so.
    fn settle(&mut self, trouble: Option<String>) -> (Vec<Pod>, bool) {
        let place = self.place();
        let settled = self.manifests.settle();
        if settled.accepted.contains(&place)
            && let Some(body) = &self.body
        {
            self.last_good.keep(&place, body);
            self.last_good.retain(&settled.kept);
        }
        let trouble = trouble.map(|message| FaultLine {
            about: place.clone(),
            message,
            keeps: settled.pods.iter().map(|(_, pod)| crate::spec::PodId::of(pod).to_string()).collect(),
        });
        let page = Page::of(&place, &settled, trouble.into_iter().collect());
        self.told.objects.set(SourceKind::Http, settled.objects);
        self.told.ledger.write(Writer::Source(SourceKind::Http), page);
        (settled.pods.into_iter().map(|(_, pod)| pod).collect(), !self.manifests.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use axum::Router;
    use axum::extract::{Request as Asked, State};
    use axum::response::{IntoResponse, Response};
    use parking_lot::Mutex;
    use process::SystemClock;

    use super::*;

    const LIST: &str = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n  spec: {containers: [{name: c, image: i}]}\n";

    type Answers = VecDeque<(u16, String)>;

    /// A server that gives these answers one after the other, the last one for ever, and notes the header `x-key`.
    #[derive(Clone, Default)]
    struct Server(Arc<Mutex<(Answers, Vec<String>)>>);

    impl Server {
        async fn start(answers: &[(u16, &str)]) -> (Server, String) {
            let server = Server::default();
            server.0.lock().0.extend(answers.iter().map(|(code, body)| (*code, (*body).to_owned())));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/pods", listener.local_addr().unwrap());
            let router = Router::new().fallback(answer).with_state(server.clone());
            tokio::spawn(async move { axum::serve(listener, router).await });
            (server, url)
        }
    }

    async fn answer(State(server): State<Server>, request: Asked) -> Response {
        let key = request.headers().get("x-key").map(|value| value.to_str().unwrap().to_owned());
        let mut state = server.0.lock();
        state.1.push(format!("{} {}", request.uri().path(), key.unwrap_or_default()));
        let (code, body) = if state.0.len() > 1 { state.0.pop_front().unwrap() } else { state.0[0].clone() };
        let code = StatusCode::from_u16(code).unwrap();
        match code.is_redirection() {
            true => (code, [("location", body)]).into_response(),
            false => (code, body).into_response(),
        }
    }

    fn source(url: &str, folder: &std::path::Path) -> UrlSource {
        let from = ManifestUrl::parse(url, ["X-Key: a:b,x-other:1"]).unwrap();
        let told = Told { ledger: Arc::default(), objects: Arc::default() };
        UrlSource::new(from, "n1", SystemClock::shared(), LastGood::in_folder(folder), told)
    }

    /// One round: the names that count, whether the URL speaks, and the faults.
    async fn round(source: &mut UrlSource) -> (Vec<String>, bool, Vec<String>) {
        let trouble = match source.from.clone().fetch().await {
            Ok(body) => {
                source.take(body);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let (pods, heard) = source.settle(trouble);
        let names = pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
        (names, heard, source.told.ledger.faults().into_iter().map(|fault| fault.message).collect())
    }

    #[tokio::test]
    async fn headers_are_sent_and_faults_leave_the_pods_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let empty = "apiVersion: v1\nkind: PodList\nitems: []\n";
        let (server, url) = Server::start(&[
            (503, ""),
            (200, LIST),
            (200, "kind: ["),
            (404, "gone"),
            (200, ""),
            (200, empty),
        ])
        .await;
        let mut source = source(&url, folder.path());
        let (names, heard, faults) = round(&mut source).await;
        assert_eq!((names.len(), heard), (0, false), "nobody has said that there are no Pods");
        assert_eq!(faults, ["answered 503 Service Unavailable"]);
        assert_eq!(round(&mut source).await, (vec!["a-n1".to_owned()], true, vec![]));
        for fault in ["neither YAML nor JSON", "answered 404", "empty: no Pod in it"] {
            let (names, heard, faults) = round(&mut source).await;
            assert_eq!((names.as_slice(), heard), (["a-n1".to_owned()].as_slice(), true));
            assert!(
                faults[0].starts_with(fault) || faults.iter().any(|text| text.starts_with(fault)),
                "{faults:?}"
            );
        }
        assert_eq!(round(&mut source).await, (vec![], true, vec![]), "an empty list ends them");
        assert!(server.0.lock().1.iter().all(|asked| asked == "/pods a:b"), "{:?}", server.0.lock().1);
    }

    #[tokio::test]
    async fn the_last_good_body_is_there_when_the_agent_starts_without_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let (_, url) = Server::start(&[(200, LIST)]).await;
        let before = {
            let mut first = source(&url, folder.path());
            round(&mut first).await;
            first.settle(None).0
        };
        let mut second = source(&url, folder.path());
        let (after, heard) = second.settle(None);
        assert!(heard);
        assert_eq!(after[0].metadata.uid, before[0].metadata.uid);
    }

    #[tokio::test]
    async fn a_redirect_is_followed_and_only_its_own_server_gets_the_headers() {
        let folder = tempfile::tempdir().unwrap();
        let (other, other_url) = Server::start(&[(200, LIST)]).await;
        let (own, url) = Server::start(&[(302, "/moved"), (307, &other_url)]).await;
        let (names, ..) = round(&mut source(&url, folder.path())).await;
        assert_eq!(names, ["a-n1"]);
        assert_eq!(own.0.lock().1, ["/pods a:b", "/moved a:b"]);
        assert_eq!(other.0.lock().1, ["/pods "]);
    }

    #[test]
    fn url_and_headers_are_checked() {
        let error = |url: &str, headers: &[&str]| {
            ManifestUrl::parse(url, headers.iter().copied()).unwrap_err().to_string()
        };
        assert!(error("ftp://a/b", &[]).contains("is not a URL"), "{}", error("ftp://a/b", &[]));
        assert!(error("manifests", &[]).contains("is not a URL"));
        assert!(error("http://a/", &["nothing"]).contains("NAME:VALUE"));
        assert_eq!(ManifestUrl::parse("http://a/", ["a:1,b:2", "c: 3"]).unwrap().headers.len(), 3);
    }
}
