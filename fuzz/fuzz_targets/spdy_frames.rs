//! A SPDY client's bytes: as frames, and as a connection whose streams are read.

#![no_main]

use std::io::Cursor;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use streaming::spdy::frame::FrameDecoder;
use streaming::spdy::{Limits, accept};
use tokio::io::AsyncReadExt;
use tokio_util::codec::Decoder;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = FrameDecoder::default();
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(serve(bytes));
});

async fn serve(bytes: &[u8]) {
    let io = tokio::io::join(Cursor::new(bytes), tokio::io::sink());
    let (mut connection, driver) = accept(io, Limits { streams: 4 });
    let reading = async {
        while let Some(mut stream) = connection.next_stream().await {
            let _ = stream.header("streamtype");
            let mut some = [0; 64];
            let _ = stream.read(&mut some).await;
        }
    };
    tokio::select! {
        _ended = driver => {}
        () = reading => {}
    }
}
