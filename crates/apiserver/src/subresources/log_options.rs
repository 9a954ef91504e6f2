//! The options of reading a container's log, checked before the request to the node: bad options are the
//! client's error and must not be reported as a failure of the node agent.
//!
//! Start at [`checked`]. The node agent reads the log.

use api::field::{ErrorList, FieldError, Path};
use api::{Error, GroupKind};

use crate::request::query::Query;

/// The parameters of the agent's `containerLogs`, in the order they are sent; all of them are valid.
///
/// # Errors
/// Bad request where a value cannot be read, invalid (with upstream's fields and words) where it makes no sense.
pub(super) fn checked(query: &Query, pod: &str) -> Result<Vec<(&'static str, String)>, Error> {
    let mut out = Vec::new();
    let mut errors = ErrorList::new();
    for name in ["follow", "previous", "timestamps"] {
        if query.flag(name) {
            out.push((name, "true".to_owned()));
        }
    }
    for (name, least, detail) in [
        ("sinceSeconds", 1, "must be greater than 0"),
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
    ] {
        let Some(value) = query.integer(name)? else { continue };
        if value < least {
            errors.push(FieldError::invalid(&Path::root(name), value, detail));
        }
        out.push((name, value.to_string()));
    }
    if let Some(text) = query.non_empty("sinceTime") {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            Error::bad_request(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
            ))
        })?;
        out.push(("sinceTime", time.to_string()));
    }
    let asked = |name: &str| out.iter().any(|(known, _)| *known == name);
    if asked("sinceSeconds") && asked("sinceTime") {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden(&Path::root(""), detail));
    }
    match query.non_empty("stream") {
        None => {}
        Some(stream @ ("All" | "Stdout" | "Stderr")) => {
            if stream != "All" && asked("tailLines") {
                let detail = "`tailLines` and specific `stream` are mutually exclusive for now";
                errors.push(FieldError::forbidden(&Path::root(""), detail));
            }
            out.push(("stream", stream.to_owned()));
        }
        Some(other) => {
            errors.push(FieldError::not_supported(
                &Path::root("stream"),
                other,
                &["All", "Stderr", "Stdout"],
            ));
        }
    }
    if errors.is_empty() {
        return Ok(out);
    }
    Err(Error::invalid(&GroupKind::new("", "PodLogOptions"), pod, &errors))
}

#[cfg(test)]
mod tests {
    use api::Reason;

    use super::*;

    fn check(query: &str) -> Result<String, (Reason, String)> {
        let sent = checked(&Query::parse(query), "p").map_err(|e| (e.reason, e.message))?;
        Ok(sent.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn good_options_are_passed_on() {
        assert_eq!(check(""), Ok(String::new()));
        assert_eq!(
            check(
                "container=c&tailLines=5&follow=true&previous=false&limitBytes=1&sinceTime=2026-01-02T03:04:05Z"
            ),
            Ok("follow=true&tailLines=5&limitBytes=1&sinceTime=2026-01-02T03:04:05Z".to_owned())
        );
        assert_eq!(check("stream=Stderr"), Ok("stream=Stderr".to_owned()));
    }

    #[test]
    fn bad_options_are_the_clients_fault() {
        let invalid = |why: &str| Err((Reason::Invalid, format!("PodLogOptions \"p\" is invalid: {why}")));
        let cases = [
            ("tailLines=-2", "tailLines: Invalid value: -2: must be greater than or equal to 0"),
            ("limitBytes=0", "limitBytes: Invalid value: 0: must be greater than 0"),
            ("sinceSeconds=0", "sinceSeconds: Invalid value: 0: must be greater than 0"),
            (
                "stream=foo",
                "stream: Unsupported value: \"foo\": supported values: \"All\", \"Stderr\", \"Stdout\"",
            ),
        ];
        for (query, why) in cases {
            assert_eq!(check(query), invalid(why), "{query}");
        }
        for query in ["sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", "tailLines=1&stream=Stderr"] {
            assert_eq!(check(query).map_err(|e| e.0), Err(Reason::Invalid), "{query}");
        }
        for query in ["tailLines=x", "sinceTime=yesterday", "limitBytes=99999999999999999999"] {
            assert_eq!(check(query).map_err(|e| e.0), Err(Reason::BadRequest), "{query}");
        }
    }
}
