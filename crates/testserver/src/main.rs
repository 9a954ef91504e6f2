//! A small web server for tests and demonstrations, linked statically so that its image holds one file.
//!
//! `GET /` greets with the host's name and the client's address, as the well-known "kubia" example does;
//! `/env` prints the environment, `/hostname`, `/client` and `/count` what they say, `/exit/CODE` ends the process,
//! `/fail/N` makes every answer but the next N a 500, `/fail/off` stops that. Listens on `PORT` (8080). With
//! `FAIL_AFTER=N` it answers 500 after N requests. It handles no signal: as the first process of its namespace
//! it ignores SIGTERM.
//!
//! Uses the standard library alone and serves each connection on a thread: it is no model of a server.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Answers left before every one is a 500; negative: no limit.
static LEFT: AtomicI64 = AtomicI64::new(-1);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Longest request line and header line read, in bytes.
const LINE_LIMIT: u64 = 8192;
const HEADER_LIMIT: usize = 100;

fn main() -> std::io::Result<()> {
    let port = variable("PORT").and_then(|p| p.parse().ok()).unwrap_or(8080u16);
    if let Some(limit) = variable("FAIL_AFTER").and_then(|n| n.parse().ok()) {
        LEFT.store(limit, Ordering::SeqCst);
    }
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("Kubia server starting on port {port}...");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve(&stream) {
                eprintln!("connection: {error}");
            }
        });
    }
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn serve(stream: &TcpStream) -> std::io::Result<()> {
    let client = stream.peer_addr()?.ip().to_string();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if std::io::Read::take(&mut reader, LINE_LIMIT).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split_whitespace().nth(1).unwrap_or("/").to_owned();
        for _ in 0..HEADER_LIMIT {
            let mut header = String::new();
            std::io::Read::take(&mut reader, LINE_LIMIT).read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
        }
        println!("Received request for {path} from {client}");
        let (status, body) = answer(&path, &client);
        write!(
            &*stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
}

fn answer(path: &str, client: &str) -> (&'static str, String) {
    if let Some(what) = path.strip_prefix("/fail/") {
        LEFT.store(what.parse().unwrap_or(-1), Ordering::SeqCst);
        return ("200 OK", "done\n".into());
    }
    if let Some(code) = path.strip_prefix("/exit/") {
        std::process::exit(code.parse().unwrap_or(1));
    }
    let count = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    let left = LEFT.load(Ordering::SeqCst);
    if left == 0 {
        return ("500 Internal Server Error", "I'm not well. Please restart me!\n".into());
    }
    if left > 0 {
        LEFT.fetch_sub(1, Ordering::SeqCst);
    }
    let body = match path {
        "/env" => std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect(),
        "/client" => format!("{client}\n"),
        "/hostname" => format!("{}\n", host_name()),
        "/count" => format!("{count}\n"),
        _ => format!("You've hit {}\nYour IP is {client}\n", host_name()),
    };
    ("200 OK", body)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "?".into(), |name| name.trim().to_owned())
}
