//! Times of the past as they are typed, and how a server of knarr's answers about them. Pure.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::failure::{Failure, quoted};

/// What an answer about the past carries.
pub const HEADER: &str = "knarr-at";

/// The flag of commands that read the past.
pub const FLAG: &str = "at text";

/// `10m` for ten minutes ago, a time in RFC 3339, or one of the clock on the wall: `2006-01-02T15:04`, `2006-01-02`.
///
/// # Errors
/// For any other text, and for what lies ahead.
pub fn time(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let found = match api::duration::parse(text) {
        Ok(ago) => now.checked_sub(SignedDuration::from_nanos(ago)).ok(),
        Err(_) => text.parse().ok().or_else(|| on_the_wall(text)),
    };
    match found {
        Some(time) if time <= now => Ok(time),
        Some(_) => Err(Failure::message(format!("--at {} lies ahead", quoted(text)))),
        None => Err(Failure::message(format!(
            "--at {} is neither a duration (10m, 1h30m) nor a time (2006-01-02T15:04, 2006-01-02T15:04:05Z)",
            quoted(text)
        ))),
    }
}

fn on_the_wall(text: &str) -> Option<Timestamp> {
    let civil: DateTime = text.parse().ok().or_else(|| Some(text.parse::<Date>().ok()?.at(0, 0, 0, 0)))?;
    Some(civil.to_zoned(TimeZone::system()).ok()?.timestamp())
}

/// Whether a path is one of objects, and not of what the server tells about itself.
pub fn is_of_objects(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let more = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return false,
    };
    parts.count() > more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_typed() {
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
        let read =
            |text: &str| time(text, now).map(|time| time.to_string()).map_err(|failure| failure.text());
        assert_eq!(read("10m").unwrap(), "2026-03-04T04:56:07Z");
        assert_eq!(read("2026-03-04T05:00:00+01:00").unwrap(), "2026-03-04T04:00:00Z");
        assert!(read("2026-01-02T03:04").unwrap().starts_with("2026-01-0"));
        assert!(read("2026-01-02").is_ok());
        assert!(read("2026-03-04T05:06:08Z").unwrap_err().contains("lies ahead"));
        assert!(read("-10m").unwrap_err().contains("lies ahead"));
        assert!(read("yesterday").unwrap_err().contains("neither a duration"));
    }

    #[test]
    fn paths_of_objects_are_told_from_discovery() {
        for path in ["/api/v1/pods", "/api/v1/namespaces/a/pods/b", "/apis/apps/v1/deployments?x=/"] {
            assert!(is_of_objects(path), "{path}");
        }
        for path in ["/api", "/api/v1", "/apis", "/apis/apps/v1", "/openapi/v3/apis/apps/v1", "/version"] {
            assert!(!is_of_objects(path), "{path}");
        }
    }
}
