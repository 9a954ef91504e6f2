//! Probes that ask a server for its health over gRPC (`grpc.health.v1.Health/Check`).

use std::time::Duration;

use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::{Attempt, tcp};

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Asks for the health of `service`, empty for the whole server.
pub(super) async fn probe(host: &str, port: u16, service: &str, timeout: Duration) -> Attempt {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else {
        return Attempt::Error(format!("invalid address {address:?}"));
    };
    let late =
        || Attempt::Failure(format!("timeout: health rpc did not complete within {}s", timeout.as_secs()));
    let deadline = tokio::time::Instant::now() + timeout;
    let channel = match tokio::time::timeout_at(deadline, endpoint.connect()).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => {
            let why = root_cause(&error);
            return Attempt::Failure(format!("error: failed to connect service at {address:?}: {why}"));
        }
        Err(_) => {
            return Attempt::Failure(format!(
                "timeout: failed to connect service {address:?} within {}s: context deadline exceeded",
                timeout.as_secs()
            ));
        }
    };
    match tokio::time::timeout_at(deadline, check(channel, service)).await {
        Err(_) => late(),
        Ok(Ok(SERVING)) => Attempt::Success,
        Ok(Ok(_)) => Attempt::Failure("service unhealthy (responded with \"NOT_SERVING\")".to_owned()),
        Ok(Err(status)) => match status.code() {
            Code::DeadlineExceeded => late(),
            Code::Unimplemented => Attempt::Failure(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                status.message()
            )),
            _ => Attempt::Failure(format!("error: health rpc probe failed: {}", status.message())),
        },
    }
}

/// What lies at the bottom of an error: of "transport error", that the connection was refused.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.downcast_ref::<std::io::Error>().map_or_else(|| cause.to_string(), tcp::go_words)
}

async fn check(channel: Channel, service: &str) -> Result<u64, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let answer = client.unary(Request::new(service.to_owned()), path, HealthCodec).await?;
    Ok(answer.into_inner())
}

/// The two messages are one field each: `string service = 1` and `ServingStatus status = 1`.
#[derive(Debug, Clone, Copy, Default)]
struct HealthCodec;

impl Codec for HealthCodec {
    type Encode = String;
    type Decode = u64;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for HealthCodec {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, service: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use bytes::BufMut;
        if service.is_empty() {
            return Ok(());
        }
        into.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            into.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        into.put_u8(length as u8);
        into.put_slice(service.as_bytes());
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for HealthCodec {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        use bytes::Buf;
        let mut message = vec![0; from.remaining()];
        from.copy_to_slice(&mut message);
        Ok(Some(serving_status(&message)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

/// The varint of field 1; 0 (`UNKNOWN`) where it is absent.
fn serving_status(message: &[u8]) -> u64 {
    let Some((0x08, rest)) = message.split_first() else { return 0 };
    rest.iter()
        .take(10)
        .scan(true, |more, byte| {
            let wanted = *more;
            *more = byte & 0x80 != 0;
            wanted.then_some(byte)
        })
        .enumerate()
        .fold(0u64, |value, (i, byte)| value | (u64::from(byte & 0x7f) << (7 * i as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let attempt = probe("127.0.0.1", port, "", Duration::from_secs(5)).await;
        let why =
            format!("error: failed to connect service at \"127.0.0.1:{port}\": connect: connection refused");
        assert_eq!(attempt, Attempt::Failure(why));
    }

    #[test]
    fn the_status_is_the_first_field() {
        assert_eq!([serving_status(&[]), serving_status(&[8, 1]), serving_status(&[8, 2])], [0, 1, 2]);
        assert_eq!(serving_status(&[8, 0x81, 1]), 129);
        assert_eq!(
            serving_status(&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            u64::MAX
        );
    }
}
