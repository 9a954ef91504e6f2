//! Addresses, ranges of addresses, URLs.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Evaluated, failed, no_overload};
use crate::value::Value;

pub(super) fn call<'a>(name: &str, target: Option<&Value<'a>>, arguments: &[Value<'a>]) -> Evaluated<'a> {
    match (name, target, arguments) {
        ("isIP", None, [Value::String(text)]) => Ok(Value::Bool(text.parse::<IpAddr>().is_ok())),
        ("ip", None, [Value::String(text)]) => match text.parse() {
            Ok(address) => Ok(Value::Address(address)),
            Err(_) => failed(format!("IP Address {text:?} parse error during conversion from string")),
        },
        ("family", Some(Value::Address(address)), []) => {
            Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 }))
        }
        ("isLoopback", Some(Value::Address(address)), []) => Ok(Value::Bool(address.is_loopback())),
        ("isUnspecified", Some(Value::Address(address)), []) => Ok(Value::Bool(address.is_unspecified())),
        ("isCIDR", None, [Value::String(text)]) => Ok(Value::Bool(range(text).is_some())),
        ("cidr", None, [Value::String(text)]) => match range(text) {
            Some((address, length)) => Ok(Value::Range(address, length)),
            None => failed(format!("network address parse error during conversion from string: {text:?}")),
        },
        ("ip", Some(Value::Range(address, _)), []) => Ok(Value::Address(*address)),
        ("prefixLength", Some(Value::Range(_, length)), []) => Ok(Value::Int(i64::from(*length))),
        ("containsIP", Some(Value::Range(address, length)), [of]) => {
            let inner = match of {
                Value::Address(inner) => Some(*inner),
                Value::String(text) => text.parse().ok(),
                _ => None,
            };
            match inner {
                Some(inner) => Ok(Value::Bool(contains(*address, *length, inner))),
                None => failed("IP Address parse error during conversion from string"),
            }
        }
        ("isURL", None, [Value::String(text)]) => Ok(Value::Bool(url(text).is_some())),
        ("url", None, [Value::String(text)]) => match url(text) {
            Some(parts) => Ok(Value::Url(Arc::new(parts))),
            None => failed(format!("URL parse error during conversion from string: {text:?}")),
        },
        (_, Some(Value::Url(parts)), []) => of_url(name, parts),
        _ => no_overload(),
    }
}

fn of_url<'a>(name: &str, [scheme, host, path, _]: &[String; 4]) -> Evaluated<'a> {
    // The port is what follows the last colon outside an address in brackets.
    let port_at = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let (hostname, port) = port_at.map_or((host.as_str(), ""), |at| (&host[..at], &host[at + 1..]));
    Ok(Value::string(match name {
        "getScheme" => scheme.as_str(),
        "getHost" => host.as_str(),
        "getHostname" => hostname.trim_start_matches('[').trim_end_matches(']'),
        "getPort" => port,
        "getEscapedPath" => path.as_str(),
        _ => return no_overload(),
    }))
}

fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let (address, length) = (address.parse::<IpAddr>().ok()?, length.parse::<u8>().ok()?);
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

fn contains(address: IpAddr, length: u8, inner: IpAddr) -> bool {
    match (address, inner) {
        (IpAddr::V4(outer), IpAddr::V4(inner)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            u32::from(outer) & mask == u32::from(inner) & mask
        }
        (IpAddr::V6(outer), IpAddr::V6(inner)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            u128::from(outer) & mask == u128::from(inner) & mask
        }
        _ => false,
    }
}

/// The parts of a URL with a scheme, or of an absolute path.
fn url(text: &str) -> Option<[String; 4]> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None if text.starts_with('/') => ("", text),
        None => return None,
    };
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.chars().all(named) || scheme.starts_with(|c: char| !c.is_ascii_alphabetic()) {
        return None;
    }
    let rest = rest.split('#').next().unwrap_or("");
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) =
        if scheme.is_empty() { ("", rest) } else { rest.split_at(rest.find('/').unwrap_or(rest.len())) };
    let host = host.rsplit('@').next().unwrap_or("");
    Some([scheme, host, path, query].map(str::to_owned))
}
