//! [`Replaceable`]: clients whose certificate changes while they are used.

use std::sync::Arc;

use arc_swap::ArcSwap;
use kube::Client;

/// A way to an API server that can be replaced by another, with a renewed certificate. All clients made from it send
/// each request by the way that is present then; answers and watches that run on an earlier way are not cut off.
#[derive(Clone)]
pub struct Replaceable {
    present: Arc<ArcSwap<Client>>,
}

impl Replaceable {
    pub fn new(first: Client) -> Self {
        Self { present: Arc::new(ArcSwap::from_pointee(first)) }
    }

    /// A client that always takes the present way.
    pub fn client(&self) -> Client {
        let present = self.present.clone();
        crate::in_process(tower::service_fn(move |request| {
            let way = present.load_full();
            async move { way.send(request).await }
        }))
    }

    /// Sends all requests from now on by another way.
    pub fn replace(&self, next: Client) {
        self.present.store(Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response, StatusCode};
    use kube::client::Body;

    use super::*;

    /// A server that says its name.
    fn server(name: &'static str) -> Client {
        crate::in_process(tower::service_fn(move |_: Request<Body>| async move {
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(name.as_bytes().to_vec())))
        }))
    }

    async fn asked(client: &Client) -> Result<String, kube::Error> {
        client.request_text(Request::get("/version").body(Vec::new()).expect("a request")).await
    }

    #[tokio::test]
    async fn a_client_takes_the_way_that_is_present() {
        let replaceable = Replaceable::new(server("one"));
        let (client, other) = (replaceable.client(), replaceable.client());
        assert_eq!(asked(&client).await.expect("answered"), "one");
        replaceable.replace(server("two"));
        assert_eq!(asked(&client).await.expect("answered"), "two");
        assert_eq!(asked(&other.clone()).await.expect("answered"), "two");
    }

    #[tokio::test]
    async fn what_a_server_refuses_stays_what_it_is() {
        let refusing = crate::in_process(tower::service_fn(|_: Request<Body>| async {
            let body = br#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Conflict","code":409}"#;
            let answer = Response::builder().status(StatusCode::CONFLICT).body(Body::from(body.to_vec()));
            Ok::<_, std::convert::Infallible>(answer.expect("an answer"))
        }));
        let client = Replaceable::new(refusing).client();
        let error = asked(&client).await.expect_err("refused");
        assert!(crate::is_conflict(&error), "{error:?}");
    }
}
