//! A WebSocket client's bytes after the handshake: frames, the channels in them, terminal sizes in a channel. The first
//! byte chooses the encoding.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use streaming::Form;
use streaming::channels::{Channels, Encoding, socket_config};
use streaming::resize::SizeParser;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    SizeParser::default().feed(bytes);
    let encoding = Encoding { base64: choice & 1 != 0, close_signal: choice & 2 != 0, form: Form::Json };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(serve(encoding, bytes));
});

async fn serve(encoding: Encoding, bytes: &[u8]) {
    let io = tokio::io::join(Cursor::new(bytes), tokio::io::sink());
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(socket_config())).await;
    let mut channels = Channels::new(socket, encoding, 5);
    let (mut stdin, mut resize) = (channels.reader(0), channels.reader(4));
    // As long as there is a writer, the session goes on until the client's bytes end.
    let open = channels.writer(1);
    let reading = async {
        let (mut input, mut sizes) = (Vec::new(), Vec::new());
        let _ = tokio::join!(stdin.read_to_end(&mut input), resize.read_to_end(&mut sizes));
        SizeParser::default().feed(&sizes);
    };
    // As in a session, what reads is dropped when the driver ends.
    tokio::select! {
        () = reading => {}
        () = channels.drive() => {}
    }
    drop(open);
}
