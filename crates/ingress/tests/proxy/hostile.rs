//! Clients that take more than they should, or take their time.

use std::time::Duration;

use ingress::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::ground::{Backend, Ground, HTTP, PATIENCE, exchange, get, read_all, text};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let ground = Ground::start().await;
    let backend = Backend::named("ok").await;
    ground.lead("a", HTTP, &[&backend]);
    let request = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
    let long = request(&format!("X-Long: {}\r\n", "x".repeat(200_000)));
    let many = request(&"X-A: 1\r\n".repeat(200));
    let fine = request(&format!("X-Long: {}\r\n", "x".repeat(16_000)));
    for (sent, wanted) in [(&long, "HTTP/1.1 431 "), (&many, "HTTP/1.1 431 "), (&fine, "HTTP/1.1 200 ")] {
        let answer = exchange(ground.raw().await, sent).await;
        assert!(answer.starts_with(wanted), "{} bytes: {answer}", sent.len());
    }
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000));
    let answer = exchange(ground.raw().await, &target).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    ground.stop().await;
}

#[tokio::test]
async fn who_takes_too_long_over_a_head_or_has_nothing_to_say_is_left() {
    let ground = Ground::with(Limits { head_patience: SHORT, ..Limits::default() }).await;
    let backend = Backend::named("ok").await;
    ground.lead("a", HTTP, &[&backend]);
    let mut silent = ground.raw().await;
    let mut slow = ground.raw().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.expect("written");
    let mut idle = ground.raw().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("written");
    let drip = async {
        loop {
            tokio::time::sleep(SHORT / 10).await;
            if slow.write_all(b"X").await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, drip).await.expect("a client that sends a byte at a time loses its connection");
    assert_eq!(read_all(&mut silent).await, "");
    assert!(read_all(&mut idle).await.ends_with("ok"));
    // Nor does one that never shakes hands keep its place.
    let mut unsafe_one = tokio::net::TcpStream::connect(ground.secure).await.expect("connected");
    assert_eq!(read_all(&mut unsafe_one).await, "");
    ground.stop().await;
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let ground = Ground::with(Limits { stall_patience: SHORT, ..Limits::default() }).await;
    let backend = Backend::start(|request: hyper::Request<hyper::body::Incoming>| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        hyper::Response::new(text(if body.is_ok() { "whole" } else { "broken" }))
    })
    .await;
    ground.lead("a", HTTP, &[&backend]);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nonly this";
    let mut socket = ground.raw().await;
    socket.write_all(head.as_bytes()).await.expect("written");
    let answer = read_all(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("stopped sending"), "{answer}");
    // One that is slow and does not stop is served.
    let mut socket = ground.raw().await;
    socket.write_all(head.replace("1000", "12").as_bytes()).await.expect("written");
    for byte in ["1", "2", "3"] {
        tokio::time::sleep(SHORT / 2).await;
        socket.write_all(byte.as_bytes()).await.expect("written");
    }
    assert!(read_all(&mut socket).await.ends_with("whole"));
    ground.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_no_answer_loses_its_connection_and_the_endpoints() {
    let ground = Ground::with(Limits { stall_patience: SHORT, ..Limits::default() }).await;
    let backend = Backend::start(|_| async { hyper::Response::new(text(vec![0; 64 << 20])) }).await;
    ground.lead("a", HTTP, &[&backend]);
    let mut socket = ground.raw().await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("written");
    let mut first = [0; 16];
    socket.read_exact(&mut first).await.expect("it begins");
    // The server waits for its connections, of which one is stuck behind the client.
    timeout(PATIENCE, backend.stop()).await.expect("the connection to the endpoint ends");
    ground.stop().await;
}

#[tokio::test]
async fn one_client_cannot_have_all_connections() {
    let ground = Ground::with(Limits { connections_of_client: 2, ..Limits::default() }).await;
    let backend = Backend::named("ok").await;
    ground.lead("a", HTTP, &[&backend]);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = ground.raw().await;
        socket.write_all(request).await.expect("written");
        let mut head = [0; 12];
        socket.read_exact(&mut head).await.expect("an answer");
        held.push(socket);
    }
    assert_eq!(read_all(&mut ground.raw().await).await, "", "a third one is closed");
    drop(held);
    let begin = Instant::now();
    while get(&ground, "a", "/").await.0 != 200 {
        assert!(begin.elapsed() < PATIENCE, "places are free again");
        tokio::task::yield_now().await;
    }
    ground.stop().await;
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn who_opens_and_resets_streams_in_a_flood_loses_its_connection() {
    let ground = Ground::start().await;
    let backend = Backend::start(|_| async {
        tokio::time::sleep(PATIENCE).await;
        hyper::Response::new(text("late"))
    })
    .await;
    ground.lead("a", HTTP, &[&backend]);
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    for number in 0..5_000u32 {
        let stream = 2 * number + 1;
        // GET http://a/ by HPACK's static table, and the reset right behind.
        flood.extend(frame(1, 0x5, stream, &[0x82, 0x84, 0x86, 0x01, 0x01, b'a']));
        flood.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
    }
    let socket = ground.raw().await;
    let (mut read, mut write) = socket.into_split();
    let mut got = Vec::new();
    let (_, ended) = tokio::join!(write.write_all(&flood), timeout(PATIENCE, read.read_to_end(&mut got)));
    // A reset of the connection is as good an end.
    let _ = ended.expect("the connection ends");
    let calm = got.windows(4).any(|code| code == 11u32.to_be_bytes());
    assert!(calm, "it is told to be calm: {got:?}");
    assert!(backend.connections() < 1_000, "{} connections to the endpoint", backend.connections());
    assert_eq!(get(&ground, "nowhere", "/").await.0, 404, "others are served");
    ground.stop().await;
}
