use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::client::Body;
use tokio::sync::watch;

use super::*;
use crate::Key;

/// Answers requests with prepared bodies, one after the other, then with a watch in which nothing happens.
/// Notes what it was asked for.
#[derive(Clone, Default)]
struct Prepared {
    asked: Arc<watch::Sender<Vec<String>>>,
    bodies: Arc<Mutex<Vec<String>>>,
}

type Pieces = StreamBody<stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

impl Prepared {
    fn client(&self) -> Client {
        let this = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let query = request.uri().query().unwrap_or("").to_owned();
            this.asked.send_modify(|asked| asked.push(query));
            let mut bodies = this.bodies.lock().expect("bodies");
            let body: stream::BoxStream<'static, _> = if bodies.is_empty() {
                Box::pin(stream::pending())
            } else {
                let text = bodies.remove(0);
                Box::pin(stream::once(async move { Ok(Frame::data(Bytes::from(text))) }))
            };
            async move { Ok::<_, Infallible>(Response::new(Pieces::new(body))) }
        });
        client::in_process(service)
    }
}

fn added(name: &str, version: u32) -> String {
    let object = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"ns","uid":"{name}","resourceVersion":"{version}"}}}}"#
    );
    format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n")
}

fn end(version: u32) -> String {
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"metadata\":{{\"resourceVersion\":\"{version}\",\
         \"annotations\":{{\"k8s.io/initial-events-end\":\"true\"}}}}}}}}\n"
    )
}

/// Runs until the cache is complete and the last prepared body was asked for.
async fn settled(prepared: &Prepared, requests: usize) -> Objects {
    settled_from(prepared, requests, Beginning::Watched).await
}

async fn settled_from(prepared: &Prepared, requests: usize, beginning: Beginning) -> Objects {
    let objects = Objects::default();
    let running = follow(
        prepared.client(),
        ("/api/v1/configmaps".to_owned(), Scope::default()),
        beginning,
        objects.clone(),
        Shutdown::new(),
    );
    let ready = async {
        objects.wait_synced().await;
        let mut asked = prepared.asked.subscribe();
        asked.wait_for(|asked| asked.len() >= requests).await.expect("its sender is held above");
    };
    tokio::select! {
        () = running => panic!("it ends only with its shutdown"),
        ready = tokio::time::timeout(Duration::from_secs(60), ready) => ready.expect("the cache is complete"),
    }
    objects
}

#[tokio::test(start_paused = true)]
async fn a_first_state_that_fails_half_way_is_asked_for_anew() {
    let prepared = Prepared::default();
    let whole = added("a", 1) + &added("b", 2) + &end(7);
    *prepared.bodies.lock().expect("bodies") = vec![added("a", 1), whole];
    let objects = settled(&prepared, 3).await;
    assert_eq!(objects.len(), 2);
    let asked = prepared.asked.borrow().clone();
    assert!(asked[0].contains("sendInitialEvents=true") && asked[1].contains("sendInitialEvents=true"));
    assert!(asked[2].contains("resourceVersion=7") && !asked[2].contains("sendInitialEvents"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn lost_history_brings_a_new_first_state_and_what_went_is_noticed() {
    let prepared = Prepared::default();
    let expired = "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"message\":\"too old\"}}\n".to_owned();
    *prepared.bodies.lock().expect("bodies") =
        vec![added("a", 1) + &end(1) + &expired, added("b", 9) + &end(9)];
    let objects = settled(&prepared, 3).await;
    assert!(objects.get(&Key::new("ns", "a")).is_none());
    assert!(objects.get(&Key::new("ns", "b")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_begins_no_watch_with_what_is_there_is_asked_for_lists() {
    let prepared = Prepared::default();
    let page = |name: &str, rest: &str| {
        let meta = format!(r#"{{"name":"{name}","namespace":"ns","uid":"{name}","resourceVersion":"3"}}"#);
        format!(
            r#"{{"metadata":{{"resourceVersion":"7","continue":"{rest}"}},"items":[{{"metadata":{meta}}}]}}"#
        )
    };
    let expired = "{\"type\":\"ERROR\",\"object\":{\"code\":410,\"message\":\"too old\"}}\n".to_owned();
    let again = r#"{"metadata":{"resourceVersion":"9"},"items":null}"#.to_owned();
    *prepared.bodies.lock().expect("bodies") =
        vec![page("a", "bmV4dA"), page("b", ""), added("c", 8) + &expired, again];
    let objects = settled_from(&prepared, 5, Beginning::Listed).await;
    let asked = prepared.asked.borrow().clone();
    assert_eq!(asked[..2], ["limit=500", "limit=500&continue=bmV4dA"]);
    assert!(asked[2].contains("resourceVersion=7") && !asked[2].contains("sendInitialEvents"), "{asked:?}");
    assert_eq!(asked[3], "limit=500");
    assert!(asked[4].contains("resourceVersion=9"), "{asked:?}");
    assert_eq!(objects.len(), 0, "what went while the history was gone is noticed");
}
