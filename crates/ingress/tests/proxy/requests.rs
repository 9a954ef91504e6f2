//! Requests and what endpoints see of them; answers of the proxy's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use ingress::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::ground::{Backend, Body, Ground, HTTP, PATIENCE, exchange, get, offer, text};

/// Says what it has seen of a request.
async fn seen(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut lines: Vec<String> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
        .collect();
    lines.sort();
    let body = body.collect().await.expect("a body").to_bytes();
    let head = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
    let mut response = Response::new(text(format!("{head}\n{}\n{} bytes", lines.join("\n"), body.len())));
    for (name, value) in
        [("x-own", "1"), ("connection", "x-hidden"), ("x-hidden", "2"), ("keep-alive", "timeout=9")]
    {
        response.headers_mut().insert(name, value.parse().expect("a value"));
    }
    response
}

#[tokio::test]
async fn an_endpoint_sees_the_request_and_who_asks() {
    let ground = Ground::start().await;
    let backend = Backend::start(seen).await;
    ground.lead("a.example", HTTP, &[&backend]);
    let request = "POST /x/../y?q=%20 HTTP/1.1\r\nHost: A.Example:80\r\nX-Forwarded-For: 1.2.3.4\r\n\
                   Connection: close, x-drop\r\nX-Drop: 1\r\nX-Kept: 2\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n";
    let answer = exchange(ground.raw().await, request).await;
    let (head, seen) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(
        seen,
        "POST /x/../y?q=%20 HTTP/1.1\nhost: A.Example:80\ntransfer-encoding: chunked\nx-forwarded-for: 127.0.0.1\n\
         x-forwarded-host: A.Example:80\nx-forwarded-port: 80\nx-forwarded-proto: http\nx-kept: 2\n\
         x-real-ip: 127.0.0.1\n3 bytes"
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("x-own: 1"), "{head}");
    assert!(!head.contains("x-hidden") && !head.contains("timeout=9"), "{head}");
    ground.stop().await;
}

#[tokio::test]
async fn a_second_request_hidden_in_the_first_is_none() {
    let ground = Ground::start().await;
    let backend = Backend::start(seen).await;
    ground.lead("a", HTTP, &[&backend]);
    // Both lengths: the chunks count, and what follows is not read at all.
    let request = "POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\nTransfer-Encoding: chunked\r\n\r\n\
                   0\r\n\r\nGET /two HTTP/1.1\r\nHost: nowhere\r\nConnection: close\r\n\r\n";
    let answer = exchange(ground.raw().await, request).await;
    assert!(answer.contains("POST /one HTTP/1.1"), "{answer}");
    assert!(!answer.contains("content-length: 999") && !answer.contains("GET /two"), "{answer}");
    assert!(answer.ends_with("\n0 bytes"), "{answer}");
    for odd in [
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
    ] {
        let answer = exchange(ground.raw().await, odd).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{odd:?}: {answer}");
    }
    ground.stop().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_explained() {
    let ground =
        Ground::with(Limits { response_patience: Duration::from_millis(100), ..Limits::default() }).await;
    let (free, silent) = {
        let bind = || async { TcpListener::bind("127.0.0.1:0").await.expect("a free port") };
        let (closed, silent) = (bind().await, bind().await);
        (closed.local_addr().expect("bound"), silent)
    };
    ground.lead_to("none", HTTP, &[]);
    ground.lead_to("refused", HTTP, &[free]);
    ground.lead_to("silent", HTTP, &[silent.local_addr().expect("bound")]);
    for (host, status, says) in [
        ("nowhere", 404, "no Ingress has a rule for this host and path"),
        ("none", 503, "the Service has no endpoint that is ready"),
        ("refused", 502, "no endpoint of the Service could be reached"),
        ("silent", 504, "the endpoint has not answered in time"),
    ] {
        let (code, text) = get(&ground, host, "/").await;
        assert_eq!(code, status, "{host}: {text}");
        assert!(text.contains(says), "{host}: {text}");
    }
    let connect = "CONNECT other:22 HTTP/1.1\r\nHost: other:22\r\nConnection: close\r\n\r\n";
    let answer = exchange(ground.raw().await, connect).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    ground.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_does_not_listen_costs_no_request() {
    let ground = Ground::start().await;
    let backend = Backend::named("here").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    ground.lead_to("a", HTTP, &[closed, backend.address]);
    for _ in 0..8 {
        assert_eq!(get(&ground, "a", "/").await, (200, "here".to_owned()));
        let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
        assert!(exchange(ground.raw().await, post).await.ends_with("here"));
    }
    ground.stop().await;
}

/// Takes one request a connection, and closes it at the second one without an answer.
async fn fickle(listener: TcpListener, served: Arc<AtomicUsize>) {
    loop {
        let (mut socket, _) = listener.accept().await.expect("accepted");
        let mut head = [0; 4096];
        let read = socket.read(&mut head).await.expect("a request");
        assert!(read > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.expect("written");
        served.fetch_add(1, Ordering::Relaxed);
        let _ = socket.read(&mut head).await;
    }
}

#[tokio::test]
async fn a_request_on_a_connection_that_its_endpoint_closes_is_repeated_only_if_that_is_harmless() {
    let ground = Ground::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let served = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(fickle(listener, served.clone()));
    ground.lead_to("a", HTTP, &[address]);
    for round in 1..=3 {
        assert_eq!(get(&ground, "a", "/").await, (200, "ok".to_owned()));
        assert_eq!(served.load(Ordering::Relaxed), round);
    }
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    let answer = exchange(ground.raw().await, post).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("closed the connection"), "{answer}");
    ground.stop().await;
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let ground = Ground::start().await;
    let backend = Backend::start(|request: Request<Incoming>| async move {
        Response::new(request.into_body().map_err(Into::into).boxed_unsync())
    })
    .await;
    ground.lead("a", HTTP, &[&backend]);
    let stream = ground.raw().await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.expect("connected");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    let (parts, given) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
    let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(given));
    let request = Request::post("/").header("host", "a").body(body).expect("a request");
    let mut answered = sender.send_request(request).await.expect("a response").into_body();
    // Far more than any buffer on the way holds: a part is sent when the one before has come back.
    let part = Bytes::from(vec![7; 256 * 1024]);
    for _ in 0..64 {
        parts.send(Ok(Frame::data(part.clone()))).await.expect("taken");
        let mut back = 0;
        while back < part.len() {
            let frame = tokio::time::timeout(PATIENCE, answered.frame()).await.expect("it comes in time");
            back += frame.expect("more").expect("read").into_data().expect("data").len();
        }
        assert_eq!(back, part.len());
    }
    drop(parts);
    assert!(answered.frame().await.is_none());
    assert_eq!(backend.connections(), 1);
    ground.stop().await;
}

#[tokio::test]
async fn connections_to_endpoints_are_used_again_and_closed_after_a_while() {
    let ground = Ground::with(Limits { kept: Duration::from_millis(300), ..Limits::default() }).await;
    let backend = Backend::named("x").await;
    let pool = ground.lead("a", HTTP, &[&backend]);
    for _ in 0..10 {
        assert_eq!(get(&ground, "a", "/").await.0, 200);
    }
    assert_eq!(backend.connections(), 1);
    tokio::time::timeout(PATIENCE, async {
        // The server stops only when the last connection to it has ended.
        backend.stop().await;
    })
    .await
    .expect("kept connections are closed");
    pool.replace(offer(HTTP, &[]));
    assert_eq!(get(&ground, "a", "/").await.0, 503);
    ground.stop().await;
}
