//! `format`: texts with a grammar of their own, as upstream's registry knows them
//! (`k8s.io/kube-openapi/pkg/validation/strfmt`). A format that is not known holds always.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z]){2,63}\.?)$")
        .expect("the pattern is right")
});
static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)*$").expect("the pattern is right"));
static URI: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^([a-zA-Z][a-zA-Z0-9+.-]*:\S+|/\S*)$").expect("the pattern is right"));
static MAC: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^([0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}([:-][0-9a-fA-F]{2}[:-][0-9a-fA-F]{2})?|[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2,3})$")
        .expect("the pattern is right")
});
static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?([0-9a-f])[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$")
        .expect("the pattern is right")
});
static HEX_COLOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$").expect("the pattern is right"));
static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\d+\s*(ns|nanos?|nanoseconds?|us|µs|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?)\s*)+$")
        .expect("the pattern is right")
});
static DATE_TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2}(\.\d+)?)([Zz]|[+-]\d{2}:?\d{2})?$")
        .expect("the pattern is right")
});

/// Whether a text has the format.
pub fn holds(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => {
            DATE_TIME.captures(text).is_some_and(|parts| is_date(&parts[1]) && is_time(&parts[2]))
        }
        "date" => is_date(text),
        "duration" => text.parse::<GoDuration>().is_ok() || DURATION.is_match(text.trim()),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => MAC.is_match(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => is_uuid(text, '3'),
        "uuid4" => is_uuid(text, '4'),
        "uuid5" => is_uuid(text, '5'),
        "hostname" => text.len() <= 255 && HOSTNAME.is_match(text),
        "email" => EMAIL.is_match(text),
        "uri" => URI.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        _ => true,
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_time(text: &str) -> bool {
    text.parse::<jiff::civil::Time>().is_ok()
}

fn is_uuid(text: &str, version: char) -> bool {
    UUID.captures(text).is_some_and(|parts| parts[1].starts_with(version))
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| match (address.parse(), length.parse::<u8>()) {
        (Ok(std::net::IpAddr::V4(_)), Ok(length)) => length <= 32,
        (Ok(std::net::IpAddr::V6(_)), Ok(length)) => length <= 128,
        _ => false,
    })
}

/// Signed decimal numbers, each with a unit, as Go's `time.ParseDuration` reads.
struct GoDuration;

impl std::str::FromStr for GoDuration {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        if unsigned == "0" {
            return Ok(Self);
        }
        let mut rest = unsigned;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(())?;
            rest[..end].parse::<f64>().map_err(drop)?;
            let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"]
                .into_iter()
                .filter(|unit| rest[end..].starts_with(unit))
                .max_by_key(|unit| unit.len())
                .ok_or(())?;
            rest = &rest[end + unit.len()..];
        }
        if unsigned.is_empty() { Err(()) } else { Ok(Self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_tell_right_from_wrong() {
        let right = [
            ("date-time", "2026-01-02T03:04:05Z"),
            ("date-time", "2026-01-02T03:04:05.5+01:00"),
            ("date", "2026-01-02"),
            ("duration", "1h30m"),
            ("duration", "5 days"),
            ("byte", "aGk="),
            ("ipv4", "10.0.0.1"),
            ("ipv6", "fd00::1"),
            ("cidr", "10.0.0.0/8"),
            ("mac", "00:11:22:33:44:55"),
            ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            ("hostname", "a.example.com"),
            ("email", "a@example.com"),
            ("uri", "https://example.com/a"),
            ("other", "x"),
        ];
        for (format, text) in right {
            assert!(holds(format, text), "{format} {text}");
        }
        let wrong = [
            ("date-time", "2026-13-02T03:04:05Z"),
            ("date", "26-1-2"),
            ("duration", "1x"),
            ("duration", ""),
            ("byte", "?"),
            ("ipv4", "10.0.0"),
            ("ipv6", "10.0.0.1"),
            ("cidr", "10.0.0.0/33"),
            ("mac", "00:11"),
            ("uuid", "x"),
            ("uuid4", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            ("hostname", "-"),
            ("email", "a"),
            ("uri", "a b"),
        ];
        for (format, text) in wrong {
            assert!(!holds(format, text), "{format} {text}");
        }
    }
}
