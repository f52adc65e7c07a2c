//! A server for one test, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use apiserver::access::User;
use apiserver::{Body, Config, Server};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use process::SystemClock;
use serde_json::Value;
use store::{MemoryStore, Store};

/// Longest wait for anything in a test.
pub const DEADLINE: Duration = Duration::from_secs(10);

pub struct World {
    pub server: Server,
    pub user: User,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    /// `404 NotFound: pods "a" not found`.
    pub fn said(&self) -> String {
        let status = self.json();
        format!(
            "{} {}: {}",
            self.status.as_u16(),
            status["reason"].as_str().unwrap_or("-"),
            status["message"].as_str().unwrap_or("-")
        )
    }

    pub fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

impl World {
    pub async fn new() -> World {
        World::over(Arc::new(MemoryStore::new())).await
    }

    pub async fn over(store: Arc<dyn Store>) -> World {
        let config = Config::new(SystemClock::shared());
        let server = Server::new(store, config).await.unwrap();
        World { server, user: User::admin() }
    }

    pub fn as_user(&self, user: User) -> World {
        World { server: self.server.clone(), user }
    }

    pub async fn stream(&self, request: Request<Body>) -> http::Response<Body> {
        let mut service = self.server.service_for(self.user.clone());
        tower::Service::call(&mut service, request).await.unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.stream(request).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(DEADLINE, body.collect()).await.unwrap().unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn ask(&self, method: &str, url: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", content_type)
            .body(apiserver::body::full(body))
            .unwrap();
        self.send(request).await
    }

    pub async fn get(&self, url: &str) -> Answer {
        self.ask("GET", url, "application/json", "").await
    }

    pub async fn post(&self, url: &str, body: Value) -> Answer {
        self.ask("POST", url, "application/json", body.to_string()).await
    }

    pub async fn put(&self, url: &str, body: Value) -> Answer {
        self.ask("PUT", url, "application/json", body.to_string()).await
    }

    pub async fn merge(&self, url: &str, body: Value) -> Answer {
        self.ask("PATCH", url, "application/merge-patch+json", body.to_string()).await
    }

    pub async fn delete(&self, url: &str) -> Answer {
        self.ask("DELETE", url, "application/json", "").await
    }
}
