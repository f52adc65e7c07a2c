//! A client whose credentials can be replaced while it is used: whoever holds a clone goes on with the new ones.

use std::sync::Arc;

use arc_swap::ArcSwap;
use kube::client::Body;

/// Calls that have begun end with the client that they began with.
#[derive(Clone)]
pub struct Rotating {
    current: Arc<ArcSwap<kube::Client>>,
}

impl Rotating {
    pub fn new(first: kube::Client) -> Rotating {
        Rotating { current: Arc::new(ArcSwap::from_pointee(first)) }
    }

    pub fn replace(&self, next: kube::Client) {
        self.current.store(Arc::new(next));
    }

    /// What everybody else holds.
    pub fn client(&self) -> kube::Client {
        let current = Arc::clone(&self.current);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let client = current.load_full();
            async move { client.send(request).await }
        });
        kube::Client::new(service, "default")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn answering(code: u16) -> kube::Client {
        let service = tower::service_fn(move |_: http::Request<Body>| async move {
            Ok::<_, Infallible>(http::Response::builder().status(code).body(Body::empty()).unwrap())
        });
        kube::Client::new(service, "default")
    }

    #[tokio::test]
    async fn whoever_holds_the_client_goes_on_with_the_new_credentials() {
        let rotating = Rotating::new(answering(200));
        let held = rotating.client();
        let ask = async || {
            held.send(http::Request::get("/").body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
        };
        assert_eq!(ask().await, 200);
        rotating.replace(answering(204));
        assert_eq!(ask().await, 204);
    }
}
