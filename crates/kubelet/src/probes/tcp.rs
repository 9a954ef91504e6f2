//! Probes that open a connection.

use std::time::Duration;

use tokio::net::TcpStream;

use super::Attempt;

/// Whether a connection can be opened within `timeout`.
pub(super) async fn probe(host: &str, port: u16, timeout: Duration) -> Attempt {
    match connect(host, port, timeout).await {
        Ok(_) => Attempt::Success,
        Err(why) => Attempt::Failure(why),
    }
}

/// Why a connection could not be opened, as Go says it.
pub(super) fn go_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens a connection; errors read as Go's.
pub(super) async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {shown}: {}", go_words(&error))),
        Err(_) => Err(format!("dial tcp {shown}: i/o timeout")),
    }
}
