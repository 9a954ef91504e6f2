//! Which protocol a request asks for: WebSocket or SPDY, and which version of the streams inside.
//!
//! Owns reading the upgrade headers and writing the response. Never uses a socket.

use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::channels::Encoding;
use super::status::Form;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY_UPGRADE: &str = "SPDY/3.1";
const PORT_FORWARD: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What kind of session is asked for; each kind has protocols of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Command,
    PortForward,
}

/// The transport of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Channels(Encoding),
    Spdy(Form),
    /// SPDY in the messages of a WebSocket; port-forward only.
    Tunnel,
}

/// An agreed protocol and the headers that say so.
#[derive(Debug)]
pub struct Agreement {
    pub transport: Transport,
    pub headers: HeaderMap,
}

/// Why there is no agreement.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("unable to upgrade: missing upgrade headers in request")]
    NoUpgrade,
    #[error("unable to upgrade: malformed WebSocket handshake")]
    Handshake,
    #[error("unable to upgrade: unable to negotiate protocol: client supports [{0}]")]
    NoProtocol(String),
}

impl Refusal {
    pub fn code(&self) -> StatusCode {
        match self {
            Self::NoUpgrade | Self::Handshake => StatusCode::BAD_REQUEST,
            Self::NoProtocol(_) => StatusCode::FORBIDDEN,
        }
    }
}

/// Reads a request's headers.
pub fn negotiate(headers: &HeaderMap, kind: Kind) -> Result<Agreement, Refusal> {
    let upgrades = list(headers, &UPGRADE);
    if !list(headers, &CONNECTION).iter().any(|c| c.eq_ignore_ascii_case("upgrade")) {
        return Err(Refusal::NoUpgrade);
    }
    if upgrades.iter().any(|u| u.eq_ignore_ascii_case("websocket")) {
        return websocket(headers, kind);
    }
    if upgrades.iter().any(|u| u.eq_ignore_ascii_case(SPDY_UPGRADE)) {
        return spdy(headers, kind);
    }
    Err(Refusal::NoUpgrade)
}

fn websocket(headers: &HeaderMap, kind: Kind) -> Result<Agreement, Refusal> {
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or(Refusal::Handshake)?;
    let offered = list(headers, &SEC_WEBSOCKET_PROTOCOL);
    let binary = Encoding { base64: false, close_signal: false, form: Form::Json };
    // The first version, and what clients speak that offer none.
    let first = Encoding { form: Form::Text, ..binary };
    let known = |protocol: &&str| {
        Some(match (*protocol, kind) {
            ("v5.channel.k8s.io", Kind::Command) => {
                Transport::Channels(Encoding { close_signal: true, ..binary })
            }
            ("v4.channel.k8s.io", _) => Transport::Channels(binary),
            ("v4.base64.channel.k8s.io", _) => Transport::Channels(Encoding { base64: true, ..binary }),
            ("channel.k8s.io", Kind::Command) => Transport::Channels(first),
            ("base64.channel.k8s.io", Kind::Command) => {
                Transport::Channels(Encoding { base64: true, ..first })
            }
            (TUNNEL, Kind::PortForward) => Transport::Tunnel,
            _ => return None,
        })
    };
    let mut answer = HeaderMap::new();
    let transport = match offered.iter().find_map(|p| Some((p, known(p)?))) {
        Some((protocol, transport)) => {
            answer.insert(SEC_WEBSOCKET_PROTOCOL, value(protocol));
            transport
        }
        // Clients written by hand offer no protocol.
        None if offered.is_empty() => Transport::Channels(first),
        None => return Err(Refusal::NoProtocol(offered.join(" "))),
    };
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(SEC_WEBSOCKET_ACCEPT, value(&derive_accept_key(key.as_bytes())));
    Ok(Agreement { transport, headers: answer })
}

fn spdy(headers: &HeaderMap, kind: Kind) -> Result<Agreement, Refusal> {
    let offered = list(headers, &STREAM_PROTOCOL);
    let known = |protocol: &&str| match (*protocol, kind) {
        ("v4.channel.k8s.io", Kind::Command) => Some(Form::Json),
        ("v3.channel.k8s.io" | "v2.channel.k8s.io" | "channel.k8s.io", Kind::Command) => Some(Form::Text),
        (PORT_FORWARD, Kind::PortForward) => Some(Form::Text),
        _ => None,
    };
    let mut answer = HeaderMap::new();
    let form = match offered.iter().find_map(|p| Some((p, known(p)?))) {
        Some((protocol, form)) => {
            answer.insert(STREAM_PROTOCOL, value(protocol));
            form
        }
        None if offered.is_empty() => Form::Text,
        None => return Err(Refusal::NoProtocol(offered.join(" "))),
    };
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(UPGRADE, HeaderValue::from_static(SPDY_UPGRADE));
    Ok(Agreement { transport: Transport::Spdy(form), headers: answer })
}

/// The comma-separated values of all headers of one name.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim).filter(|v| !v.is_empty()).collect()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("it came out of a header, or is base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&'static str, &'static str)], kind: Kind) -> Result<(Transport, String), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, text) in pairs {
            headers.append(*name, HeaderValue::from_static(text));
        }
        let agreed = negotiate(&headers, kind)?;
        let chosen =
            [SEC_WEBSOCKET_PROTOCOL, STREAM_PROTOCOL].iter().find_map(|n| agreed.headers.get(n).cloned());
        Ok((agreed.transport, chosen.map(|v| v.to_str().unwrap_or("").to_owned()).unwrap_or_default()))
    }

    #[test]
    fn the_clients_first_known_protocol_is_taken() {
        let websocket =
            [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x")];
        let with = |protocols: &'static str, kind| {
            ask(&[&websocket[..], &[("sec-websocket-protocol", protocols)]].concat(), kind)
        };
        let form = Form::Json;
        let channels = |base64, close_signal| Transport::Channels(Encoding { base64, close_signal, form });
        let first = |base64| Transport::Channels(Encoding { base64, close_signal: false, form: Form::Text });
        let all = "v6.channel.k8s.io, v5.channel.k8s.io,v4.channel.k8s.io";
        assert_eq!(with(all, Kind::Command), Ok((channels(false, true), "v5.channel.k8s.io".into())));
        assert_eq!(with(all, Kind::PortForward), Ok((channels(false, false), "v4.channel.k8s.io".into())));
        assert_eq!(with(TUNNEL, Kind::PortForward), Ok((Transport::Tunnel, TUNNEL.into())));
        assert!(matches!(with(TUNNEL, Kind::Command), Err(Refusal::NoProtocol(_))));
        assert_eq!(with("channel.k8s.io", Kind::Command), Ok((first(false), "channel.k8s.io".into())));
        let text = "base64.channel.k8s.io";
        assert_eq!(with(text, Kind::Command), Ok((first(true), text.into())));
        assert!(matches!(with(text, Kind::PortForward), Err(Refusal::NoProtocol(_))));
        assert_eq!(ask(&websocket, Kind::Command), Ok((first(false), String::new())));
        assert_eq!(ask(&websocket[..2], Kind::Command), Err(Refusal::Handshake));
    }

    #[test]
    fn spdy_versions_come_one_per_header() {
        let request = [
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v4.channel.k8s.io"),
            ("x-stream-protocol-version", "channel.k8s.io"),
        ];
        assert_eq!(
            ask(&request, Kind::Command),
            Ok((Transport::Spdy(Form::Json), "v4.channel.k8s.io".into()))
        );
        assert!(matches!(ask(&request, Kind::PortForward), Err(Refusal::NoProtocol(_))));
        assert_eq!(ask(&[("upgrade", "SPDY/3.1")], Kind::Command), Err(Refusal::NoUpgrade));
        assert_eq!(ask(&[], Kind::Command), Err(Refusal::NoUpgrade));
    }
}
