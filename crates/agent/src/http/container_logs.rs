//! `/containerLogs/{namespace}/{pod}/{container}`: a container's log, with the options of `kubectl logs`.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cri::ContainerId;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{At, Refusal, Served, find_containers, find_pod};
use crate::logs::read::{Options, read};

/// Pieces under way to a slow reader.
const PIECES_QUEUED_MAX: usize = 4;

/// The query as it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Asked {
    options: Options,
    previous: bool,
}

pub async fn serve(
    State(served): State<Served>,
    Path((namespace, pod, container)): At<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let context = served.context;
    let asked = parse(query.as_deref().unwrap_or_default(), context.clock.now())?;
    let row = find_pod(&context, &namespace, &pod)?;
    let spec = || row.pod.spec.iter();
    let ephemeral = spec().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let mut names = spec().flat_map(api::pod::all_containers).map(|known| &known.name);
    if !names.any(|name| *name == container) && !ephemeral.into_iter().any(|known| known.name == container) {
        return Err(Refusal::not_found(format!("container {container:?} not found in pod {pod:?}")));
    }
    let found = find_containers(&context, &row, &container).await?;
    let chosen = if asked.previous {
        let id = previous(&row.status, &container);
        found.iter().find(|known| Some(known.id.as_str()) == id)
    } else {
        found.first()
    };
    let Some(chosen) = chosen else {
        return Err(Refusal::bad_request(absent(&row.status, &container, &pod, asked.previous)));
    };
    let id = ContainerId::new(chosen.id.as_str());
    let status = context.runtime.container_status(&id).await.map_err(|error| Refusal::runtime(&error))?;
    let path = PathBuf::from(status.log_path);
    // Opened here once, so that a missing file is an answer and not a broken stream.
    if let Err(error) = tokio::fs::File::open(&path).await {
        return Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("failed to open log file {path:?}: {error}"),
        ));
    }
    let (out, pieces) = mpsc::channel(PIECES_QUEUED_MAX);
    let runtime = context.runtime.clone();
    let alive = move || {
        let (runtime, id) = (runtime.clone(), id.clone());
        async move {
            let status = runtime.container_status(&id).await;
            // A runtime that is away says nothing about the container.
            status.map_or_else(
                |error| !matches!(error, cri::Error::NotFound { .. }),
                |status| matches!(status.state, cri::ContainerState::Running | cri::ContainerState::Created),
            )
        }
    };
    // Ends when the reader goes: the channel closes.
    tokio::spawn(read(path, asked.options, alive, out));
    let body = Body::from_stream(ReceiverStream::new(pieces));
    Ok(([(header::CONTENT_TYPE, "text/plain")], body).into_response())
}

/// The id of the life that ended before: what the status calls the last state. While a container waits for its next
/// start that is the newest one.
fn previous<'a>(status: &'a PodStatus, container: &str) -> Option<&'a str> {
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let known = lists.into_iter().flatten().flatten().find(|known| known.name == container)?;
    let id = known.last_state.as_ref()?.terminated.as_ref()?.container_id.as_deref()?;
    id.rsplit('/').next()
}

/// Why there is no such log, in upstream's words.
fn absent(status: &PodStatus, container: &str, pod: &str, previous: bool) -> String {
    if previous {
        return format!("previous terminated container {container:?} in pod {pod:?} not found");
    }
    let all =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let all = all.into_iter().flatten().flatten();
    let waiting = all
        .filter(|known: &&ContainerStatus| known.name == container)
        .find_map(|known| known.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match waiting.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff") => {
            format!(
                "container {container:?} in pod {pod:?} is waiting to start: trying and failing to pull image"
            )
        }
        Some(reason) => format!("container {container:?} in pod {pod:?} is waiting to start: {reason}"),
        None => format!("container {container:?} in pod {pod:?} is not available"),
    }
}

fn parse(query: &str, now: Timestamp) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = || {
            value.parse::<u64>().map_err(|_| Refusal::bad_request(format!("{name}: invalid value {value:?}")))
        };
        let flag = matches!(&*value, "" | "1" | "t" | "T" | "true" | "TRUE" | "True");
        match &*name {
            "follow" => asked.options.follow = flag,
            "previous" => asked.previous = flag,
            "timestamps" => asked.options.timestamps = flag,
            "tailLines" => asked.options.tail_lines = Some(number()?),
            "limitBytes" => asked.options.limit_bytes = Some(number()?),
            "sinceSeconds" => {
                let seconds = i64::try_from(number()?).unwrap_or(i64::MAX);
                let since = now.checked_sub(SignedDuration::from_secs(seconds));
                asked.options.since = Some(since.unwrap_or(Timestamp::MIN));
            }
            "sinceTime" => {
                let time = value.parse::<Timestamp>();
                let refuse = |_| Refusal::bad_request(format!("sinceTime: invalid value {value:?}"));
                asked.options.since = Some(time.map_err(refuse)?);
            }
            "stream" if value == "Stdout" => asked.options.stream = Some("stdout".to_owned()),
            "stream" if value == "Stderr" => asked.options.stream = Some("stderr".to_owned()),
            _ => {}
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nonsense_is_refused() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let asked =
            parse("follow=true&tailLines=5&sinceSeconds=60&timestamps=true&previous=false", now).unwrap();
        assert!(asked.options.follow && asked.options.timestamps && !asked.previous);
        assert_eq!(asked.options.tail_lines, Some(5));
        assert_eq!(asked.options.since, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert!(parse("tailLines=-1", now).is_err());
        assert!(parse("sinceTime=yesterday", now).is_err());
    }

    #[test]
    fn container_that_waits_says_for_what() {
        let status: PodStatus = serde_json::from_value(serde_json::json!({"containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": "ContainerCreating"}}}]}))
        .unwrap();
        let text = absent(&status, "c", "p", false);
        assert_eq!(text, "container \"c\" in pod \"p\" is waiting to start: ContainerCreating");
        let text = absent(&status, "c", "p", true);
        assert_eq!(text, "previous terminated container \"c\" in pod \"p\" not found");
    }
}
