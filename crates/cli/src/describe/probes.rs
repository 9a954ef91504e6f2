//! A probe in one line.

use std::fmt::Write as _;

use serde_json::Value;

use super::fields::Fields as _;

pub fn shown(probe: &Value) -> String {
    let timings = format!(
        "delay={}s timeout={}s period={}s #success={} #failure={}",
        probe.number("initialDelaySeconds"),
        probe.number("timeoutSeconds"),
        probe.number("periodSeconds"),
        probe.number("successThreshold"),
        probe.number("failureThreshold")
    );
    if let Some(exec) = probe.at("exec") {
        return format!("exec {} {timings}", exec.bracketed("command"));
    }
    if let Some(get) = probe.at("httpGet") {
        return format!("http-get {} {timings}", url(get));
    }
    if let Some(socket) = probe.at("tcpSocket") {
        return format!("tcp-socket {}:{} {timings}", socket.text("host"), socket.number_or_text("port"));
    }
    if let Some(grpc) = probe.at("grpc") {
        return format!("grpc <pod>:{} {} {timings}", grpc.number("port"), grpc.text("service"));
    }
    format!("unknown {timings}")
}

fn url(get: &Value) -> String {
    let (host, port) = (get.text("host"), get.number_or_text("port"));
    let address = if port.is_empty() {
        host.to_owned()
    } else if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let scheme = get.text("scheme").to_lowercase();
    let scheme = if scheme.is_empty() { scheme } else { format!("{scheme}:") };
    let path = get.text("path");
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    format!("{scheme}//{address}{slash}{}", escaped(path))
}

/// A path as Go's `net/url` writes it.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
