//! Addresses, ranges of addresses, URLs.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{Budget, Evaluated, failed, no_overload};
use crate::value::Value;

/// What is escaped in the path of a URL.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

pub(super) fn call<'a>(
    name: &str,
    target: Option<&Value<'a>>,
    arguments: &[Value<'a>],
    budget: &mut Budget,
) -> Evaluated<'a> {
    match (name, target, arguments) {
        ("isIP", None, [Value::String(text)]) => Ok(Value::Bool(address(text).is_ok())),
        ("ip", None, [Value::String(text)]) => {
            address(text).map(Value::Address).or_else(|why| failed(not_an_address(text, &why)))
        }
        ("ip.isCanonical", None, [Value::String(text)]) => match address(text) {
            Ok(address) => Ok(Value::Bool(address.to_string() == **text)),
            Err(why) => failed(not_an_address(text, &why)),
        },
        (_, Some(Value::Address(address)), []) => of_address(name, *address),
        ("isCIDR", None, [Value::String(text)]) => Ok(Value::Bool(range(text).is_ok())),
        ("cidr", None, [Value::String(text)]) => match range(text) {
            Ok((address, length)) => Ok(Value::Range(address, length)),
            Err(why) => failed(format!("network address parse error during conversion from string: {why}")),
        },
        ("ip", Some(Value::Range(address, _)), []) => Ok(Value::Address(*address)),
        ("prefixLength", Some(Value::Range(_, length)), []) => Ok(Value::Int(i64::from(*length))),
        ("masked", Some(Value::Range(address, length)), []) => {
            Ok(Value::Range(masked(*address, *length), *length))
        }
        ("containsIP", Some(Value::Range(outer, length)), [of]) => {
            let inner = match of {
                Value::Address(inner) => Ok(*inner),
                Value::String(text) => address(text).map_err(|why| not_an_address(text, &why)),
                _ => return no_overload(),
            };
            inner.map_or_else(failed, |inner| Ok(Value::Bool(contains(*outer, *length, inner))))
        }
        ("containsCIDR", Some(Value::Range(outer, length)), [of]) => {
            let inner = match of {
                Value::Range(inner, inner_length) => Ok((*inner, *inner_length)),
                Value::String(text) => range(text),
                _ => return no_overload(),
            };
            let holds = |(inner, inner_length): (IpAddr, u8)| {
                inner_length >= *length && contains(*outer, *length, inner)
            };
            match inner {
                Ok(inner) => Ok(Value::Bool(holds(inner))),
                Err(why) => {
                    failed(format!("network address parse error during conversion from string: {why}"))
                }
            }
        }
        ("isURL", None, [Value::String(text)]) => Ok(Value::Bool(url(text).is_some())),
        ("url", None, [Value::String(text)]) => match url(text) {
            Some(parts) => Ok(Value::Url(Arc::new(parts))),
            None => failed(format!(
                "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
            )),
        },
        (_, Some(Value::Url(parts)), []) => of_url(name, parts, budget),
        _ => no_overload(),
    }
}

fn not_an_address(text: &str, why: &str) -> String {
    if why.starts_with("ParseAddr") {
        return format!("IP Address {text:?} parse error during conversion from string: {why}");
    }
    why.to_owned()
}

/// An address without a zone, and no IPv4 one in IPv6's clothes, as upstream takes it.
fn address(text: &str) -> Result<IpAddr, String> {
    if let Some((before, _)) = text.split_once('%')
        && before.parse::<std::net::Ipv6Addr>().is_ok()
    {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    match text.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(format!("ParseAddr({text:?}): unable to parse IP")),
    }
}

fn of_address<'a>(name: &str, address: IpAddr) -> Evaluated<'a> {
    let link_local_multicast = match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    };
    let link_local_unicast = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    Ok(Value::Bool(match name {
        "family" => return Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 })),
        "isLoopback" => address.is_loopback(),
        "isUnspecified" => address.is_unspecified(),
        "isLinkLocalMulticast" => link_local_multicast,
        "isLinkLocalUnicast" => link_local_unicast,
        // As Go has it: addresses of private networks are global too.
        "isGlobalUnicast" => {
            let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || link_local_unicast
                || broadcast)
        }
        _ => return no_overload(),
    }))
}

fn of_url<'a>(name: &str, [scheme, host, path, query]: &[String; 4], budget: &mut Budget) -> Evaluated<'a> {
    // The port is what follows the last colon outside an address in brackets.
    let port_at = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let (hostname, port) = port_at.map_or((host.as_str(), ""), |at| (&host[..at], &host[at + 1..]));
    Ok(Value::string(match name {
        "getScheme" => scheme.as_str(),
        "getHost" => host.as_str(),
        "getHostname" => hostname.trim_start_matches('[').trim_end_matches(']'),
        "getPort" => port,
        "getEscapedPath" => {
            budget.make(utf8_percent_encode(path, PATH).map(str::len).sum())?;
            return Ok(Value::string(utf8_percent_encode(path, PATH).to_string()));
        }
        "getQuery" => return queried(query, budget),
        _ => return no_overload(),
    }))
}

/// The values of each name in a query; pairs that cannot be decoded are left out.
fn queried<'a>(query: &str, budget: &mut Budget) -> Evaluated<'a> {
    let mut all: BTreeMap<String, Vec<Value<'a>>> = BTreeMap::new();
    let decoded = |text: &str| {
        percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(|text| text.into_owned())
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        budget.charge(2)?;
        budget.make(pair.len())?;
        let (Some(key), Some(value)) = (decoded(key), decoded(value)) else { continue };
        all.entry(key).or_default().push(Value::string(value));
    }
    let made = all.into_iter().map(|(key, values)| (Value::string(key), Value::List(Arc::new(values))));
    Ok(Value::Map(Arc::new(made.collect())))
}

fn range(text: &str) -> Result<(IpAddr, u8), String> {
    let why = |why: String| {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}"
        )
    };
    let (before, bits) = text.rsplit_once('/').ok_or_else(|| why("no '/'".to_owned()))?;
    let inner: IpAddr =
        before.parse().map_err(|_| why(format!("ParseAddr({before:?}): unable to parse IP")))?;
    let leads = bits.len() > 1 && !matches!(bits.as_bytes()[0], b'1'..=b'9');
    let length: u8 = match bits.parse() {
        Ok(length) if !leads => length,
        _ => return Err(why(format!("bad bits after slash: {bits:?}"))),
    };
    if length > if inner.is_ipv4() { 32 } else { 128 } {
        return Err(why("prefix length out of range".to_owned()));
    }
    address(before)?;
    Ok((inner, length))
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(address) & mask).into())
        }
    }
}

fn contains(outer: IpAddr, length: u8, inner: IpAddr) -> bool {
    outer.is_ipv4() == inner.is_ipv4() && masked(outer, length) == masked(inner, length)
}

/// The parts of a URL with a scheme, or of an absolute path.
fn url(text: &str) -> Option<[String; 4]> {
    if text.contains(|c: char| c.is_ascii_control()) {
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
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) =
        if scheme.is_empty() { ("", rest) } else { rest.split_at(rest.find('/').unwrap_or(rest.len())) };
    if host.contains(' ') {
        return None;
    }
    let host = host.rsplit('@').next().unwrap_or("");
    Some([scheme, host, path, query].map(str::to_owned))
}
