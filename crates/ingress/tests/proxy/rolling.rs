//! Endpoints that come and go while requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::Response;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::ground::{Backend, Ground, HTTP, exchange, get, offer, text};

#[tokio::test]
async fn an_endpoint_that_goes_finishes_its_requests_and_gets_no_new_one() {
    let ground = Ground::start().await;
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (entered, leave) = (entered.clone(), leave.clone());
        Backend::start(move |_| {
            let (entered, leave) = (entered.clone(), leave.clone());
            async move {
                entered.notify_one();
                leave.notified().await;
                Response::new(text("old"))
            }
        })
        .await
    };
    let new = Backend::named("new").await;
    let pool = ground.lead("a", HTTP, &[&slow]);
    let waiting = exchange(ground.raw().await, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut waiting = std::pin::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => panic!("the endpoint waits"),
        () = entered.notified() => {}
    }
    pool.replace(offer(HTTP, &[new.address]));
    for _ in 0..5 {
        assert_eq!(get(&ground, "a", "/").await, (200, "new".to_owned()));
    }
    leave.notify_one();
    assert!(waiting.await.ends_with("old"));
    // The connection was not kept: the server ends at once.
    slow.stop().await;
    ground.stop().await;
}

/// Keeps asking over connections that are kept, with both methods, and returns how often, and what failed.
async fn ask(address: std::net::SocketAddr, over: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let (mut count, mut failed) = (0, Vec::new());
    while !over.load(Ordering::Relaxed) {
        count += 1;
        let (method, body) = if count % 2 == 0 { ("GET", "") } else { ("POST", "some body") };
        let request = hyper::Request::builder().method(method).uri(format!("http://{address}/"));
        let request = request.header("host", "a").body(text(body)).expect("a request");
        match client.request(request).await {
            Ok(response) if response.status() == 200 => {}
            Ok(response) => failed.push(format!("{method}: {}", response.status())),
            Err(error) => failed.push(format!("{method}: {error:?}")),
        }
    }
    (count, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_of_servers_that_end_well_fails_no_request() {
    let ground = Ground::start().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let answer = {
        let answered = answered.clone();
        move |_| {
            let answered = answered.clone();
            async move {
                // Requests are in progress at any time.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                answered.fetch_add(1, Ordering::Relaxed);
                Response::new(text("ok"))
            }
        }
    };
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Backend::start(answer.clone()).await);
    }
    let pool = ground.lead("a", HTTP, &servers.iter().collect::<Vec<_>>());
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        clients.spawn(ask(ground.plain, over.clone()));
    }
    for _ in 0..12 {
        servers.push(Backend::start(answer.clone()).await);
        let addresses: Vec<_> = servers[1..].iter().map(|server| server.address).collect();
        pool.replace(offer(HTTP, &addresses));
        let newest = servers.last().expect("the one that has come");
        let before = answered.load(Ordering::Relaxed);
        while newest.connections() == 0 || answered.load(Ordering::Relaxed) < before + 50 {
            tokio::task::yield_now().await;
        }
        servers.remove(0).stop().await;
    }
    over.store(true, Ordering::Relaxed);
    let (mut count, mut failed) = (0, Vec::new());
    while let Some(done) = clients.join_next().await {
        let (asked, without) = done.expect("a client ends");
        count += asked;
        failed.extend(without);
    }
    assert!(count > 200, "{count} requests are no load");
    assert_eq!(failed, Vec::<String>::new(), "of {count}");
    ground.stop().await;
}
