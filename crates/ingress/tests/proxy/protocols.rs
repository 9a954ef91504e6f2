//! HTTP/2 with trailers, as gRPC uses them, and upgrades.

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ground::{Backend, Body, Ground, H2C, HTTP, PATIENCE, exchange, text};

type Frames = Vec<Result<Frame<Bytes>, std::convert::Infallible>>;

/// A body of one part and a trailer.
fn frames(data: Bytes, status: HeaderValue) -> Body {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status)]);
    let frames: Frames = vec![Ok(Frame::data(data)), Ok(Frame::trailers(trailers))];
    StreamBody::new(futures::stream::iter(frames)).map_err(|never| match never {}).boxed_unsync()
}

/// Answers with what it has got, and with trailers.
async fn rpc(request: Request<Incoming>) -> Response<Body> {
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.headers().get("te").map(|te| te.as_bytes()), Some(&b"trailers"[..]));
    assert_eq!(request.uri().authority().map(|authority| authority.as_str()), Some("grpc.example"));
    let got = request.into_body().collect().await.expect("a body");
    let trailer = got.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
    Response::new(frames(got.to_bytes(), trailer.expect("trailers")))
}

#[tokio::test]
async fn grpc_passes_with_its_trailers() {
    let ground = Ground::start().await;
    let backend = Backend::start(rpc).await;
    ground.lead("grpc.example", H2C, &[&backend]);
    let stream = ground.raw().await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("connected");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    let calls = (0..20).map(|_| {
        let mut sender = sender.clone();
        async move {
            let request = Request::post("http://grpc.example/a.B/C").header("te", "trailers");
            let request =
                request.body(frames(Bytes::from("ping"), HeaderValue::from_static("7"))).expect("a request");
            let response = sender.send_request(request).await.expect("a response");
            let got = response.into_body().collect().await.expect("a body");
            let trailer = got.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
            (trailer.expect("trailers"), got.to_bytes())
        }
    });
    for (trailer, data) in futures::future::join_all(calls).await {
        assert_eq!((trailer.as_bytes(), &*data), (&b"7"[..], &b"ping"[..]));
    }
    assert_eq!(backend.connections(), 1, "all calls share a connection");
    ground.stop().await;
}

/// Goes over to a protocol that gives back what it gets, with a greeting right behind the response's head.
async fn echo(mut request: Request<Incoming>) -> Response<Body> {
    assert_eq!(request.headers()["connection"], "upgrade");
    assert_eq!(request.headers()["upgrade"], "websocket");
    assert_eq!(request.headers()["sec-websocket-key"], "x");
    let upgraded = hyper::upgrade::on(&mut request);
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    tokio::spawn(async move {
        let mut io = TokioIo::new(upgraded.await.expect("upgraded"));
        io.write_all(b"hello").await.expect("written");
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = io.read(&mut buffer).await {
            io.write_all(&buffer[..read]).await.expect("written");
        }
    });
    let mut response = Response::new(text(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
    response.headers_mut().insert("upgrade", "websocket".parse().expect("a value"));
    response
}

#[tokio::test]
async fn upgrades_pass_bytes_both_ways_until_both_sides_end() {
    let ground = Ground::start().await;
    let backend = Backend::start(echo).await;
    ground.lead("a", HTTP, &[&backend]);
    let mut client = ground.raw().await;
    let request = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: x\r\n\r\nearly";
    client.write_all(request.as_bytes()).await.expect("written");
    let mut got = Vec::new();
    let read = async {
        while !got.ends_with(b"helloearly") {
            let mut buffer = [0; 1024];
            let read = client.read(&mut buffer).await.expect("read");
            assert!(read > 0, "{}", String::from_utf8_lossy(&got));
            got.extend_from_slice(&buffer[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("in time");
    let head = String::from_utf8_lossy(&got).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    client.write_all(b"late").await.expect("written");
    client.shutdown().await.expect("half closed");
    assert_eq!(crate::ground::read_all(&mut client).await, "late");
    ground.stop().await;
}

#[tokio::test]
async fn an_upgrade_to_http_2_is_a_plain_request_and_one_that_is_refused_too() {
    let ground = Ground::start().await;
    let backend = Backend::start(|request: Request<Incoming>| async move {
        let asked =
            request.headers().get("upgrade").map_or("nothing".to_owned(), |asked| format!("{asked:?}"));
        Response::new(text(asked))
    })
    .await;
    ground.lead("a", HTTP, &[&backend]);
    for (protocol, wanted) in [("h2c", "nothing"), ("websocket", "\"websocket\"")] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n\
             HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        );
        let answer = exchange(ground.raw().await, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(wanted), "{answer}");
    }
    ground.stop().await;
}

#[tokio::test]
async fn websocket_passes_in_streams_of_http_2_beside_other_requests() {
    let ground = Ground::start().await;
    let chat = Backend::start(|mut request: Request<Incoming>| {
        let headers = request.headers_mut();
        assert_eq!(headers["sec-websocket-version"], "13");
        let key = headers.insert("sec-websocket-key", HeaderValue::from_static("x"));
        assert_eq!(key.map(|key| key.len()), Some(24), "the proxy's own");
        echo(request)
    })
    .await;
    let plain = Backend::named("plain").await;
    ground.lead("a", HTTP, &[&chat]);
    ground.lead("b", HTTP, &[&plain]);
    ground.lead("c", H2C, &[&plain]);
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ground.raw().await));
    let (mut sender, connection) = handshake.await.expect("connected");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    let get = || Request::get("http://b/").body(text("")).expect("a request");
    // With the first answer the client knows that the server takes such streams.
    assert_eq!(sender.send_request(get()).await.expect("a response").status(), 200);
    let open = |host: &str| {
        let mut request = Request::connect(format!("http://{host}/chat")).body(text("")).expect("a request");
        request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        request
    };
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut response = sender.send_request(open("a")).await.expect("a response");
        assert_eq!(response.status(), 200);
        for name in ["upgrade", "connection", "sec-websocket-accept"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
        let stream = hyper::upgrade::on(&mut response).await.expect("a stream");
        streams.push(TokioIo::new(stream));
    }
    for (stream, said) in streams.iter_mut().zip(["one", "two", "three"]) {
        stream.write_all(said.as_bytes()).await.expect("written");
        let mut got = vec![0; "hello".len() + said.len()];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut got)).await.expect("in time").expect("read");
        assert_eq!(String::from_utf8_lossy(&got), format!("hello{said}"));
    }
    assert_eq!(sender.send_request(get()).await.expect("a response").status(), 200, "beside the streams");
    // A server that answers and does not go over has not agreed; one that speaks HTTP/2 is not asked.
    assert_eq!(sender.send_request(open("b")).await.expect("a response").status(), 502);
    assert_eq!(sender.send_request(open("c")).await.expect("a response").status(), 501);
    let mut plain = Request::connect("http://a:80").body(text("")).expect("a request");
    *plain.uri_mut() = hyper::Uri::from_static("a:80");
    assert_eq!(sender.send_request(plain).await.expect("a response").status(), 405);
    drop(streams);
    ground.stop().await;
}
