//! What annotations change: redirects to HTTPS, and times.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use ingress::translate::manner::Manner;
use tokio::sync::Notify;

use crate::ground::{Backend, Ground, HTTP, exchange, get, read_all, text};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn clients_without_tls_are_sent_to_https() {
    let ground = Ground::start().await;
    let backend = Backend::named("here").await;
    let manner = Manner { to_https: true, ..Manner::default() };
    ground.lead_in("a", HTTP, manner, &[backend.address]);
    let request = "POST /x?y=1 HTTP/1.1\r\nHost: a:8080\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    let answer = exchange(ground.raw().await, request).await;
    assert!(
        answer.starts_with("HTTP/1.1 308 ") && answer.contains("location: https://a/x?y=1\r\n"),
        "{answer}"
    );
    let token = get(&ground, "a", "/.well-known/acme-challenge/token").await;
    assert_eq!(token, (200, "here".to_owned()), "who issues certificates is let in");
    assert_eq!(backend.connections(), 1);
    ground.stop().await;
}

#[tokio::test]
async fn an_ingress_may_have_less_patience_than_the_proxy() {
    let ground = Ground::start().await;
    let never = Backend::start(|_| async {
        std::future::pending::<()>().await;
        Response::new(text(""))
    })
    .await;
    let manner = Manner { read: Some(SHORT), ..Manner::default() };
    ground.lead_in("silent", HTTP, manner, &[never.address]);
    let begun = Instant::now();
    assert_eq!(get(&ground, "silent", "/").await.0, 504);
    assert!(begun.elapsed() >= SHORT);
    // Between two parts of a body.
    let more = Arc::new(Notify::new());
    let slow = {
        let more = more.clone();
        Backend::start(move |_| {
            let more = more.clone();
            async move {
                let frames = futures::stream::unfold(0, move |count| {
                    let more = more.clone();
                    async move {
                        if count > 0 {
                            more.notified().await;
                        }
                        Some((Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("part"))), count + 1))
                    }
                });
                Response::new(StreamBody::new(frames).map_err(|never| match never {}).boxed_unsync())
            }
        })
        .await
    };
    ground.lead_in("slow", HTTP, manner, &[slow.address]);
    let mut client = ground.raw().await;
    let request = "GET / HTTP/1.1\r\nHost: slow\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut client, request.as_bytes()).await.expect("written");
    more.notify_one();
    let answer = read_all(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.matches("part").count() == 2, "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "cut short");
    ground.stop().await;
}

#[tokio::test]
async fn a_connection_to_an_endpoint_has_its_own_time() {
    let ground = Ground::start().await;
    // Nobody accepts, and the queue is full.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let queue = socket.listen(1).expect("listening");
    let full = queue.local_addr().expect("bound");
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let connect = tokio::net::TcpStream::connect(full);
        waiting.extend(tokio::time::timeout(Duration::from_millis(50), connect).await.ok());
    }
    let manner = Manner { connect: Some(SHORT), ..Manner::default() };
    ground.lead_in("a", HTTP, manner, &[full]);
    let begun = Instant::now();
    assert_eq!(get(&ground, "a", "/").await.0, 502);
    assert!(begun.elapsed() < Duration::from_secs(2), "not the three seconds of the proxy");
    drop(waiting);
    ground.stop().await;
}
